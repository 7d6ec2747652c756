"""Stores Unity Catalog's objects and the service principals in the data folder, and issues access tokens."""
