"""Records as they come over the wire, turned into Arrow and checked on the way."""
