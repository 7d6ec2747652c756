"""The service's catalogs, tables, principals and grants, stored in the data folder, and its access tokens."""
