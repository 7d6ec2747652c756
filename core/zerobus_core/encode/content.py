"""What encoded records hold, for digests."""

from __future__ import annotations

from array import array

__all__ = ["RecordsContent"]


class RecordsContent:
    """The content of some rows, given as a record for each; see ``zerobus_core.batch.RowContent``."""

    __slots__ = ("_records",)

    def __init__(self, records: list[bytes]) -> None:
        self._records = records

    def tracks(self, start: int, stop: int) -> list[bytes]:
        """The records from index ``start`` to ``stop``, and their lengths, which tell where each of them ends."""
        part = self._records[start:stop]
        return [b"".join(part), array("I", map(len, part)).tobytes()]
