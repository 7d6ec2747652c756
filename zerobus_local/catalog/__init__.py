"""The service's catalogs, tables, principals, grants and tokens, stored in the data folder."""
