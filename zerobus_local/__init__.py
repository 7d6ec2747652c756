"""The Zerobus service on a laptop: the real protocol, real Delta tables."""
