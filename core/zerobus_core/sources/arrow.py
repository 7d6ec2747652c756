"""Sources of Arrow record batches: tables and batches in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..batch import Chunk
from .fingerprint import content_fingerprint
from .rows import END, shorter_than_checkpoint, version_fingerprint

if TYPE_CHECKING:
    import pyarrow as pa

    from ..options import IngestOptions
    from ..ranges import RowRanges

__all__ = ["TableSource"]


class TableSource:
    """A pyarrow Table in memory; its chunks are slices of it and copy nothing."""

    is_arrow = True

    def __init__(self, table: pa.Table, options: IngestOptions) -> None:
        self._table = table
        self._chunk_rows = options.batch_rows
        self._options = options
        self._fingerprint: str | None = None

    @property
    def fingerprint(self) -> str:
        """Hash of schema, length and content, or of ``source_version``; computed when asked for, once."""
        if self._fingerprint is None:
            self._fingerprint = version_fingerprint(self._options) or content_fingerprint(self._table)
        return self._fingerprint

    @property
    def total_rows(self) -> int:
        """How many rows there are."""
        return int(self._table.num_rows)

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the rows that are not in ``skip``."""
        total = self.total_rows
        for start, stop in skip.without(0, END):
            if start > total:
                raise shorter_than_checkpoint(total, start)
            first = start
            for batch in self._table.slice(start, min(stop, total) - start).to_batches(self._chunk_rows):
                if batch.num_rows:
                    yield Chunk(first, batch)
                    first += batch.num_rows
