"""The protocol that the reader of each file format implements, and the types of its arguments and results."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..finding.found import FoundFile

__all__ = ["FileFormat", "Pieces", "Wanted"]

Wanted: TypeAlias = "Callable[[int, int], Iterator[tuple[int, int]]]"
"""Selects the rows to read: ``wanted(start, stop)`` yields the ranges of wanted rows from ``start`` to ``stop``."""
Pieces: TypeAlias = "Generator[tuple[int, Any], None, int]"
"""A generator that yields the rows of a file in pieces, and returns the number of rows in the file.

A piece is a pair: the position of its first row, and a list of rows or a record batch. Positions are counted from the
start of the file, from 0. While unwanted rows are skipped, pieces without rows can be yielded.
"""


class FileFormat(Protocol):
    """A reader for files of one format."""

    is_arrow: bool
    is_text: bool
    """Whether the format stores dates as text, and perhaps numbers, so that text has to be parsed."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that change how a file is read. They are part of the fingerprint."""
        ...

    def count(self, file: FoundFile) -> int | None:
        """Return the number of rows if it is known without reading the rows; None otherwise."""

    def read(self, file: FoundFile, wanted: Wanted, chunk_rows: int, /) -> Pieces:
        """Yield the wanted rows. Other rows are decoded only as far as the format requires.

        ``chunk_rows`` is the number of rows that a piece should have. A piece can have fewer rows. If the format is
        read in blocks, a piece can also have more rows.
        """
        ...
