"""Rows that come in blocks, as a cursor fetches them: taken in slices, since one by one takes as long as fetching."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["RowBlocks"]


class RowBlocks(Iterator[Any]):
    """The rows of ``blocks``, one after the other; the next block is asked for when its first row is."""

    def __init__(self, blocks: Iterable[Iterable[Any]]) -> None:
        self._blocks = iter(blocks)
        self._block: list[Any] = []
        self._at = 0

    def __next__(self) -> Any:
        for row in self.take(1):
            return row
        raise StopIteration

    def take(self, most: int) -> list[Any]:
        """At most so many rows of the block at hand, or of the next one if none are left; no rows at the end."""
        while self._at >= len(self._block):
            self._block = []  # its rows are not needed while the next ones are fetched
            self._at = 0
            block = next(self._blocks, None)
            if block is None:
                return []
            self._block = block if isinstance(block, list) else list(block)
        taken = self._block[self._at : self._at + most]
        self._at += len(taken)
        return taken
