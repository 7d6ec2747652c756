"""Reads Parquet files. Row groups can be skipped, because the footer states the number of rows of each row group."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from ....bad_rows import LETTER_KEY, letter_text, row_of_letter
from ...libraries.pandas_index import range_column
from ...protocol.chunking import clip
from .int96 import Int96, has_int96, opened

if TYPE_CHECKING:
    from ..finding.found import FoundFile
    from .file_format import Pieces, Wanted

__all__ = ["DeadLetterFormat", "ParquetFormat", "holds_dead_letters"]

# Two chunks are read at once if they have at most this many bytes (before compression), which take little memory.
_SMALL_BYTES = 2 * 1024 * 1024


class ParquetFormat:
    """Reads one row group at a time, so that at most one is in memory.

    pandas stores a named range index only in the metadata. Such an index becomes a column unless ``dropped`` contains
    its name.
    """

    is_arrow = True
    is_text = False

    def __init__(self, dropped: tuple[str, ...] = ()) -> None:
        self._dropped = dropped

    @property
    def settings(self) -> dict[str, Any]:
        """Always empty: no setting changes how the file is read."""
        return {}

    def count(self, file: FoundFile) -> int | None:
        """Return the number of rows that the footer states."""
        with file.open() as opened, pq.ParquetFile(opened) as parquet:
            return int(parquet.metadata.num_rows)

    def read(self, file: FoundFile, wanted: Wanted, chunk_rows: int) -> Pieces:
        """Read the file; row groups without wanted rows are not read."""
        with ExitStack() as scope:
            parquet = opened(scope, file, coerce_int96_timestamp_unit="us")
            moments = Int96(scope, file, parquet.schema_arrow) if has_int96(parquet) else None
            index = range_column(parquet.schema_arrow, self._dropped)
            total = parquet.metadata.num_rows
            first = 0
            for group in range(parquet.metadata.num_row_groups):
                metadata = parquet.metadata.row_group(group)
                stop = first + metadata.num_rows
                if next(wanted(first, stop), None) is not None:
                    # Arrow's threads would take a quarter more CPU time, and chunks are read ahead anyway.
                    batches = parquet.iter_batches(
                        batch_size=_rows_at_once(metadata, chunk_rows), row_groups=[group], use_threads=False
                    )
                    at = first
                    for batch in moments.exact(batches, group) if moments else batches:
                        indexed = batch if index is None else index.added_to(batch, at, total, file.shown)
                        yield from clip(indexed, at, wanted)
                        at += len(batch)
                first = stop
            return first


def _rows_at_once(group: Any, chunk_rows: int) -> int:
    """Return how many rows to read at once: two chunks if the rows are small, otherwise one chunk.

    Each call that reads or casts rows has a fixed cost. For fewer than about 10,000 rows, this cost is most of the time
    of the call, so larger reads are faster per row.
    """
    size = 2 * chunk_rows * group.total_byte_size // max(1, group.num_rows)
    return 2 * chunk_rows if size <= _SMALL_BYTES else chunk_rows


class DeadLetterFormat(ParquetFormat):
    """Reads Parquet files of dead letters. The record in each dead letter is a row."""

    is_arrow = False
    is_text = True

    def read(self, file: FoundFile, wanted: Wanted, chunk_rows: int) -> Pieces:
        """Read the file like any Parquet file, but yield only the record in each dead letter, as a row."""
        pieces = super().read(file, wanted, chunk_rows)
        while True:
            try:
                start, batch = next(pieces)
            except StopIteration as end:
                return int(end.value)
            versions, records = batch.column(LETTER_KEY).to_pylist(), batch.column("record").to_pylist()
            yield start, [row_of_letter(letter_text(*each)) for each in zip(versions, records, strict=True)]


def holds_dead_letters(file: FoundFile) -> bool:
    """Return whether a Parquet file is a dead-letter file; False if opening it raises an OSError or a ValueError."""
    try:
        with file.open() as opened, pq.ParquetFile(opened) as parquet:
            return LETTER_KEY in parquet.schema_arrow.names
    except (OSError, ValueError):
        return False  # the error is raised again when the file is read
