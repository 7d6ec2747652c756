"""Files on any fsspec storage: checks their state, replaces them as a whole, and shows their addresses."""
