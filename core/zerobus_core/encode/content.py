"""The bytes of encoded records, from which digests are computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .batching import Records

__all__ = ["RecordsContent"]

# Marks the end of a record. It is very unlikely that a record contains these bytes by chance. A record that contains
# them on purpose does no harm: digests only have to detect accidental changes.
_END = bytes.fromhex("9d1f7ac35e6b20f48e")


class RecordsContent:
    """The content of rows, taken from their encoded records; see ``zerobus_core.batch.RowContent``."""

    __slots__ = ("_records",)

    def __init__(self, records: Records) -> None:
        self._records = records

    def tracks(self, start: int, stop: int) -> list[bytes]:
        """Return a list with one byte string.

        The byte string consists of the records ``start`` to ``stop - 1``, each followed by an end mark. Records that
        are text are encoded as UTF-8.
        """
        records = self._records[start:stop]
        if records and isinstance(records[0], str):
            records = list(map(str.encode, records))
        return [_END.join([*records, b""])]
