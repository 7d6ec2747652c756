"""Encodes rows as payloads of each record format. Errors name the row, the field and the reason."""

from .select import encoder_for

__all__ = ["ENCODING_VERSION", "encoder_for"]

ENCODING_VERSION = 1
"""The version of the encoding.

Increase it with any change that encodes a row to different bytes: digests of encoded rows are comparable only within
one version.
"""
