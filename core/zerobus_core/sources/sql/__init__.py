"""Builds SQL around a user's query, asks the database about its rows, and converts a column's values to JSON."""
