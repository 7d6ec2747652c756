"""Sets of row positions, kept as sorted half-open ranges."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

__all__ = ["END", "RemovedRows", "RowRanges", "moved_end", "moved_ranges"]

END = 2**63 - 1
"""A position after the last row of any source."""


class RowRanges:
    """A set of row positions, kept as sorted, disjoint, non-touching half-open ranges ``(start, stop)``.

    ``add`` takes O(log n) to find the place, and then O(1) to insert at the end or O(n) to insert anywhere else. Not
    safe for concurrent use.
    """

    __slots__ = ("_count", "_starts", "_stops")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._count = 0
        for start, stop in ranges:
            self.add(start, stop)

    def add(self, start: int, stop: int) -> None:
        """Add the positions ``start <= p < stop``; any of them can be in the set already."""
        if not 0 <= start <= stop:
            raise ValueError(f"not a row range: ({start}, {stop})")
        if start == stop:
            return
        # The ranges from `low` up to `high` touch or overlap the new one and become one with it.
        low = bisect_left(self._stops, start)
        high = bisect_right(self._starts, stop)
        if low < high:
            start = min(start, self._starts[low])
            stop = max(stop, self._stops[high - 1])
            self._count -= sum(self._stops[i] - self._starts[i] for i in range(low, high))
        self._starts[low:high] = [start]
        self._stops[low:high] = [stop]
        self._count += stop - start

    def without(self, start: int = 0, stop: int = END) -> Iterator[tuple[int, int]]:
        """Yield the parts of ``(start, stop)`` that are not in the set, in order."""
        index = bisect_right(self._stops, start)
        while start < stop:
            if index == len(self._starts) or self._starts[index] >= stop:
                yield start, stop
                return
            if start < self._starts[index]:
                yield start, self._starts[index]
            start = self._stops[index]
            index += 1

    def rows_within(self, start: int, stop: int) -> int:
        """Return how many positions of ``(start, stop)`` are in the set."""
        if start >= stop or not self._starts:
            return 0
        low, high = bisect_right(self._stops, start), bisect_left(self._starts, stop)
        spans = zip(self._starts[low:high], self._stops[low:high], strict=True)
        return sum(min(stop, last) - max(start, first) for first, last in spans)

    def holds(self, start: int, stop: int) -> bool:
        """Return whether all positions of ``(start, stop)`` are in the set."""
        index = bisect_right(self._starts, start) - 1
        return start >= stop or (index >= 0 and stop <= self._stops[index])

    def __contains__(self, position: object) -> bool:
        if not isinstance(position, int):
            return False
        index = bisect_right(self._starts, position) - 1
        return index >= 0 and position < self._stops[index]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._stops, strict=True)

    def __len__(self) -> int:
        """The number of ranges, not of rows."""
        return len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RowRanges):
            return NotImplemented
        return self._starts == other._starts and self._stops == other._stops

    __hash__ = None  # type: ignore[assignment]  # a mutable set

    def __repr__(self) -> str:
        return f"RowRanges({list(self)})"

    @property
    def rows(self) -> int:
        """The number of positions in the set."""
        return self._count

    def copy(self) -> RowRanges:
        """Return an independent copy."""
        twin = RowRanges()
        twin._starts, twin._stops, twin._count = self._starts.copy(), self._stops.copy(), self._count
        return twin


class RemovedRows(NamedTuple):
    """Consecutive rows that were removed from a source.

    ``start`` is the position that the first of these rows had.
    """

    start: int
    rows: int
    is_exact: bool = True
    """False if more rows than these may have been removed here, so that the new positions of all later rows are
    unknown."""


def moved_ranges(ranges: RowRanges, removed: Sequence[RemovedRows]) -> RowRanges:
    """Return the positions that the rows in ``ranges`` have after the rows in ``removed`` were removed.

    Rows that were removed are left out, and so are rows whose new position is unknown. ``removed`` must be in ascending
    order.
    """
    moved = RowRanges()
    first = shift = 0
    for gone in (*removed, RemovedRows(END, 0)):
        for start, stop in ranges:
            if max(start, first) < min(stop, gone.start):
                moved.add(max(start, first) - shift, min(stop, gone.start) - shift)
        if not gone.is_exact:
            break
        first = gone.start + gone.rows
        shift += gone.rows
    return moved


def moved_end(position: int, removed: Sequence[RemovedRows]) -> int:
    """Return the highest position that the row at ``position`` can have after the rows in ``removed`` were removed.

    If more rows were removed than ``removed`` says, the row can have a lower position.
    """
    return position - sum(min(gone.rows, max(0, position - gone.start)) for gone in removed)
