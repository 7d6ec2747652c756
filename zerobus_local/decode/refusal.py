"""The error for a record that does not fit the table."""

from __future__ import annotations

from typing import Final

__all__ = ["RefusedRecordError"]

_MAX_REASON: Final = 300  # characters


class RefusedRecordError(Exception):
    """One record does not fit the table, so its whole request is refused.

    ``record`` is the index of the bad record among the records that were decoded together.
    """

    def __init__(self, record: int, field: str | None, reason: str) -> None:
        super().__init__(record, field, reason)
        self.record = record
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        """Return the error's text. A long ``reason`` is shortened, because a reason can quote a value of any length."""
        reason = self.reason if len(self.reason) <= _MAX_REASON else f"{self.reason[:_MAX_REASON]}…"
        where = f"record {self.record}" + (f", field {self.field}" if self.field else "")
        return f"{where}: {reason}"

    def moved(self, records: int) -> RefusedRecordError:
        """Return a copy of this error in which the index of the bad record is higher by ``records``.

        ``records`` is a number of records, and can be negative.
        """
        return RefusedRecordError(self.record + records, self.field, self.reason)
