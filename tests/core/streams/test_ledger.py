"""The ledger against its law: a state machine that plays streams, acknowledgements and deaths in any order."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.fast import examples
from zerobus_core.batch import Batch
from zerobus_core.streams.ledger import Ledger, LedgerError


def batch_at(first_row: int, rows: int, nbytes: int | None = None) -> Batch:
    return Batch(first_row, rows, rows * 10 if nbytes is None else nbytes, [b"x"] * rows)


class LedgerMachine(RuleBasedStateMachine):
    """Keeps its own, much simpler books: for every row, where it is and how often it left."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.next_row = 0
        self.next_stream = 0
        self.flying: dict[int, list[Batch]] = {}  # what each open stream was handed and has not acknowledged
        self.offset: dict[int, int] = {}  # the offset that a stream gives next
        self.durable: set[int] = set()
        self.refused: set[int] = set()
        self.left: dict[int, int] = {}  # how often a row may have reached the service
        self.resent = 0

    # events

    @rule(rows=st.integers(1, 5))
    def read(self, rows: int) -> None:
        self.ledger.add(batch_at(self.next_row, rows))
        self.next_row += rows

    @precondition(lambda self: len(self.flying) < 4)
    @rule()
    def open(self) -> None:
        self.ledger.open(self.next_stream)
        self.flying[self.next_stream], self.offset[self.next_stream] = [], 0
        self.next_stream += 1

    @precondition(lambda self: self.flying and self.ledger.waiting)
    @rule(data=st.data())
    def hand(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from(sorted(self.flying)))
        offset, batch = self.ledger.hand(stream)
        assert offset == self.offset[stream]
        rows = set(range(batch.first_row, batch.stop_row))
        assert not rows & self.durable, "a durable row was handed over again"
        assert not rows & self.refused, "a refused row was handed over again"
        self.offset[stream] += 1
        self.flying[stream].append(batch)
        self.resent += sum(1 for row in rows if self.left.get(row))
        for row in rows:
            self.left[row] = self.left.get(row, 0) + 1

    @precondition(lambda self: any(self.flying.values()))
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from(sorted(s for s, flying in self.flying.items() if flying)))
        flying = self.flying[stream]
        count = data.draw(st.integers(0, len(flying)))
        first = self.offset[stream] - len(flying)
        batches = self.ledger.acked(stream, first + count - 1)
        assert batches == flying[:count]
        for batch in batches:
            self.durable |= set(range(batch.first_row, batch.stop_row))
        del flying[:count]

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from(sorted(self.flying)))
        flying = self.flying.pop(stream)
        reached_of_flying = data.draw(st.integers(0, len(flying)))
        entries = self.ledger.died(stream, self.offset[stream] - len(flying) + reached_of_flying)
        assert [entry.batch for entry in entries] == flying[:reached_of_flying], "what never left is not a suspect"
        for batch in flying[reached_of_flying:]:
            rows = range(batch.first_row, batch.stop_row)
            for row in rows:
                self.left[row] -= 1
            self.resent -= sum(1 for row in rows if self.left[row])
        if flying:
            assert self.ledger.waiting is not None
            assert self.ledger.waiting.batch == flying[0], "what died must go first"

    @precondition(lambda self: any(not flying for flying in self.flying.values()))
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from(sorted(s for s, flying in self.flying.items() if not flying)))
        self.ledger.close_stream(stream)
        del self.flying[stream]

    def _suspect(self) -> Batch | None:
        entry = self.ledger.waiting
        return entry.batch if entry and entry.handed else None

    @precondition(lambda self: self._suspect() is not None and self._suspect().rows > 1)
    @rule()
    def split(self) -> None:
        suspect = self._suspect()
        assert suspect is not None
        self.ledger.split(suspect.parts())

    @precondition(lambda self: self._suspect() is not None)
    @rule()
    def refuse(self) -> None:
        batch = self.ledger.refuse()
        self.refused |= set(range(batch.first_row, batch.stop_row))

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), beyond=st.integers(0, 3))
    def foreign_acknowledgements_are_impossible(self, data: st.DataObject, beyond: int) -> None:
        stream = data.draw(st.sampled_from(sorted(self.flying)))
        before = repr(self.ledger)
        with pytest.raises(LedgerError, match="never sent"):
            self.ledger.acked(stream, self.offset[stream] + beyond)
        first = self.offset[stream] - len(self.flying[stream])
        with pytest.raises(LedgerError, match="after offset"):
            self.ledger.acked(stream, first - 2 - beyond)
        with pytest.raises(LedgerError, match="not open"):
            self.ledger.acked(self.next_stream + beyond, 0)
        assert repr(self.ledger) == before

    # the law

    @invariant()
    def every_row_is_in_exactly_one_place(self) -> None:
        flying = {r for batches in self.flying.values() for b in batches for r in range(b.first_row, b.stop_row)}
        waiting = set(range(self.next_row)) - flying - self.durable - self.refused
        assert self.ledger.unacked_rows == len(flying) + len(waiting)
        assert self.ledger.rows_added == self.next_row
        assert self.ledger.rows_acked == len(self.durable)
        assert self.ledger.rows_refused == len(self.refused)
        assert self.ledger.unacked_bytes == 10 * (len(flying) + len(waiting))
        assert self.ledger.total_bytes_in_flight == 10 * len(flying)
        assert self.ledger.is_settled == (not flying and not waiting)

    @invariant()
    def durable_rows_are_told_as_ranges(self) -> None:
        assert {row for start, stop in self.ledger.durable for row in range(start, stop)} == self.durable

    @invariant()
    def resent_rows_are_counted(self) -> None:
        assert self.ledger.rows_resent == self.resent

    def teardown(self) -> None:
        """Nothing is forgotten: one good stream settles whatever is left."""
        for stream in list(self.flying):
            self.ledger.died(stream, self.offset[stream])
        stream = self.next_stream
        self.ledger.open(stream)
        offset = -1
        while self.ledger.waiting:
            offset, batch = self.ledger.hand(stream)
            self.durable |= set(range(batch.first_row, batch.stop_row))
        if offset >= 0:
            self.ledger.acked(stream, offset)
        assert self.ledger.is_settled
        assert self.durable | self.refused == set(range(self.next_row))


