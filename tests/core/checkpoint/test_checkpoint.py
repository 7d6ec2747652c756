from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerobus_core.checkpoint import (
    Checkpoint,
    CheckpointKeeper,
    CheckpointStore,
    FileCheckpointStore,
    InvalidCheckpointError,
    MemoryCheckpointStore,
    Resumption,
    bounded,
    resume,
)
from zerobus_core.errors import ConfigurationError, Counts
from zerobus_core.ranges import RowRanges
from zerobus_core.schema import Field, Kind, PrimitiveType, TableSchema

pytestmark = pytest.mark.matrix

FLIGHTS = TableSchema(
    table="main.default.flights", columns=(Field("id", PrimitiveType(Kind.BIGINT)),), identity="id-of-flights"
)
CHECKPOINT = Checkpoint(
    table="main.default.flights",
    table_identity="id-of-flights",
    schema_fingerprint=FLIGHTS.fingerprint,
    source_fingerprint="f1",
    epoch="2026-01-01",
    durable=RowRanges([(0, 10), (20, 25)]),
    counts=Counts(rows_read=25, rows_acked=15),
    written_at="2026-01-01T00:00:00+00:00",
)

spans = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 30)).map(lambda t: (t[0], t[0] + t[1])), max_size=40)


def positions(ranges: RowRanges) -> set[int]:
    return {p for start, stop in ranges for p in range(start, stop)}


@given(spans)
def test_row_ranges_are_a_set_of_positions(given_spans: list[tuple[int, int]]) -> None:
    ranges, model = RowRanges(), set[int]()
    for start, stop in given_spans:
        ranges.add(start, stop)
        model |= set(range(start, stop))
        assert positions(ranges) == model
        assert ranges.rows == len(model)
    flat = [edge for span in ranges for edge in span]
    assert flat == sorted(set(flat)), "ranges ascend and do not touch"
    assert all((p in ranges) == (p in model) for p in range(340))
    assert ranges == RowRanges(reversed(given_spans))


@given(spans, st.integers(0, 340), st.integers(0, 340))
def test_row_ranges_tell_what_is_not_in_them(given_spans: list[tuple[int, int]], start: int, stop: int) -> None:
    ranges = RowRanges(given_spans)
    gaps = list(ranges.without(start, stop))
    assert {p for a, b in gaps for p in range(a, b)} == set(range(start, stop)) - positions(ranges)
    assert all(a < b for a, b in gaps)


@given(spans, st.integers(1, 10))
def test_a_bounded_checkpoint_never_claims_a_row_that_was_not_durable(
    given_spans: list[tuple[int, int]], limit: int
) -> None:
    ranges = RowRanges(given_spans)
    kept = bounded(ranges, limit)
    assert len(kept) <= limit
    assert positions(kept) <= positions(ranges)
    if len(ranges) <= limit:
        assert kept == ranges
    else:
        lost = {span[1] - span[0] for span in ranges} - {span[1] - span[0] for span in kept}
        assert not lost or max(lost) <= min(stop - start for start, stop in kept)


def test_a_checkpoint_of_too_many_ranges_forgets_the_shortest() -> None:
    many = RowRanges([(i * 10, i * 10 + (5 if i % 2 else 4)) for i in range(2_000)])
    kept = Checkpoint.from_json(replace(CHECKPOINT, durable=many).to_json()).durable
    assert len(kept) == 1_000
    assert {stop - start for start, stop in kept} == {5}


def test_a_checkpoint_survives_json() -> None:
    assert Checkpoint.from_json(CHECKPOINT.to_json()) == CHECKPOINT


