"""What the service knows: catalogs, tables, principals, grants and tokens, kept in the data folder."""
