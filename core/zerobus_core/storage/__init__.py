"""Files on any fsspec storage: reading their state, replacing them whole, showing their addresses."""
