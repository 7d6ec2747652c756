"""Avro object container files, read with fastavro if it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..finding.found import FoundFile
    from .file_format import Pieces, Wanted

__all__ = ["AvroFormat"]


class AvroFormat:
    """Reads Avro files block by block; values of logical types become datetime, date, Decimal, UUID and so on."""

    is_arrow = False
    is_text = False

    def __init__(self) -> None:
        import fastavro

        self._fastavro = fastavro

    @property
    def settings(self) -> dict[str, Any]:
        """Always empty: no setting changes how the file is read."""
        return {}

    def count(self, file: FoundFile) -> int | None:
        """Always None: counting rows would mean reading all blocks."""
        return None

    def read(self, file: FoundFile, wanted: Wanted, chunk_rows: int) -> Pieces:
        """Read the file; blocks without wanted rows are not decoded."""
        first = 0
        with file.open() as opened:
            for block in self._fastavro.block_reader(opened):
                stop = first + block.num_records
                runs = list(wanted(first, stop))
                rows = list(block) if runs else []
                if not runs:
                    yield stop, []
                for start, end in runs:
                    for at in range(start, end, chunk_rows):
                        yield at, rows[at - first : min(at + chunk_rows, end) - first]
                first = stop
        return first
