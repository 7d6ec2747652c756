"""What a delivery asks of every source: the protocol, chunks of a fitting size, a choice of columns."""
