"""The local Unity Catalog (catalogs, tables, principals and grants, stored in the data folder), and access tokens."""
