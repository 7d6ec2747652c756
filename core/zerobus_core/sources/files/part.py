"""Reads a range of a file's rows as if the range were a whole file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...errors import ConfigurationError
from ...wording import plural

if TYPE_CHECKING:
    from .finding.found import FoundFile
    from .formats.file_format import FileFormat, Pieces, Wanted

__all__ = ["read_part"]


def read_part(reader: FileFormat, file: FoundFile, wanted: Wanted, chunk_rows: int) -> Pieces:
    """Yield the wanted rows of ``file.part``, or of the whole file if ``file.part`` is None.

    Positions are counted from the first row of the part. Returns the number of rows in the part. Raises
    ConfigurationError if the file ends before the part does.
    """
    if file.part is None:
        return (yield from reader.read(file, wanted, chunk_rows))
    first, stop = file.part

    def wanted_in_file(start: int, end: int) -> Iterator[tuple[int, int]]:
        inside = max(start, first), min(end, stop)
        if inside[0] < inside[1]:
            for a, b in wanted(inside[0] - first, inside[1] - first):
                yield a + first, b + first

    pieces = reader.read(file, wanted_in_file, chunk_rows)
    try:
        while True:
            try:
                start, rows = next(pieces)
            except StopIteration as end:
                if int(end.value) < stop:
                    raise ConfigurationError(
                        f"{file.shown} has {end.value} {plural(int(end.value), 'row')}, but the shard needs rows "
                        f"{first} to {stop} of the file; split the source again"
                    ) from None
                return stop - first
            if len(rows):
                yield start - first, rows
            else:  # a piece without rows: the reader is skipping rows that are not wanted
                yield min(max(start, first), stop) - first, rows
    finally:
        pieces.close()
