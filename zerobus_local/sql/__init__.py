"""Databricks SQL, as far as it creates and changes the catalog's objects."""
