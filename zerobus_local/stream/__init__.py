"""The life of one stream, from the requests that it receives to their acknowledgements."""
