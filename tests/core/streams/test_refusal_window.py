"""The search for a refused row, played against services that acknowledge what came before it, or do not."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fast import examples
from zerobus_core.streams.refusal_window import RefusalWindow


def streams_lost(rows: int, bad: set[int], *, acknowledges: bool) -> int:
    """How many streams it takes until all good rows are durable and the bad ones known; rows travel one by one."""
    window = RefusalWindow()
    window.restart()  # a larger batch was refused before
    waiting = list(range(rows))
    guilty: set[int] = set()
    lost = 0
    while waiting:
        group = []
        while waiting and window.take(1, is_settled=not group):
            group.append(waiting.pop(0))
        refused = next((index for index, row in enumerate(group) if row in bad), None)
        if refused is None:
            continue
        lost += 1
        assert lost <= 40 * len(bad), "the search does not end"
        suspects = group[refused:] if acknowledges else group
        window.on_lost()
        if len(suspects) == 1:
            guilty.add(suspects[0])
            suspects = []
        waiting[:0] = suspects
        window.restart()
    assert guilty == bad
    return lost


@settings(max_examples=examples(300), deadline=None)
@given(st.data())
def test_a_bad_row_costs_a_logarithm_of_streams_whatever_the_service_acknowledges(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 3000))
    bad = data.draw(st.sets(st.integers(0, rows - 1), max_size=8))
    assert streams_lost(rows, bad, acknowledges=True) <= 2 * len(bad)
    assert streams_lost(rows, bad, acknowledges=False) <= len(bad) * (math.log2(rows) + 2)


def test_a_window_that_nothing_was_refused_in_is_no_bound() -> None:
    window = RefusalWindow()
    window.on_lost()
    assert all(window.take(1, is_settled=False) for _ in range(1000))


def test_a_group_waits_until_all_before_it_is_settled() -> None:
    window = RefusalWindow()
    window.restart(first_group=3)
    assert not window.take(1, is_settled=False), "something was in flight when the batch was refused"
    assert [window.take(1, is_settled=index == 0) for index in range(4)] == [True, True, True, False]
    assert window.take(1, is_settled=True)
    assert not window.take(1, is_settled=False)


def test_groups_grow_so_that_good_rows_are_held_up_for_a_logarithm_of_round_trips() -> None:
    window = RefusalWindow()
    window.restart()
    round_trips = sum(
        window.take(1, is_settled=False) is False and window.take(1, is_settled=True) for _ in range(5000)
    )
    assert round_trips <= 14


def test_a_group_takes_at_least_one_batch_however_many_rows_that_has() -> None:
    window = RefusalWindow()
    window.restart()
    assert window.take(5000, is_settled=True)
    assert not window.take(1, is_settled=False)
    assert window.take(5000, is_settled=True)
