"""The gRPC interface: the Zerobus protocol and Arrow Flight on one port, and optionally on a second port with TLS."""
