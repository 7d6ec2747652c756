"""Encodes row objects as protobuf messages and JSON objects: a fast path by columns, and the exact walk."""
