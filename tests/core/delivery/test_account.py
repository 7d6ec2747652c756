"""The account against its law, with its ledger: through streams that die, kills, and attempts that overlap."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.fast import examples
from zerobus_core.batch import Batch, Chunk
from zerobus_core.checkpoint import DigestForm, Resumption, RowsKept
from zerobus_core.delivery import Account
from zerobus_core.errors import ConfigurationError, Counts, SourceChangedError
from zerobus_core.ranges import RowRanges
from zerobus_core.streams import Ledger

FORM = DigestForm(record_format="protobuf", encoding=1)


class Rows:
    """What rows hold: a letter for each, which a test may change."""

    def __init__(self, first_row: int, rows: int, version: int) -> None:
        self.texts = [b"%d:%d;" % (row, version) for row in range(first_row, first_row + rows)]

    def tracks(self, start: int, stop: int) -> list[bytes]:
        return [b"".join(self.texts[start:stop])]


def past_of(kept: RowsKept, *, reason: str | None = None) -> Resumption:
    """What the next attempt starts with."""
    if reason:
        return Resumption(reached=kept.reached, counts=kept.counts, reason=reason)
    return Resumption(skip=kept.durable, digest=kept.digest, reached=kept.reached, counts=kept.counts)


@dataclass
class Service:
    """A model of the table: how often each row of each version is in it, if all that may have arrived has arrived."""

    arrived: Counter[int] = field(default_factory=Counter)

    @property
    def duplicates(self) -> int:
        return sum(copies - 1 for copies in self.arrived.values())


class AccountMachine(RuleBasedStateMachine):
    """One delivery over any number of attempts; rows do not change."""

    with_digest = False

    def __init__(self) -> None:
        super().__init__()
        self.service = Service()
        self.saved: RowsKept | None = None
        self.zombies: list[list[int]] = []  # what each attempt that was given up may still send

    def begin(self, past: Resumption | None) -> None:
        self.ledger = Ledger()
        self.account = Account(self.ledger, past, form=FORM if self.with_digest else None)
        self.flying: dict[int, list[Batch]] = {}
        self.offset: dict[int, int] = {}
        self.next_stream = 0
        self.next_row = 0
        self.reserved = 0
        self.durable: set[int] = set()
        self.bad: set[int] = set()
        self.refused: set[int] = set()
        self.written: set[int] = set()
        self.left: Counter[int] = Counter()  # how often this attempt handed a row over, as far as it may have arrived
        self.sent_before = RowRanges(self.account.past.skip.without(0, self.account.past.reached))
        self.skipped = {row for start, stop in self.account.past.skip for row in range(start, stop)}
        self.save()

    @initialize()
    def first(self) -> None:
        self.begin(None)

    def save(self, *, is_end: bool = False) -> None:
        self.saved = self.account.kept(is_end=is_end)

    # events

    @rule(rows=st.integers(1, 600), ahead=st.integers(0, 700))
    def read(self, rows: int, ahead: int) -> None:
        """The source gives rows; those that are not skipped are reserved and added."""
        start, stop = self.next_row, self.next_row + rows
        self.next_row = stop
        left_out = self.account.left_out
        for first, last in list(left_out.without(start, stop)):
            for part, is_skipped in self.account.parts(Chunk(first, list(range(first, last)))):
                at, count = part.first_row, len(part.rows)
                assert is_skipped == (at in self.skipped)
                if self.account.on_content:
                    self.account.on_content(at, count, Rows(at, count, 0))
                if is_skipped:
                    self.account.check_skipped(part.stop_row)
                    continue
                if not self.account.is_reserved(part.stop_row):
                    self.reserved = part.stop_row + ahead
                    self.account.reserve(self.reserved)
                    self.save()
                self.ledger.add(Batch(at, count, count, [b"x"] * count))

    @precondition(lambda self: self.next_row not in self.skipped)
    @rule()
    def read_an_unfit_row(self) -> None:
        row, self.next_row = self.next_row, self.next_row + 1
        for _ in self.account.parts(Chunk(row, [row])):
            pass
        self.account.add_unfit()
        self.bad.add(row)

    @precondition(lambda self: len(self.flying) < 3)
    @rule()
    def open(self) -> None:
        self.ledger.open(self.next_stream)
        self.flying[self.next_stream], self.offset[self.next_stream] = [], 0
        self.next_stream += 1

    @precondition(lambda self: self.flying and self.ledger.waiting)
    @rule(data=st.data())
    def hand(self, data: st.DataObject) -> None:
        """What is about to be sent again is in the store before it is; then it arrives, as far as anybody knows."""
        if self.account.rows_resent_ahead > self.saved.counts.rows_resent:
            self.save()
        stream = data.draw(st.sampled_from(sorted(self.flying)))
        _, batch = self.ledger.hand(stream)
        assert self.account.is_reserved(batch.stop_row)
        self.flying[stream].append(batch)
        self.offset[stream] += 1
        self.service.arrived.update(range(batch.first_row, batch.stop_row))
        self.left.update(range(batch.first_row, batch.stop_row))

    @precondition(lambda self: any(self.flying.values()))
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from(sorted(s for s, flying in self.flying.items() if flying)))
        flying = self.flying[stream]
        count = data.draw(st.integers(1, len(flying)))
        for batch in self.ledger.acked(stream, self.offset[stream] - len(flying) + count - 1):
            self.durable |= set(range(batch.first_row, batch.stop_row))
        del flying[:count]

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """Batches that never left have not arrived after all."""
        stream = data.draw(st.sampled_from(sorted(self.flying)))
        flying = self.flying.pop(stream)
        left = data.draw(st.integers(0, len(flying)))
        self.ledger.died(stream, self.offset[stream] - len(flying) + left)
        for batch in flying[left:]:
            self.service.arrived.subtract(range(batch.first_row, batch.stop_row))
            self.left.subtract(range(batch.first_row, batch.stop_row))
        self.service.arrived += Counter()

    @precondition(lambda self: self.ledger.waiting and self.ledger.waiting.handed)
    @rule()
    def split(self) -> None:
        batch = self.ledger.waiting.batch
        if batch.rows > 1:
            self.ledger.split(batch.parts())

    @precondition(lambda self: self.ledger.waiting and self.ledger.waiting.handed)
    @rule()
    def refuse(self) -> None:
        """The service refuses a row, which is in no table then."""
        batch = self.ledger.waiting.batch
        if batch.rows == 1:
            self.ledger.refuse()
            self.refused.add(batch.first_row)

    @rule()
    def write_dead_letters(self) -> None:
        self.written = self.bad | self.refused
        self.account.set_dead_lettered(len(self.written))

    @rule()
    def save_in_time(self) -> None:
        self.save()

    @rule(is_kill=st.booleans(), starts_over=st.booleans())
    def end_and_try_again(self, is_kill: bool, starts_over: bool) -> None:
        """Killed here, the checkpoint is the one that was saved last; an error saves one more."""
        if is_kill:
            given = set(range(self.ledger.reached_row)) | self.skipped | self.bad
            self.zombies.append([row for row in range(self.reserved) if row not in given])
        else:
            self.save(is_end=True)
        claimed = {row for start, stop in self.saved.durable for row in range(start, stop)}
        assert claimed <= {row for row, copies in self.service.arrived.items() if copies > 0}, "claims what is lost"
        self.begin(past_of(self.saved, reason="why not" if starts_over else None))

    @precondition(lambda self: any(self.zombies))
    @rule(data=st.data())
    def a_lost_attempt_goes_on(self, data: st.DataObject) -> None:
        """It sends rows that it had reserved, each of them once."""
        left = data.draw(st.sampled_from([zombie for zombie in self.zombies if zombie]))
        sent = data.draw(st.integers(1, len(left)))
        self.service.arrived.update(left[:sent])
        del left[:sent]

    @precondition(lambda self: self.zombies)
    @rule(more=st.integers(1, 300))
    def a_lost_attempt_reserves_more_before_it_sees_the_newer_one(self, more: int) -> None:
        """No store compares and swaps: its checkpoint replaces the newer one, which finds it before the next save."""
        reached = self.saved.reached
        self.zombies[-1] += [row for row in range(reached, reached + more) if row not in self.skipped]
        self.account.admit(reached + more)
        self.sent_before = RowRanges(self.account.past.skip.without(0, max(reached, self.account.past.reached) + more))
        self.save()

    # the law

    @invariant()
    def every_row_is_in_one_place(self) -> None:
        now = self.account.snapshot()
        counts = now.counts
        assert counts.rows_read == (
            counts.rows_acked
            + counts.rows_skipped
            + counts.rows_dead_lettered
            + now.rows_refused
            + now.rows_waiting
            + now.rows_in_flight
        )
        assert counts.rows_acked == len(self.durable)
        assert counts.rows_skipped == len(self.skipped)
        assert counts.rows_dead_lettered == len(self.written)
        assert now.rows_refused == len((self.bad | self.refused) - self.written)
        assert now.rows_in_flight == sum(batch.rows for flying in self.flying.values() for batch in flying)
        read = set(range(self.next_row)) | self.skipped
        assert counts.rows_read == len(read)

    @invariant()
    def duplicates_are_admitted(self) -> None:
        assert self.account.rows_resent >= self.service.duplicates
        assert self.account.rows_resent_ahead >= self.account.rows_resent

    @invariant()
    def nothing_is_admitted_that_cannot_have_been_sent_twice(self) -> None:
        before = {row for start, stop in self.sent_before if stop < 10**6 for row in range(start, stop)}
        flying = {r for batches in self.flying.values() for b in batches for r in range(b.first_row, b.stop_row)}
        waiting = set(range(self.next_row)) - self.skipped - self.bad - self.refused - self.durable - flying
        again = sum(max(0, times - (row not in before)) for row, times in self.left.items() if times)
        now = self.account.past.counts.rows_resent + again
        assert self.account.rows_resent == now
        ahead = [row for row in before if self.ledger.added_until <= row < self.reserved]
        assert self.account.rows_resent_ahead == now + len(ahead) + sum(
            self.left[row] > 0 or row in before for row in waiting
        )

    @invariant()
    def what_is_saved_is_never_less_than_what_may_have_been_sent(self) -> None:
        """As the next attempt would find it: it sends what is not durable, and then counts no less than there is."""
        probe = Ledger()
        account = Account(probe, past_of(self.saved))
        last = max([*self.service.arrived, self.next_row - 1], default=-1) + 1
        rows = list(account.past.skip.without(0, last))
        twice = Counter(self.service.arrived)
        probe.open(0)
        for first, stop in rows:
            probe.add(Batch(first, stop - first, 0, []))
            probe.hand(0)
            twice.update(range(first, stop))
        assert account.rows_resent >= sum(copies - 1 for copies in twice.values() if copies > 0)


class DigestingMachine(AccountMachine):
    with_digest = True


# Each step is checked against every row, so there are fewer of them.
AccountMachine.TestCase.settings = settings(max_examples=examples(150), stateful_step_count=30, deadline=None)
DigestingMachine.TestCase.settings = settings(max_examples=examples(150), stateful_step_count=30, deadline=None)
TestAccountLaw = AccountMachine.TestCase
TestAccountLawWithDigests = DigestingMachine.TestCase


def account_of(
    *, past: Resumption | None = None, form: DigestForm | None = None, total_rows: int | None = None
) -> Account:
    return Account(Ledger(), past, form=form, total_rows=total_rows)


def read(account: Account, first: int, stop: int, version: int = 0) -> None:
    for part, is_skipped in account.parts(Chunk(first, list(range(first, stop)))):
        account.on_content(part.first_row, len(part.rows), Rows(part.first_row, len(part.rows), version))
        if is_skipped:
            account.check_skipped(part.stop_row)


def delivered(rows: int) -> RowsKept:
    """What a checkpoint says after all of some rows were acknowledged."""
    ledger = Ledger()
    account = Account(ledger, form=FORM)
    read(account, 0, rows)
    ledger.open(0)
    ledger.add(Batch(0, rows, rows, [b"x"] * rows))
    ledger.hand(0)
    ledger.acked(0, 0)
    return account.kept(is_end=True)


def test_rows_that_are_skipped_are_not_admitted_ahead() -> None:
    account = account_of(past=Resumption(skip=RowRanges([(0, 100), (200, 300)]), reached=300))
    account.reserve(400)
    assert account.rows_resent_ahead == 100, "rows 100 to 199 can be sent a second time"


def test_rows_that_an_older_attempt_sent_again_meanwhile_are_admitted_once() -> None:
    account = account_of(past=Resumption(reached=300, counts=Counts(rows_resent=20)))
    account.admit(300, 50)
    account.admit(300, 50)
    account.admit(200, 10)
    assert account.rows_resent == 50


def test_a_checkpoint_holds_the_rows_of_earlier_attempts_and_those_of_this_one() -> None:
    ledger = Ledger()
    account = Account(ledger, Resumption(skip=RowRanges([(0, 100), (200, 300)]), reached=300))
    ledger.open(0)
    ledger.add(Batch(100, 50, 50, [b"x"] * 50))
    ledger.hand(0)
    ledger.acked(0, 0)
    assert account.kept().durable == RowRanges([(0, 150), (200, 300)])


def test_rows_that_changed_are_noticed_when_the_last_of_them_has_passed() -> None:
    account = account_of(past=past_of(delivered(3_000)), form=FORM)
    read(account, 0, 2_999, version=1)
    with pytest.raises(SourceChangedError, match="rows 0 to 2999 are durable"):
        read(account, 2_999, 3_100, version=1)
    kept = account.kept_without_durable()
    assert (kept.durable, kept.reached) == (RowRanges(), 3_000)


def test_a_source_that_ends_before_the_rows_that_are_durable_has_changed() -> None:
    account = account_of(past=past_of(delivered(3_000)), form=FORM)
    read(account, 0, 2_000)
    with pytest.raises(SourceChangedError):
        account.check_end()


def test_an_attempt_that_has_not_compared_all_rows_keeps_what_the_one_before_has_shown() -> None:
    before = delivered(3_000)
    account = account_of(past=past_of(before), form=FORM)
    read(account, 0, 1_500)
    kept = account.kept()
    assert (kept.durable, kept.digest) == (before.durable, before.digest)


@pytest.mark.parametrize("span", [(5, 9), (0, 0 + 4)])
def test_rows_that_come_out_of_order_or_twice_are_refused(span: tuple[int, int]) -> None:
    account = account_of(form=FORM)
    read(account, 0, 4)
    with pytest.raises(ConfigurationError, match="instead of row 4"):
        read(account, *span)


def test_a_source_that_ends_before_its_last_row_is_refused() -> None:
    account = account_of(form=FORM, total_rows=5)
    read(account, 0, 4)
    with pytest.raises(ConfigurationError, match="had 5 rows when the delivery began, but it ended before row 4"):
        account.check_end()
