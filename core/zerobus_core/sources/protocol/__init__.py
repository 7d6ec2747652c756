"""Common to all sources: the protocol, the size of chunks, and the choice of columns."""
