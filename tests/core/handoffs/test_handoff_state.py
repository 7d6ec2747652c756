"""The state of a handoff against its law: a machine in which runs crash between any two steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.fast import examples
from zerobus_core.errors import ConfigurationError, HandoffStateError, SliceForgottenError
from zerobus_core.handoffs.document import from_json, to_json
from zerobus_core.handoffs.lease import LEASE_SECONDS, Owner
from zerobus_core.handoffs.state import MAX_HISTORY, OpenSlice, PastSlice, State

START = datetime(2026, 11, 29, tzinfo=UTC)


def fresh() -> State:
    return State(name="orders", table="a.b.c", kind="numbers", source={"of": "x"}, written_at=START.isoformat())


@dataclass
class Run:
    """A run in the middle of its work: what it has read of the state, and what it does next."""

    owner: Owner
    read: State
    slice_id: str
    end: int
    is_sent: bool = False


class HandoffMachine(RuleBasedStateMachine):
    """Rows are the numbers from 1 on; position n says that rows 1 to n are delivered.

    The store compares and swaps, and everything between two rules may be a crash: a run is an entry of ``runs`` that is
    simply dropped.  The model keeps, for each row, how often it was sent, and by how much the law admits that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stored = to_json(fresh())
        self.now = START
        self.rows = 0
        self.runs: dict[str, Run] = {}
        self.dead: set[str] = set()
        self.attempts = 0
        self.sent: dict[int, int] = {}
        self.admitted: dict[int, int] = {}
        self.given_up: set[int] = set()
        self.ids: list[str] = []
        self.opened_by: dict[str, str] = {}  # the slice that each run opened first
        self.cleared: dict[str, int] = {}
        self.durable: dict[str, set[int]] = {}  # the checkpoint of each slice

    @property
    def state(self) -> State:
        return from_json(self.stored, "memory")

    def write(self, replaces: State, state: State) -> bool:
        if to_json(replaces) != self.stored:
            return False
        assert state.revision == replaces.revision + 1 or state == replaces
        self.stored = to_json(state)
        assert from_json(self.stored, "memory") == state
        return True

    def owner(self, key: str) -> Owner:
        self.attempts += 1
        chain = f"chain-{self.cleared.get(key, 0)}"
        return Owner(key=key, chain=chain, host="here", pid=self.attempts, attempt=str(self.attempts))

    # the world

    @rule(count=st.integers(1, 4))
    def rows_appear(self, count: int) -> None:
        self.rows += count

    @rule(seconds=st.sampled_from([1.0, LEASE_SECONDS / 2, LEASE_SECONDS + 1]))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # a run, step by step

    @rule(key=st.sampled_from("abcde"))
    def begin(self, key: str) -> None:
        """Take up the open slice, or freeze a new one; the state is written before anything is sent."""
        owner, state = self.owner(key), self.state
        try:
            own = state.slice_of(owner)
        except SliceForgottenError:
            assert key in self.opened_by, "a run that never opened a slice is told that its slice is forgotten"
            return
        assert own is None or own.id in self.ids
        if isinstance(own, PastSlice):
            return
        if state.open is not None:
            is_alive = state.open.lease.owner.attempt not in self.dead
            holder = state.holder_in_the_way(owner, now=self.now, renewed_at=None, is_alive=is_alive)
            taken_at = datetime.fromisoformat(state.open.lease.taken_at)
            is_valid = self.now < taken_at + timedelta(seconds=LEASE_SECONDS)
            may_not = is_alive and is_valid and state.open.lease.owner.key != key
            assert (holder is not None) == may_not
            if holder is None and self.write(state, state.take_up(state.open.id, owner=owner, now=self.now)):
                self.runs[owner.attempt] = Run(owner, self.state, state.open.id, state.open.end)
            return
        done = state.done or 0
        if done >= self.rows:
            return
        slice_id = f"{state.opened + 1}-{owner.attempt}"
        frozen = state.freeze(slice_id, self.rows, {"rows": self.rows - done}, owner=owner, now=self.now)
        if self.write(state, frozen):
            assert slice_id not in self.ids
            self.ids.append(slice_id)
            self.opened_by.setdefault(key, slice_id)
            self.runs[owner.attempt] = Run(owner, frozen, slice_id, self.rows)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), part=st.integers(0, 10))
    def send(self, data: st.DataObject, part: int) -> None:
        """Send the missing rows of the slice, or some of them; all of them count as durable then."""
        run = self.runs[data.draw(st.sampled_from(sorted(self.runs)))]
        bounds = self.bounds_of(run.slice_id)
        if bounds is None:
            return
        durable = self.durable.setdefault(run.slice_id, set())
        missing = [row for row in range(bounds[0] + 1, bounds[1] + 1) if row not in durable]
        for row in missing[: len(missing) if part == 10 else part]:
            self.sent[row] = self.sent.get(row, 0) + 1
            durable.add(row)
        run.is_sent = all(row in durable for row in range(bounds[0] + 1, bounds[1] + 1))

    @precondition(lambda self: any(run.is_sent for run in self.runs.values()))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(sorted(a for a, run in self.runs.items() if run.is_sent)))
        run = self.runs.pop(attempt)
        state = self.state
        try:
            done = state.finish(run.slice_id, done=run.end, counts={"rows_read": 1}, owner=run.owner, now=self.now)
        except SliceForgottenError:
            return  # the state was rewound, or the slice skipped and forgotten
        if done != state:
            assert state.open is not None
            assert state.open.id == run.slice_id
            assert done.done == run.end
            assert done.open is None
        self.write(state, done)
        assert self.state.finish(run.slice_id, done=run.end, counts={}, owner=run.owner, now=self.now) == self.state

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), is_killed=st.booleans())
    def crash(self, data: st.DataObject, is_killed: bool) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.runs)))
        run = self.runs.pop(attempt)
        if is_killed:
            self.dead.add(attempt)
            return
        state = self.state
        gone = state.let_go(run.slice_id, owner=run.owner, now=self.now)
        if gone != state:
            assert state.open is not None
            assert state.open.lease.owner == run.owner, "another run's lease was ended"
            assert gone.open is not None
            other = Owner(key="zz")
            assert gone.holder_in_the_way(other, now=self.now, renewed_at=None, is_alive=None) is None
        self.write(state, gone)

    # people

    @rule(key=st.sampled_from("abcde"))
    def clear(self, key: str) -> None:
        """Send a finished slice again; the state stays where it is."""
        self.cleared[key] = self.cleared.get(key, 0) + 1
        owner, state = self.owner(key), self.state
        try:
            own = state.slice_of(owner)
        except SliceForgottenError:
            return
        if not isinstance(own, PastSlice):
            return
        assert own.opened_by == key
        for row in range((own.start or 0) + 1, own.end + 1):
            self.sent[row] = self.sent.get(row, 0) + 1
            self.admitted[row] = self.admitted.get(row, 0) + 1
        again = state.redelivered(own.id, chain=owner.chain, rows=own.end - (own.start or 0), now=self.now)
        assert (again.done, again.open) == (state.done, state.open)
        assert sum(len(past.redeliveries) for past in again.history) == 1 + sum(
            len(past.redeliveries) for past in state.history
        )
        self.write(state, again)
        assert self.state.redelivered(own.id, chain=owner.chain, rows=1, now=self.now) == self.state

    @precondition(lambda self: self.state.done)
    @rule(data=st.data())
    def rewind(self, data: st.DataObject) -> None:
        state = self.state
        to = data.draw(st.integers(0, state.done))
        end = max(state.done, state.open.end if state.open else 0)
        for row in range(to + 1, end + 1):
            self.admitted[row] = self.admitted.get(row, 0) + self.sent.get(row, 0)
        self.write(state, state.rewind(to, owner=Owner(key="person"), now=self.now))
        assert self.state.open is None
        assert self.state.done == to
        # Runs that were on their way find out; what they send until then is on the person's account.
        for run in self.runs.values():
            self.admit_all(run)

    def admit_all(self, run: Run) -> None:
        for row in range(1, run.end + 1):
            self.admitted[row] = self.admitted.get(row, 0) + 1

    @precondition(lambda self: self.state.open)
    @rule()
    def skip(self) -> None:
        state = self.state
        assert state.open is not None
        opened = state.open
        self.given_up |= set(range((opened.start or 0) + 1, opened.end + 1))
        self.write(state, state.skip(opened.id, done=opened.end, counts={}, owner=Owner(key="person"), now=self.now))
        assert self.state.open is None
        assert self.state.done == opened.end
        assert self.state.history[-1].outcome == "skipped"

    @precondition(lambda self: self.state.open)
    @rule()
    def release(self) -> None:
        state = self.state
        assert state.open is not None
        released = state.release(
            what="x", done=state.done, facts={"smaller": True}, owner=Owner(key="person"), now=self.now
        )
        assert released.open == replace(state.open, facts={**state.open.facts, "smaller": True})
        assert released.done == state.done
        self.write(state, released)

    def bounds_of(self, slice_id: str) -> tuple[int, int] | None:
        """The bounds of the open slice; a run that was superseded sends nothing more (its checkpoint says so)."""
        opened = self.state.open
        return (opened.start or 0, opened.end) if opened is not None and opened.id == slice_id else None

    # the law

    @invariant()
    def everything_up_to_done_is_durable(self) -> None:
        missing = {row for row in range(1, (self.state.done or 0) + 1) if not self.sent.get(row)}
        assert missing <= self.given_up, f"gap: {sorted(missing - self.given_up)}"

    @invariant()
    def nothing_is_sent_twice_unless_a_person_asked(self) -> None:
        twice = {row: count for row, count in self.sent.items() if count > 1 + self.admitted.get(row, 0)}
        assert not twice, f"overlap: {twice}"

    @invariant()
    def an_open_slice_begins_where_done_ends(self) -> None:
        state = self.state
        if state.open is not None:
            assert state.open.start == state.done
            assert state.open.end > (state.done or 0)

    @invariant()
    def the_history_is_bounded_and_slices_meet(self) -> None:
        state = self.state
        assert len(state.history) <= MAX_HISTORY
        ids = [past.id for past in state.history] + ([state.open.id] if state.open else [])
        assert len(set(ids)) == len(ids)
        for one, next_one in zip(state.history, state.history[1:], strict=False):
            if {one.outcome, next_one.outcome} <= {"delivered", "skipped"}:
                assert one.end == next_one.start, "a gap or an overlap between two slices"

    @invariant()
    def a_run_gets_its_own_slice_or_is_refused(self) -> None:
        for key, first in self.opened_by.items():
            try:
                own = self.state.slice_of(Owner(key=key))
            except SliceForgottenError:
                continue
            if own is None:  # it was given up by a rewind
                assert first not in {past.id for past in self.state.history if past.outcome in {"delivered", "skipped"}}
            else:
                assert own.opened_by == key


