"""Positions of rows after some were taken out of their source."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zerobus_core.ranges import RemovedRows, RowRanges, moved_end, moved_ranges

# For each file of a source: its rows, whether it was taken out, and how many of its rows are known (None: all).
FILES = st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.none() | st.integers(0, 5)), max_size=6)


@given(FILES, st.sets(st.integers(0, 30)), st.integers(0, 30))
def test_rows_keep_their_marks_and_none_is_marked_that_was_not(
    files: list[tuple[int, bool, int | None]], durable: set[int], reached: int
) -> None:
    now: dict[int, int] = {}  # the new position of each row that is left
    known: dict[int, int] = {}  # the same, of the rows whose new position is known
    removed: list[RemovedRows] = []
    position = 0
    for rows, is_removed, rows_known in files:
        is_exact = all(one.is_exact for one in removed)
        if is_removed and is_exact:
            least = rows if rows_known is None else min(rows, rows_known)
            removed.append(RemovedRows(position, least, is_exact=rows_known is None))
        for row in range(position, position + rows):
            if not is_removed:
                now[row] = len(now)
                if is_exact:
                    known[row] = now[row]
        position += rows
    durable &= set(range(position))
    moved = moved_ranges(RowRanges((row, row + 1) for row in sorted(durable)), removed)
    assert {row for span in moved for row in range(*span)} == {known[row] for row in durable & set(known)}
    end = moved_end(reached, removed)
    sent = {now[row] for row in set(now) & set(range(reached))}
    assert max(sent, default=-1) < end <= reached
    if all(one.is_exact for one in removed) and reached <= position:
        assert end == len(sent)
