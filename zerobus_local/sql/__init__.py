"""Parses the Databricks SQL that the local catalog supports."""
