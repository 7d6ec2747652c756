"""Parquet files: skipped by row groups, which tell their rows without being read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from ..bad_rows import MARKER
from .json_values import JsonValues
from .merge import wanted_parts

if TYPE_CHECKING:
    from ..schema import TableSchema
    from .file_format import Pieces, Wanted
    from .paths import FoundFile

__all__ = ["LetterFormat", "ParquetFormat", "holds_letters"]


class ParquetFormat:
    """Reads row group by row group, so that memory holds one at most."""

    is_arrow = True
    is_text = False

    @property
    def settings(self) -> dict[str, Any]:
        """There are none."""
        return {}

    def count(self, file: FoundFile) -> int | None:
        """From the footer."""
        with file.open() as opened, pq.ParquetFile(opened) as parquet:
            return int(parquet.metadata.num_rows)

    def read(self, file: FoundFile, wanted: Wanted, chunk_rows: int) -> Pieces:
        """Row groups of which nothing is wanted are not touched."""
        with file.open() as opened, pq.ParquetFile(opened) as parquet:
            first = 0
            for group in range(parquet.metadata.num_row_groups):
                stop = first + parquet.metadata.row_group(group).num_rows
                if next(wanted(first, stop), None) is not None:
                    yield from self._group(parquet, group, first, wanted, chunk_rows)
                first = stop
            return first

    def _group(self, parquet: Any, group: int, first: int, wanted: Wanted, chunk_rows: int) -> Any:
        for batch in parquet.iter_batches(batch_size=chunk_rows, row_groups=[group]):
            yield from wanted_parts(batch, first, wanted)
            first += len(batch)


class LetterFormat(ParquetFormat):
    """Parquet files of dead letters: the records in them, as rows."""

    is_arrow = False
    is_text = True

    def __init__(self, values: JsonValues | None = None) -> None:
        self._values = values or JsonValues()

    def for_table(self, schema: TableSchema) -> LetterFormat:
        """The format with numbers as exact as the table's columns can tell."""
        return LetterFormat(JsonValues(schema.columns))

    def read(self, file: FoundFile, wanted: Wanted, chunk_rows: int) -> Pieces:
        """As other Parquet files, but the record column only."""
        pieces = super().read(file, wanted, chunk_rows)
        while True:
            try:
                start, batch = next(pieces)
            except StopIteration as end:
                return int(end.value)
            yield start, [self._values.record(text) for text in batch.column("record").to_pylist()]


def holds_letters(file: FoundFile) -> bool:
    """Whether a Parquet file is one of dead letters."""
    try:
        with file.open() as opened, pq.ParquetFile(opened) as parquet:
            return MARKER in parquet.schema_arrow.names
    except (OSError, ValueError):
        return False  # reading it will say what is wrong