@pytest.mark.parametrize("length", range(0, len(CHECKPOINT.to_json()), 7))
def test_a_truncated_checkpoint_is_refused(length: int) -> None:
    with pytest.raises(InvalidCheckpointError):
        Checkpoint.from_json(CHECKPOINT.to_json()[:length])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 1}, "of version 1"),
        ({"version": True}, "of version True"),
        ({"format": "other"}, "not a checkpoint"),
        ({"table": 3}, "table is 3"),
        ({"table": ""}, "table is ''"),
        ({"table_identity": 3}, "table_identity is 3"),
        ({"source_fingerprint": 1}, "source_fingerprint is 1"),
        ({"extra": 1}, "other fields"),
        ({"durable": None}, "not a list"),
        ({"durable": [[0, 5], [5, 6]]}, "do not touch"),
        ({"durable": [[3, 1]]}, "ascend"),
        ({"durable": [[0, 5], [2, 9]]}, "ascend"),
        ({"durable": [[-1, 5]]}, "no row range"),
        ({"durable": [[0, 5.0]]}, "no row range"),
        ({"durable": [[0]]}, "no row range"),
        ({"durable": [[False, 5]]}, "no row range"),
        ({"counts": {"rows_read": 1}}, "counts are"),
        ({"written_at": "yesterday"}, "not a time"),
    ],
)
def test_a_malformed_checkpoint_is_refused_with_a_reason(change: dict[str, Any], reason: str) -> None:
    text = json.dumps(json.loads(CHECKPOINT.to_json()) | change)
    with pytest.raises(InvalidCheckpointError, match=reason):
        Checkpoint.from_json(text)


@pytest.mark.parametrize("text", ["null", "[]", "7", '"x"', "{}", b"\xff\xfe", "", "[" * 200_000])
def test_other_text_is_no_checkpoint(text: str | bytes) -> None:
    with pytest.raises(InvalidCheckpointError):
        Checkpoint.from_json(text)


def stores(tmp_path: Path) -> list[CheckpointStore]:
    return [
        MemoryCheckpointStore("2026-01-01"),
        FileCheckpointStore(tmp_path / "deep" / "checkpoint.json", "2026-01-01"),
        FileCheckpointStore((tmp_path / "as-uri.json").as_uri(), "2026-01-01"),
        FileCheckpointStore(f"memory://{tmp_path.name}/checkpoint.json", "2026-01-01"),
    ]


def test_every_store_gives_back_what_was_saved_last(tmp_path: Path) -> None:
    for store in stores(tmp_path):
        assert isinstance(store, CheckpointStore)
        assert store.load() is None
        assert resume(store, FLIGHTS, source_fingerprint="f1") == Resumption()
        store.save(replace(CHECKPOINT, durable=RowRanges()))
        store.save(CHECKPOINT)
        assert store.load() == CHECKPOINT
        assert resume(store, FLIGHTS, source_fingerprint="f1").skip == CHECKPOINT.durable


def test_a_file_store_leaves_nothing_but_its_file(tmp_path: Path) -> None:
    store = FileCheckpointStore(tmp_path / "checkpoint.json")
    for _ in range(3):
        store.save(CHECKPOINT)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.json"]


def test_a_save_replaces_nothing_but_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigurationError, match="there is a pipe, and only a regular file is read or replaced"):
        FileCheckpointStore(pipe).save(CHECKPOINT)
    assert pipe.is_fifo()


def test_a_save_that_breaks_off_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    store = FileCheckpointStore(folder)
    folder.mkdir()
    with pytest.raises(ConfigurationError, match="cannot write the checkpoint"):
        store.save(CHECKPOINT)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("change", "source", "epoch", "reason"),
    [
        ({"table": "main.default.other"}, "f1", "2026-01-01", "of table main.default.flights"),
        ({"identity": "another-id"}, "f1", "2026-01-01", "another table of this name"),
        ({"identity": None}, "f1", "2026-01-01", "another table of this name"),
        ({}, "f2", "2026-01-01", "source has changed"),
        ({}, None, "2026-01-01", "no fingerprint"),
        ({}, "f1", "2026-01-02", "of epoch"),
        ({}, "f1", None, "of epoch"),
    ],
)
def test_a_checkpoint_of_another_delivery_is_not_resumed(
    change: dict[str, Any], source: str | None, epoch: str | None, reason: str
) -> None:
    store = MemoryCheckpointStore(epoch)
    store.save(CHECKPOINT)
    resumption = resume(store, replace(FLIGHTS, **change), source_fingerprint=source)
    assert resumption.checkpoint is None
    assert not resumption.skip
    assert resumption.reason is not None
    assert reason in resumption.reason


