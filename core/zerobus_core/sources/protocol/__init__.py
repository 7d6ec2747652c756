"""What all sources share: the protocol, the making of chunks, and the options that change rows and columns."""
