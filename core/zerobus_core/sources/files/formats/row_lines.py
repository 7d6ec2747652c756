"""Records which line of a text file each row is in, for errors; noted wherever rows and lines get out of step."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable

__all__ = ["LinesOfFiles", "RowLines"]

# A file with a blank line after each row needs one of these for each row; rows before them have no line then.
_MOST_MARKS = 100_000
_MOST_BLOCKS = 4
_MOST_FILES = 1_000


class RowLines:
    """The lines of the rows of one file; rows count from 0, lines from 1."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int | None]] = deque(maxlen=_MOST_MARKS)  # from this row on, a line for each row
        self._unmarked: deque[tuple[int, int, Callable[[], Iterable[int]]]] = deque(maxlen=_MOST_BLOCKS)

    def note(self, row: int, line: int) -> None:
        """Note that row ``row`` is in line ``line``, and each following row in the next line."""
        self._mark(row, line)

    def note_block(self, row: int, rows: int, lines: Callable[[], Iterable[int]]) -> None:
        """Note that ``lines`` returns the lines of ``rows`` rows from ``row`` on; kept for the last few blocks only."""
        self._mark(row, None)
        self._unmarked.append((row, row + rows, lines))

    def line(self, row: int) -> int | None:
        """Return the line of a row that was read recently; None if it is unknown."""
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
    """The line numbers of rows in the files that were read last, by path."""

    def __init__(self) -> None:
        self._files: dict[str, RowLines] = {}

    def begin(self, path: str) -> RowLines:
        """Discard the line numbers of a file, because it is read again; return its new RowLines."""
        self._files.pop(path, None)
        if len(self._files) >= _MOST_FILES:
            del self._files[next(iter(self._files))]
        lines = self._files[path] = RowLines()
        return lines

    def line(self, path: str, row: int) -> int | None:
        """Return the line of a row of a file; None if it is unknown."""
        lines = self._files.get(path)
        return None if lines is None else lines.line(row)