class ManySlices(HandoffMachine):
    """Begins with more slices than the history holds."""

    @initialize(count=st.integers(MAX_HISTORY, MAX_HISTORY + 5))
    def many_slices(self, count: int) -> None:
        for number in range(count):
            self.rows += 1
            owner = self.owner(f"old-{number}")
            frozen = self.state.freeze(f"old-{number}", self.rows, {}, owner=owner, now=self.now)
            self.write(self.state, frozen)
            self.ids.append(f"old-{number}")
            self.opened_by[owner.key] = f"old-{number}"
            self.sent[self.rows] = 1
            self.write(frozen, frozen.finish(f"old-{number}", done=self.rows, counts={}, owner=owner, now=self.now))
        for number in range(count - MAX_HISTORY):
            with pytest.raises(SliceForgottenError, match="--from and --to"):
                self.state.slice_of(Owner(key=f"old-{number}"))


TestHandoffMachine = HandoffMachine.TestCase
TestManySlices = ManySlices.TestCase
TestHandoffMachine.settings = settings(max_examples=examples(80), stateful_step_count=50, deadline=None)
TestManySlices.settings = settings(max_examples=examples(10), stateful_step_count=30, deadline=None)


def open_state() -> tuple[State, OpenSlice]:
    state = fresh().freeze("1-x", 5, {}, owner=Owner(key="a", host="h", pid=4, attempt="1"), now=START)
    assert state.open is not None
    return state, state.open


