"""The protocol of file formats, and the types that it shares with the source that reads files."""

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
    """A reader for files of one format."""

    is_arrow: bool
    is_text: bool
    """Whether all values are text, so that dates and numbers have to be parsed."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that change how a file is read; part of the fingerprint."""
        ...

    def count(self, file: FoundFile) -> int | None:
        """Return the number of rows if the file states it, without reading the rows; None otherwise."""

    def read(self, file: FoundFile, wanted: Wanted, chunk_rows: int, /) -> Pieces:
        """Read the wanted rows, and decode no more than the format requires.

        A piece has about ``chunk_rows`` rows, or as many as the file itself keeps together.
        """
        ...
