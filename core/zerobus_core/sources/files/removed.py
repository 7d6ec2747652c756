"""Finds the rows of removed files: files that are in an earlier list of files and not in the present list."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from ...errors import IngestInterruptedError, IngestTimeoutError, ZerobusIngestError
from ...process.signals import is_of_signal
from ...ranges import END, RemovedRows, RowRanges
from ...storage.filesystem import changed_file_error, unreadable_file_error
from .part import read_part

if TYPE_CHECKING:
    from .finding.found import FoundFile
    from .formats.file_format import FileFormat, Pieces

__all__ = ["removed_rows"]

# Skips all rows of a file: no file has this many rows.
_NOTHING = RowRanges([(0, END // 2)])


def removed_rows(
    before: Sequence[FoundFile], now: Sequence[FoundFile], reader: FileFormat, chunk_rows: int, reached: int
) -> Iterator[RemovedRows | None]:
    """Yield the rows of each file that is in ``before`` but not in ``now``; see ``Source.removed_since``.

    Yields nothing if ``now`` and ``before`` also differ in other ways, for example because files were added.

    The files in ``before`` are processed in order, and the rows of each file are counted. If the format of a file does
    not state the number of rows, the file is read to count them. The function stops early in two cases, and the last
    RemovedRows is then not exact:

    * A removed file has changed, is missing or cannot be read.
    * A file begins at row ``reached`` or later. In this case, the last RemovedRows has no rows.

    Raises an error if a file that is also in ``now`` has changed or cannot be read.
    """
    kept = {_facts_of(file) for file in now}
    if [_facts_of(file) for file in before if _facts_of(file) in kept] != [_facts_of(file) for file in now]:
        return
    start = 0
    for file in before:
        if start >= reached:
            yield RemovedRows(start, 0, is_exact=False)  # the rows from here on were never sent
            return
        if _facts_of(file) in kept:
            start += yield from _count_kept(reader, file, chunk_rows)
            continue
        removed = RemovedRows(start, *(yield from _count_removed(reader, file, chunk_rows, reached - start)))
        yield removed
        if not removed.is_exact:
            return
        start += removed.rows


def _count_kept(reader: FileFormat, file: FoundFile, chunk_rows: int) -> Generator[None, None, int]:
    try:
        has_changed = file.watched()
        rows = reader.count(file)
        if rows is None:
            rows = yield from _passed_over(read_part(reader, file, _NOTHING.without, chunk_rows))
        is_other = has_changed()
    except ZerobusIngestError:
        raise
    except Exception as error:  # every decoder and every storage has errors of its own
        if is_of_signal(error):
            raise
        failure = unreadable_file_error(file.shown, error)
        raise failure from failure.__cause__
    if is_other:
        raise changed_file_error(file.shown)
    return rows


def _passed_over(pieces: Pieces) -> Generator[None, None, int]:
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return int(end.value)
        yield None


def _count_removed(
    reader: FileFormat, file: FoundFile, chunk_rows: int, enough: int
) -> Generator[None, None, tuple[int, bool]]:
    """Return the number of rows of a removed file, and whether this number is exact.

    ``enough`` is a number of rows. If that many rows were read, counting stops, and the number is treated as exact.
    If reading the file raises an error, the number is not exact: it is the number of rows that were read before the
    error. For a file that is changed or missing, the number is 0, and not exact.
    """
    rows = 0
    try:
        has_changed = file.watched()
        if has_changed():
            return 0, False
        count = reader.count(file)
        pieces = read_part(reader, file, RowRanges().without, chunk_rows)
        with closing(pieces):
            while count is None and rows < enough:
                try:
                    start, piece = next(pieces)
                    rows = start + len(piece)
                except StopIteration as end:
                    count = int(end.value)
                yield None
        if has_changed():
            return 0, False
    except Exception as error:  # every decoder and every storage has errors of its own
        if is_of_signal(error) or isinstance(error, IngestInterruptedError | IngestTimeoutError):
            raise
        return rows, False
    return (rows if count is None else count), True


def _facts_of(file: FoundFile) -> tuple[str, int, str | None]:
    return file.path, file.size, file.version