def test_a_lease_lasts_from_the_last_save_of_the_checkpoint() -> None:
    state, _ = open_state()
    late = START + timedelta(seconds=LEASE_SECONDS + 100)
    renewed = START + timedelta(seconds=200)
    other = Owner(key="b")
    assert state.holder_in_the_way(other, now=late, renewed_at=None, is_alive=None) is None
    assert state.holder_in_the_way(other, now=late, renewed_at=renewed, is_alive=None) is not None
    assert state.holder_in_the_way(other, now=late, renewed_at=renewed, is_alive=False) is None
    assert state.holder_in_the_way(Owner(key="a"), now=START, renewed_at=renewed, is_alive=True) is None


def test_only_the_holder_ends_its_lease() -> None:
    state, opened = open_state()
    zombie = Owner(key="a", host="h", pid=4, attempt="0")
    assert state.let_go(opened.id, owner=zombie, now=START) == state
    assert state.let_go("another", owner=opened.lease.owner, now=START) == state
    gone = state.let_go(opened.id, owner=opened.lease.owner, now=START)
    assert gone.holder_in_the_way(Owner(key="b"), now=START, renewed_at=None, is_alive=None) is None


def test_a_slice_that_is_not_open_is_not_finished() -> None:
    state, _ = open_state()
    with pytest.raises(SliceForgottenError, match="1-x"):
        state.finish("another", done=5, counts={}, owner=Owner(key="a"), now=START)
    rewound = state.rewind(None, owner=Owner(key="person"), now=START)
    assert [past.outcome for past in rewound.history] == ["abandoned", "rewound"]
    with pytest.raises(SliceForgottenError, match="rewound"):
        rewound.finish("1-x", done=5, counts={}, owner=Owner(key="a"), now=START)


