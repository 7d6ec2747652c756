"""Takes many rows at once from blocks of rows, such as results of ``fetchmany``; taking single rows is slower."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ...records import TupleRows
from ..protocol.chunking import MAX_CHUNK_BYTES, MAX_WAIT
from .row_size import SAMPLED_EVERY, flat_size_of, size_of

__all__ = ["RowBlocks"]


class RowBlocks(Iterator[Any]):
    """Iterates over the rows of ``blocks``; a block is fetched when its first row is needed."""

    def __init__(self, blocks: Iterable[Iterable[Any]]) -> None:
        self._blocks = iter(blocks)
        self._block: list[Any] | TupleRows = []
        self._at = 0

    def __next__(self) -> Any:
        for row in self.take(1):
            return row
        raise StopIteration

    def take(self, most: int) -> list[Any] | TupleRows:
        """Return up to ``most`` rows of the present block, or of the next block if the present one is used up.

        Returns an empty list after the last row.
        """
        self._fill()
        taken = self._block[self._at : self._at + most]
        self._at += len(taken)
        return taken

    def take_chunk(self, limit: int, clock: Callable[[], float]) -> list[Any] | TupleRows:
        """Return up to ``limit`` rows; return an empty list after the last row.

        Returns fewer rows if they reach ``MAX_CHUNK_BYTES``, or if ``MAX_WAIT`` seconds have passed since the first of
        them was read.
        """
        parts: list[list[Any] | TupleRows] = []
        rows = size = 0
        deadline = float("inf")
        while rows < limit and size < MAX_CHUNK_BYTES:
            self._fill()
            fitting, weight = _fitting(self._block, self._at, limit - rows, MAX_CHUNK_BYTES - size)
            if not fitting:
                break
            now = clock()
            deadline = deadline if parts else now + MAX_WAIT
            parts.append(self.take(fitting))
            rows += fitting
            size += weight
            if now >= deadline:
                break
        return parts[0] if len(parts) == 1 else TupleRows.joined(parts)

    def _fill(self) -> None:
        while self._at >= len(self._block):
            self._block = []  # its rows are not needed while the next ones are fetched
            self._at = 0
            block = next(self._blocks, None)
            if block is None:
                return
            self._block = block if isinstance(block, list | TupleRows) else list(block)


def _fitting(block: list[Any] | TupleRows, at: int, limit: int, most_bytes: int) -> tuple[int, int]:
    """Return how many rows to take from a block, beginning with row ``at``, and their approximate size in bytes.

    At most ``limit`` rows are taken. Their size can exceed ``most_bytes`` by the size of about
    ``SAMPLED_EVERY`` rows.
    """
    sample: Sequence[Any] = block.tuples if isinstance(block, TupleRows) else block
    stop, size = min(len(block), at + limit), 0
    whole = flat_size_of(sample[at:stop])
    if whole is not None and whole < most_bytes:
        return stop - at, whole
    for row in range(at, stop, SAMPLED_EVERY):
        if size >= most_bytes:
            return row - at, size
        size += size_of(sample[row]) * min(SAMPLED_EVERY, stop - row)
    return stop - at, size
