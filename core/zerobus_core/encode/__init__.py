"""Encodes rows as protobuf messages, JSON objects or Arrow records. Errors say which row and field failed, and why."""

from .select import encoder_for

__all__ = ["ENCODING_VERSION", "encoder_for"]

ENCODING_VERSION = 1
"""The version of the encoding.

Increase it with every change after which a row is encoded as different bytes: digests of encoded rows can be compared
only within one version.
"""
