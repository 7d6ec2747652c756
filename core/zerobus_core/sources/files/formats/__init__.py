"""The file formats, one module for each, and their common protocol."""
