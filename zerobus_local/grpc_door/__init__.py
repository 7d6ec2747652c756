"""gRPC: the Zerobus protocol and Arrow Flight on one port."""
