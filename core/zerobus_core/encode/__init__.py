"""Rows to wire payloads, for every record format, with errors that name row, field and reason."""

from .records import dumped, is_message, is_record, members_of, renamed_members, without_members
from .select import encoder_for

__all__ = [
    "ENCODING_VERSION",
    "dumped",
    "encoder_for",
    "is_message",
    "is_record",
    "members_of",
    "renamed_members",
    "without_members",
]

ENCODING_VERSION = 1
"""Raised whenever a row can become other bytes than before: digests of encoded rows compare only within one version."""