LedgerMachine.TestCase.settings = settings(max_examples=examples(200), stateful_step_count=40, deadline=None)
TestLedgerLaw = LedgerMachine.TestCase


def open_ledger(*rows: int) -> Ledger:
    ledger = Ledger()
    first = 0
    for count in rows:
        ledger.add(batch_at(first, count))
        first += count
    ledger.open(1)
    return ledger


def test_an_acknowledgement_covers_all_offsets_below_it() -> None:
    ledger = open_ledger(5, 5, 5)
    for _ in range(3):
        ledger.hand(1)
    assert [batch.first_row for batch in ledger.acked(1, 1)] == [0, 5]
    assert list(ledger.durable) == [(0, 10)]


def test_an_acknowledgement_for_something_never_sent_names_event_and_state() -> None:
    ledger = open_ledger(5)
    ledger.hand(1)
    with pytest.raises(LedgerError, match=r"stream 1 acknowledged offset 1, which was never sent: <Ledger 5 rows"):
        ledger.acked(1, 1)


def test_an_acknowledgement_that_repeats_changes_nothing() -> None:
    ledger = open_ledger(5)
    ledger.hand(1)
    ledger.acked(1, 0)
    assert ledger.acked(1, 0) == []
    assert ledger.rows_acked == 5


def test_offsets_start_again_at_zero_on_the_next_stream() -> None:
    ledger = open_ledger(5, 5)
    ledger.hand(1)
    ledger.hand(1)
    ledger.acked(1, 0)
    ledger.died(1, reached=2)
    ledger.open(2)
    assert ledger.hand(2)[0] == 0
    assert [batch.first_row for batch in ledger.acked(2, 0)] == [5]


def test_a_batch_that_never_left_is_not_counted_as_sent_again() -> None:
    ledger = open_ledger(5, 7)
    ledger.hand(1)
    ledger.hand(1)
    ledger.died(1, reached=1)
    ledger.open(2)
    ledger.hand(2)
    ledger.hand(2)
    assert ledger.rows_resent == 5


def test_a_stream_with_batches_in_flight_cannot_be_closed() -> None:
    ledger = open_ledger(5)
    ledger.hand(1)
    with pytest.raises(LedgerError, match="cannot close stream 1, which has batches in flight"):
        ledger.close_stream(1)


def test_parts_that_leave_out_a_row_are_refused() -> None:
    ledger = open_ledger(5)
    ledger.hand(1)
    ledger.died(1, reached=1)
    with pytest.raises(LedgerError, match="the parts do not make up rows 0 to 4"):
        ledger.split([batch_at(0, 2), batch_at(3, 2)])
