"""The content of encoded records, for digests."""

from __future__ import annotations

__all__ = ["RecordsContent"]

# Marks the end of a record.  No record contains these bytes by chance, and digests only have to detect accidents.
_END = bytes.fromhex("9d1f7ac35e6b20f48e")


class RecordsContent:
    """The content of rows, taken from their encoded records; see ``zerobus_core.batch.RowContent``."""

    __slots__ = ("_records",)

    def __init__(self, records: list[bytes]) -> None:
        self._records = records

    def tracks(self, start: int, stop: int) -> list[bytes]:
        """Return a list with one element: the records from index ``start`` up to ``stop``, joined."""
        return [_END.join([*self._records[start:stop], b""])]