def test_a_run_that_finishes_a_slice_that_another_one_has_finished_changes_nothing() -> None:
    state, _ = open_state()
    finished = state.finish("1-x", done=5, counts={"rows_acked": 3}, owner=Owner(key="a"), now=START)
    assert finished.finish("1-x", done=5, counts={}, owner=Owner(key="b"), now=START) == finished
    skipped = state.skip("1-x", done=5, counts={}, owner=Owner(key="a"), now=START)
    assert skipped.finish("1-x", done=5, counts={}, owner=Owner(key="b"), now=START) == skipped


def test_a_second_open_slice_is_impossible() -> None:
    state, _ = open_state()
    with pytest.raises(AssertionError, match="while another one is open"):
        state.freeze("2-x", 9, {}, owner=Owner(key="a"), now=START)


def test_a_state_of_something_else_is_refused() -> None:
    state = fresh()
    good = {"name": "orders", "table": "a.b.c", "kind": "numbers", "source": {"of": "x"}}
    state.check_use(**good)
    for key, other, words in [
        ("name", "other", "belongs to handoff 'orders', not 'other'"),
        ("table", "a.b.d", "belongs to table 'a.b.c'"),
        ("kind", "files", "source of numbers"),
        ("source", {"of": "y"}, "another source"),
        ("source", {"of": "x", "more": 1}, "another source"),
    ]:
        with pytest.raises(ConfigurationError, match=words):
            state.check_use(**{**good, key: other})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:-5], "not valid JSON"),
        (lambda text: "[]", "not the state of a handoff"),
        (lambda text: "", "not valid JSON"),
        (lambda text: text.replace('"version": 1', '"version": 2'), "version 2"),
        (lambda text: text.replace('"revision": 1', '"revision": -1'), "revision is -1"),
        (lambda text: text.replace('"revision": 1', '"revisions": 1'), "lacks fields of version"),
        (lambda text: text.replace('"pid": 4', '"pid": true'), "pid is True"),
        (lambda text: text.replace("+00:00", ""), "without time zone"),
        (lambda text: "[" * 100_000, "recursion"),
    ],
)
def test_a_damaged_document_is_refused(change: object, words: str) -> None:
    state, _ = open_state()
    text = to_json(state)
    assert from_json(text, "here") == state
    with pytest.raises(HandoffStateError, match=words):
        from_json(change(text), "here")  # type: ignore[operator]
