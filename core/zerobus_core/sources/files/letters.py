"""The source for replays: the records of the dead letters for one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ...bad_rows import row_of_letter
from ...batch import Chunk
from ..rows.iterables import SequenceSource

if TYPE_CHECKING:
    from ...options import IngestOptions
    from ...ranges import RowRanges

__all__ = ["LettersSource"]


class LettersSource(SequenceSource):
    """The records of dead letters, each given as the JSON text of the letter."""

    is_text = True

    def __init__(self, lines: Sequence[bytes], options: IngestOptions) -> None:
        super().__init__([(line,) for line in lines], options)  # tuples, because the size of a tuple can be estimated

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """See ``Source``."""
        for chunk in super().chunks(skip):
            yield Chunk(chunk.first_row, [row_of_letter(line) for (line,) in chunk.rows])
