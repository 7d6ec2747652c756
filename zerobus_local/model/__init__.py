"""Unity Catalog's objects as values: names, columns, types, tables and grants."""
