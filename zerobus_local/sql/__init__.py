"""Databricks SQL, as far as it makes and changes what the catalog holds."""
