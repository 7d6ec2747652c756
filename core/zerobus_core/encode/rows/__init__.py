"""Encodes row objects as protobuf messages or JSON objects.

The fast path converts a block of rows column by column. A block that it cannot convert goes through the exact walk,
which converts one value at a time.
"""
