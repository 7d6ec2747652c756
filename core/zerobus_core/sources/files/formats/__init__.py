"""One module for each file format, and the protocol that they all follow."""
