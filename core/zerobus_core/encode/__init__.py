"""Rows to wire payloads, for every record format, with errors that name row, field and reason."""

from .select import encoder_for

__all__ = ["encoder_for"]
