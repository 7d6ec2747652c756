"""Files on any fsspec storage: reads them, replaces them as a whole, and shows their URIs without secrets."""
