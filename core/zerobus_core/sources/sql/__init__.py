"""Builds SQL around a user's query, asks the database about rows of the query, and converts values to JSON."""
