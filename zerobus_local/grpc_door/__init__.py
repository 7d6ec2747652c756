"""The gRPC interface: the Zerobus protocol and Arrow Flight on one port."""
