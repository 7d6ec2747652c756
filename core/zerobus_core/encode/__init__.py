"""Encodes rows as wire payloads of every record format; errors name row, field and reason."""

from .select import encoder_for

__all__ = ["ENCODING_VERSION", "encoder_for"]

ENCODING_VERSION = 1
"""Raised whenever a row can become other bytes than before: digests of encoded rows compare only within one version."""
