"""Classes and functions for Unity Catalog's objects: names, columns, types, tables and grants."""
