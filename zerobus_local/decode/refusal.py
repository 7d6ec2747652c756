"""A record that does not fit, and says so."""

from __future__ import annotations

from typing import Final

__all__ = ["RefusedRecordError"]

_MAX_REASON: Final = 300  # characters


class RefusedRecordError(Exception):
    """One record does not fit the table, so its whole batch is refused.

    ``record`` counts from 0 within the records that were decoded together.
    """

    def __init__(self, record: int, field: str | None, reason: str) -> None:
        super().__init__(record, field, reason)
        self.record = record
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        """``reason`` may quote a value of any length: the end is what is cut."""
        reason = self.reason if len(self.reason) <= _MAX_REASON else f"{self.reason[:_MAX_REASON]}…"
        where = f"record {self.record}" + (f", field {self.field}" if self.field else "")
        return f"{where}: {reason}"

    def moved(self, records: int) -> RefusedRecordError:
        """The same refusal, counted from ``records`` earlier."""
        return RefusedRecordError(self.record + records, self.field, self.reason)
