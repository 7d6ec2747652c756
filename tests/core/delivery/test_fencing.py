"""Two attempts at one delivery at once: the newer one takes over, and admits what the older one may have sent."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from zerobus_core import IngestOptions, Receipt, ingest
from zerobus_core.bad_rows.letters import letters_of
from zerobus_core.batch import Chunk
from zerobus_core.checkpoint import AttemptMark, Checkpoint, MemoryCheckpointStore
from zerobus_core.errors import DeliverySupersededError
from zerobus_core.ranges import RowRanges
from zerobus_local import LocalZerobus

TABLE = "main.default.t"
ROWS = 3_000
OPTIONS = IngestOptions(source_version="1", batch_rows=50)


@pytest.fixture
def table(server: LocalZerobus) -> str:
    server.create_table(f"CREATE TABLE {TABLE} (id BIGINT NOT NULL)")
    return TABLE


class Interrupted:
    """Rows of an attempt in the middle of which another one runs from beginning to end."""

    def __init__(self, at: int, other: Any, rows: int = ROWS) -> None:
        self._at, self._other, self._rows = at, other, rows
        self.receipt: Receipt | None = None

    def rows(self) -> Iterator[dict[str, int]]:
        for number in range(self._rows):
            if number == self._at:
                self.receipt = self._other()
            yield {"id": number}


def attempt(server: LocalZerobus, store: Any, rows: Iterator[dict[str, int]]) -> Receipt:
    return ingest(server.workspace, TABLE, rows, options=OPTIONS, checkpoint=store)


def generated(rows: int = ROWS) -> Iterator[dict[str, int]]:
    return ({"id": number} for number in range(rows))


@pytest.mark.parametrize("at", [60, 1_000])
def test_an_older_attempt_stops_when_a_newer_one_has_run(server: LocalZerobus, table: str, at: int) -> None:
    store = MemoryCheckpointStore()
    older = Interrupted(at, lambda: attempt(server, store, generated()))
    with pytest.raises(
        DeliverySupersededError, match="a newer attempt at this delivery has taken over, so this attempt stops"
    ) as error:
        attempt(server, store, older.rows())
    assert not error.value.retryable
    receipt = older.receipt
    assert receipt is not None
    ids = server.read(table)["id"].to_pylist()
    assert set(ids) == set(range(ROWS))
    assert len(ids) - len(set(ids)) <= receipt.rows_resent


class Pages:
    """A source that waits at its end until all of its rows are durable, and then lets a newer attempt run."""

    fingerprint, is_arrow, total_rows, is_content_known = "pages", False, None, True

    def __init__(self, store: MemoryCheckpointStore, newer: Any = None) -> None:
        self._store, self._newer = store, newer

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        for start, stop in skip.without(0, ROWS):
            yield Chunk(start, [{"id": number} for number in range(start, stop)])
        if self._newer is not None:
            while (kept := self._store.load()) is None or kept.durable.rows < ROWS:
                yield Chunk(ROWS, [])
            self._newer()


def test_an_older_attempt_all_of_whose_rows_are_durable_is_green_as_well(server: LocalZerobus, table: str) -> None:
    store = MemoryCheckpointStore()
    newer: list[tuple[Receipt, str | None]] = []

    def runs() -> None:
        receipt = ingest(server.workspace, table, Pages(store), options=OPTIONS, checkpoint=store)
        newer.append((receipt, store.text))

    receipt = ingest(server.workspace, table, Pages(store, runs), options=OPTIONS, checkpoint=store)
    ((other, text),) = newer
    assert (receipt.rows_acked, other.rows_skipped, store.text) == (ROWS, ROWS, text)


def test_an_attempt_that_was_superseded_writes_nothing_more(server: LocalZerobus, table: str) -> None:
    store = MemoryCheckpointStore()
    newer: list[str | None] = []

    def takes_over() -> Receipt:
        receipt = attempt(server, store, generated())
        newer.append(store.text)
        return receipt

    with pytest.raises(DeliverySupersededError):
        attempt(server, store, Interrupted(500, takes_over).rows())
    assert newer == [store.text]


def test_a_superseded_attempt_leaves_the_dead_letters_of_the_newer_one(server: LocalZerobus, table: str) -> None:
    store, uri = MemoryCheckpointStore(), "memory://superseded/letters.parquet"  # written as a whole
    options = dataclasses.replace(OPTIONS, on_bad_record="dead_letter", dead_letter_uri=uri)

    def rows(interrupted_at: int | None = None) -> Iterator[dict[str, Any]]:
        for number in range(ROWS):
            if number == interrupted_at:
                deliver(rows())
            yield {"id": "bad" if number in {5, 2_000} else number}

    def deliver(given: Iterator[dict[str, Any]]) -> Receipt:
        return ingest(server.workspace, table, given, options=options, checkpoint=store)

    with pytest.raises(DeliverySupersededError):
        deliver(rows(interrupted_at=1_000))
    assert [letter["row"] for letter in letters_of(uri)] == [5, 2_000]


def test_the_newer_attempt_marks_the_checkpoint_before_its_first_row(server: LocalZerobus, table: str) -> None:
    store = MemoryCheckpointStore()
    attempt(server, store, generated(100))
    marks: list[AttemptMark | None] = []

    def rows() -> Iterator[dict[str, int]]:
        yield {"id": 0}  # the one that shows what kind of source it is
        found = store.load()
        marks.append(found and found.attempt)
        yield from ({"id": number} for number in range(1, 100))

    attempt(server, store, rows())
    assert [mark and mark.number for mark in marks] == [2]


def test_a_checkpoint_that_an_older_attempt_wrote_in_between_is_replaced_and_admitted(
    server: LocalZerobus, table: str
) -> None:
    """No store compares and swaps: it read the mark just before the newer attempt wrote its own."""

    class Store(MemoryCheckpointStore):
        older: Checkpoint | None = None

        def save(self, checkpoint: Checkpoint) -> None:
            super().save(checkpoint)
            if self.older is not None and checkpoint.attempt is not None and checkpoint.attempt.number == 2:
                older, self.older = self.older, None
                super().save(older)

    store = Store()
    with pytest.raises(OSError, match="broken off"):
        attempt(server, store, broken_off(500))
    late = store.load()
    assert late is not None
    store.older = Checkpoint(**{**{name: getattr(late, name) for name in Checkpoint.__slots__}, "reached": 2_000})
    receipt = attempt(server, store, generated())
    assert (receipt.rows_skipped, receipt.rows_resent) == (500, 1_500)


def test_the_receipt_says_what_the_last_look_at_the_checkpoint_found(server: LocalZerobus, table: str) -> None:
    """An older attempt saved a reservation after the last row of the newer one was sent."""

    class Store(MemoryCheckpointStore):
        save_interval = 60.0
        is_over = False

        def load(self) -> Checkpoint | None:
            found = super().load()
            if not self.is_over or found is None:
                return found
            return dataclasses.replace(found, attempt=AttemptMark(number=0, token="older"), reached=2_000)

    store = Store()

    class Rows(Pages):
        def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
            yield from super().chunks(skip)
            store.is_over = True

    receipt = ingest(server.workspace, table, Rows(store), options=OPTIONS, checkpoint=store)
    assert receipt.rows_resent == 2_000
    assert Checkpoint.from_json(store.text or "").counts.rows_resent == 2_000


class SlowStore(MemoryCheckpointStore):
    """One place for two attempts, whose looks and saves take long; the newer one is in the main thread.

    It looks while the older one is about to save more, and replaces that a save later.
    """

    SECONDS = 0.2

    def __init__(self, when_newer_looks: Callable[[], object]) -> None:
        super().__init__()
        self._when_newer_looks = when_newer_looks
        self._looks = 0
        self._newer_waits, self._older_saves, self._older_saved = (threading.Event() for _ in range(3))

    def load(self) -> Checkpoint | None:
        if threading.current_thread() is threading.main_thread():
            self._looks += 1
            if self._looks == 2:  # the first look decides what is skipped, the second comes right before the mark
                self._when_newer_looks()
                self._newer_waits.set()
                assert self._older_saves.wait(60), "the older attempt has to admit more"
                return super().load()
        found = super().load()
        time.sleep(self.SECONDS)
        return found

    def save(self, checkpoint: Checkpoint) -> None:
        if threading.current_thread() is threading.main_thread():
            self._older_saved.wait(60)
            time.sleep(self.SECONDS)
            super().save(checkpoint)
            return
        before = super().load()
        is_more = self._newer_waits.is_set() and before is not None and self.admits_more(before, checkpoint)
        if is_more:
            self._older_saves.set()
        time.sleep(self.SECONDS)
        super().save(checkpoint)
        if is_more:
            self._older_saved.set()

    def admits_more(self, before: Checkpoint, now: Checkpoint) -> bool:
        return now.reached > before.reached


def test_a_slow_store_lets_no_reservation_be_used_that_the_newer_attempt_did_not_see(
    server: LocalZerobus, table: str
) -> None:
    store = SlowStore(lambda: None)
    is_begun, is_over = threading.Event(), threading.Event()

    def slow_rows() -> Iterator[dict[str, int]]:
        for number in itertools.count():
            if number == 500:
                is_begun.set()
            if number % 10 == 0:
                time.sleep(0.01)
            if is_over.is_set():
                return
            yield {"id": number}

    def older() -> None:
        with pytest.raises(DeliverySupersededError):
            attempt(server, store, slow_rows())

    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(older)
        try:
            assert is_begun.wait(60)
            receipt = attempt(server, store, generated(20_000))
            lost.result(60)
        finally:
            is_over.set()
    ids = server.read(table)["id"].to_pylist()
    assert len(ids) - len(set(ids)) <= receipt.rows_resent


class SlowStoreOfRepetitions(SlowStore):
    def admits_more(self, before: Checkpoint, now: Checkpoint) -> bool:
        return now.counts.rows_resent > before.counts.rows_resent


class LastPageLater(Pages):
    """Gives the last rows when the newer attempt looks at the checkpoint; then every row is handed over."""

    def __init__(self, store: MemoryCheckpointStore, is_begun: threading.Event, goes_on: threading.Event) -> None:
        super().__init__(store)
        self._is_begun, self._goes_on = is_begun, goes_on

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        first = ROWS - 50
        yield Chunk(0, [{"id": number} for number in range(first)])
        self._is_begun.set()
        deadline = time.monotonic() + 60
        while not self._goes_on.wait(0.01) and time.monotonic() < deadline:
            yield Chunk(first, [])
        yield Chunk(first, [{"id": number} for number in range(first, ROWS)])


def test_rows_that_an_older_attempt_sends_again_are_not_sent_before_a_newer_one_can_know(
    server: LocalZerobus, table: str
) -> None:
    """Its connection breaks, and it admits what it repeats in a checkpoint that the newer one replaces unseen."""
    is_begun, goes_on = threading.Event(), threading.Event()

    def break_connection() -> None:
        server.faults.add(action="cut", at="after_commit", table=table, times=1)
        goes_on.set()

    store = SlowStoreOfRepetitions(break_connection)

    def older() -> None:
        source = LastPageLater(store, is_begun, goes_on)
        with suppress(DeliverySupersededError):
            ingest(server.workspace, table, source, options=OPTIONS, checkpoint=store)

    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(older)
        assert is_begun.wait(60)
        receipt = ingest(server.workspace, table, Pages(store), options=OPTIONS, checkpoint=store)
        lost.result(60)
    ids = server.read(table)["id"].to_pylist()
    assert set(ids) == set(range(ROWS))
    assert 0 < len(ids) - ROWS <= receipt.rows_resent


def broken_off(at: int) -> Iterator[dict[str, int]]:
    yield from generated(at)
    raise OSError("broken off")