def test_of_a_table_whose_schema_changed_it_is_known_only_what_may_be_sent_twice() -> None:
    store = MemoryCheckpointStore("2026-01-01")
    store.save(replace(CHECKPOINT, reached=40, counts=Counts(rows_resent=3)))
    wider = replace(FLIGHTS, columns=(*FLIGHTS.columns, Field("late", PrimitiveType(Kind.DATE), position=1)))
    keeper = CheckpointKeeper(store, wider, source_fingerprint="f1")
    assert not keeper.skip
    assert keeper.resumed_from is None
    assert (keeper.resent_before, keeper.repeat_until, keeper.in_doubt) == (3, 40, 40)


@pytest.mark.parametrize("epoch", [0, 1, "", b"x"])
def test_an_epoch_that_no_later_try_would_know_again_is_refused(tmp_path: Path, epoch: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be text, or None"):
        FileCheckpointStore(tmp_path / "checkpoint.json", epoch)


def test_a_refused_file_is_a_reason_and_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    path.write_text(CHECKPOINT.to_json()[:50])
    resumption = resume(FileCheckpointStore(path, "2026-01-01"), FLIGHTS, source_fingerprint="f1")
    assert resumption.checkpoint is None
    assert resumption.reason is not None
    assert "refused: not whole JSON" in resumption.reason


def test_an_unknown_storage_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="no checkpoint can be kept at nowhere://x"):
        FileCheckpointStore("nowhere://x").load()


def test_a_store_of_a_user_needs_an_epoch_and_two_methods() -> None:
    class Store:
        epoch = None

        def load(self) -> Checkpoint | None:
            return None

        def save(self, checkpoint: Checkpoint) -> None:
            pass

    assert isinstance(Store(), CheckpointStore)


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowingStore(MemoryCheckpointStore):
    """Asks for longer and longer pauses, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.save_interval = 1.0
        self.fails = False

    def save(self, checkpoint: Checkpoint) -> None:
        if self.fails:
            raise OSError("the store is gone")
        super().save(checkpoint)
        self.save_interval *= 2


def keeper_of(store: CheckpointStore, clock: Clock) -> CheckpointKeeper:
    return CheckpointKeeper(store, FLIGHTS, source_fingerprint="f1", clock=clock)


def test_a_store_is_asked_after_each_save_how_long_the_next_one_may_wait() -> None:
    clock, store = Clock(), SlowingStore()
    keeper = keeper_of(store, clock)
    for pause in (1.0, 2.0, 4.0):
        saved_at = clock.now
        assert not keeper.is_due(saved_at + pause - 0.1)
        assert keeper.is_due(saved_at + pause)
        clock.now = saved_at + pause
        keeper.save(RowRanges(), Counts())
    store.fails = True
    keeper.save(RowRanges(), Counts())
    assert not keeper.is_due(clock.now + 7.9)
    assert keeper.is_due(clock.now + 8.0), "a store that fails is tried again as often as before"


def test_a_reservation_lasts_about_as_long_as_the_pause_between_two_saves() -> None:
    clock, store = Clock(), MemoryCheckpointStore()
    store.save_interval = 10.0
    keeper = keeper_of(store, clock)
    reservations, row = 0, 0
    while clock.now < 1_000.0:
        row += 500
        if row > keeper.reserved:
            keeper.reserve(row, RowRanges(), Counts())
            reservations += 1
            checkpoint = store.load()
            assert checkpoint is not None
            assert checkpoint.reached == keeper.reserved >= row
        clock.now += 0.1
    assert 1_000.0 / 20.0 <= reservations <= 1_000.0 / 10.0 + 10
    assert keeper.reserved - row <= 2 * 5_000 * 20, "no further ahead than it has to be"
