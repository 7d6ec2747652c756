"""Rows to wire payloads, for every record format, with errors that name row, field and reason."""

from .select import encoder_for

__all__ = ["ENCODING_VERSION", "encoder_for"]

ENCODING_VERSION = 1
"""Raised whenever a row can become other bytes than before: digests of encoded rows compare only within one version."""
