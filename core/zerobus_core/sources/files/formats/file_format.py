"""What a format of files has to know, and the words that it shares with the source that reads them."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..finding.found import FoundFile

__all__ = ["FileFormat", "Pieces", "Wanted"]

Wanted: TypeAlias = "Callable[[int, int], Iterator[tuple[int, int]]]"
"""Which parts of a run of a file's rows are to be read: ``wanted(start, stop)`` yields them as runs, in order."""
Pieces: TypeAlias = "Generator[tuple[int, Any], None, int]"
"""Yields the wanted rows as (position in the file, list of rows or record batch); returns how many rows there are.

While it passes over unwanted ones it yields pieces without rows.
"""


class FileFormat(Protocol):
    """How files of one format are read."""

    is_arrow: bool
    is_text: bool
    """Whether it knows nothing but text, so that dates and numbers have to be parsed."""

    @property
    def settings(self) -> dict[str, Any]:
        """What changes how a file is read; part of the fingerprint."""
        ...

    def count(self, file: FoundFile) -> int | None:
        """The number of rows, if the file has it without being read."""

    def read(self, file: FoundFile, wanted: Wanted, chunk_rows: int, /) -> Pieces:
        """Read what is wanted, decoding no more than the format makes necessary.

        A piece has about ``chunk_rows`` rows, or as many as the file itself keeps together.
        """
        ...
