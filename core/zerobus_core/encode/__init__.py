"""Rows to wire payloads, for every record format, with errors that name row, field and reason."""

from .records import dumped, is_record, members_of
from .select import encoder_for

__all__ = ["dumped", "encoder_for", "is_record", "members_of"]
