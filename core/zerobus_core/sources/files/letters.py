"""The source for replays: the records of the dead letters for one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ...batch import Chunk
from ..rows.iterables import SequenceSource
from .formats.json_values import JsonValues

if TYPE_CHECKING:
    from ...options import IngestOptions
    from ...ranges import RowRanges
    from ...schema import TableSchema

__all__ = ["LettersSource"]


class LettersSource(SequenceSource):
    """The records of dead letters, each a JSON text; numbers are read with the precision that the table needs."""

    is_text = True

    def __init__(self, lines: Sequence[bytes], options: IngestOptions) -> None:
        super().__init__([(line,) for line in lines], options)  # tuples, because the size of a tuple can be estimated
        self._values = JsonValues()

    def read_for(self, schema: TableSchema) -> None:
        """See ``Source``."""
        self._values = JsonValues(schema.columns)

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """See ``Source``."""
        for chunk in super().chunks(skip):
            yield Chunk(chunk.first_row, [self._values.row(line) for (line,) in chunk.rows])
