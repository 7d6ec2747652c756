"""Stores the line number of each row of a text file, so that error messages can show it.

For a series of rows on consecutive lines, only the line of the first row is stored.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable

__all__ = ["LinesOfFiles", "RowLines"]

# The number of marks that are kept. A file with a blank line after each row needs a mark for each row; the lines of the
# oldest rows are then forgotten.
_MOST_MARKS = 100_000
_MOST_BLOCKS = 4
_MOST_FILES = 1_000


class RowLines:
    """The line number of each row of one file. Rows are counted from 0, lines from 1."""

    def __init__(self) -> None:
        # A row and its line; the rows up to the next mark are on the lines after it. None: their lines are not stored.
        self._marks: deque[tuple[int, int | None]] = deque(maxlen=_MOST_MARKS)
        self._unmarked: deque[tuple[int, int, Callable[[], Iterable[int]]]] = deque(maxlen=_MOST_BLOCKS)

    def note(self, row: int, line: int) -> None:
        """Record that row ``row`` is in line ``line``, row ``row + 1`` is in line ``line + 1``, and so on.

        The series ends before the row that is passed to the next call of ``note`` or ``note_block``.
        """
        self._mark(row, line)

    def note_block(self, row: int, rows: int, lines: Callable[[], Iterable[int]]) -> None:
        """Record a block of rows; ``lines()`` returns the line number of each row of the block.

        ``row`` is the number of the block's first row, and ``rows`` is the number of rows in the block. Only the last
        few blocks are kept.
        """
        self._mark(row, None)
        self._unmarked.append((row, row + rows, lines))

    def line(self, row: int) -> int | None:
        """Return the line number of a row; None if it is unknown, for example because the row was read long ago."""
        for start, stop, lines in self._unmarked:
            if start <= row < stop:
                return list(lines())[row - start]
        marks = list(self._marks)
        index = bisect_right(marks, row, key=lambda mark: mark[0]) - 1
        first, line = marks[index] if index >= 0 else (0, None)
        return None if line is None else line + row - first

    def _mark(self, row: int, line: int | None) -> None:
        if self._marks and self._marks[-1][0] == row:
            self._marks.pop()
        self._marks.append((row, line))


class LinesOfFiles:
    """The line numbers of the rows of each file, by path, for the last 1,000 files that were read."""

    def __init__(self) -> None:
        self._files: dict[str, RowLines] = {}

    def begin(self, path: str) -> RowLines:
        """Return new, empty RowLines for the file at ``path``; discard those of an earlier reading of the file."""
        self._files.pop(path, None)
        if len(self._files) >= _MOST_FILES:
            del self._files[next(iter(self._files))]
        lines = self._files[path] = RowLines()
        return lines

    def line(self, path: str, row: int) -> int | None:
        """Return the line number of a row of the file at ``path``; None if it is unknown."""
        lines = self._files.get(path)
        return None if lines is None else lines.line(row)
