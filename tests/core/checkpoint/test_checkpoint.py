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
    DigestForm,
    FileCheckpointStore,
    InvalidCheckpointError,
    MemoryCheckpointStore,
    Resumption,
    RowsDigest,
    RowsKept,
    Segment,
    SourceFacts,
    bounded,
    resume,
)
from zerobus_core.checkpoint.checkpoint import _checksum as checksum_of
from zerobus_core.errors import ConfigurationError, Counts
from zerobus_core.ranges import END, RowRanges
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

F1 = SourceFacts(fingerprint="f1")

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
        ({"version": 1}, "its version is 1"),
        ({"version": True}, "its version is True"),
        ({"format": "other"}, "not a Zerobus checkpoint"),
        ({"table": 3}, "table is 3"),
        ({"table": ""}, "table is ''"),
        ({"table_identity": 3}, "table_identity is 3"),
        ({"source_fingerprint": 1}, "source_fingerprint is 1"),
        ({"extra": 1}, "missing or unknown fields"),
        ({"durable": None}, "not a list"),
        ({"durable": [[3, 1]]}, "ascend"),
        ({"durable": [[0, 5], [2, 9]]}, "ascend"),
        ({"durable": [[-1, 5]]}, "not a row range"),
        ({"durable": [[0, 5.0]]}, "not a row range"),
        ({"durable": [[0]]}, "not a row range"),
        ({"durable": [[False, 5]]}, "not a row range"),
        ({"counts": {"rows_read": 1}}, "counts are"),
        ({"written_at": "yesterday"}, "not a time"),
    ],
)
def test_a_malformed_checkpoint_is_refused_with_a_reason(change: dict[str, Any], reason: str) -> None:
    text = resealed(json.loads(CHECKPOINT.to_json()) | change)
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
        assert resume(store, FLIGHTS, F1) == Resumption()
        store.save(replace(CHECKPOINT, durable=RowRanges()))
        store.save(CHECKPOINT)
        assert store.load() == CHECKPOINT
        assert resume(store, FLIGHTS, F1).skip == CHECKPOINT.durable


def test_a_file_store_leaves_nothing_but_its_file(tmp_path: Path) -> None:
    store = FileCheckpointStore(tmp_path / "checkpoint.json")
    for _ in range(3):
        store.save(CHECKPOINT)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.json"]


def test_a_save_replaces_nothing_but_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigurationError, match="it is a pipe, but only a regular file is read or replaced"):
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
        ({"table": "main.default.other"}, "f1", "2026-01-01", "belongs to table main.default.flights"),
        ({"identity": "another-id"}, "f1", "2026-01-01", "another table of this name"),
        ({"identity": None}, "f1", "2026-01-01", "another table of this name"),
        ({}, "f1", "2026-01-02", "belongs to epoch"),
        ({}, "f1", None, "belongs to epoch"),
    ],
)
def test_a_checkpoint_of_other_rows_says_nothing_of_these(
    change: dict[str, Any], source: str | None, epoch: str | None, reason: str
) -> None:
    store = MemoryCheckpointStore(epoch)
    store.save(replace(CHECKPOINT, reached=40))
    past = resume(store, replace(FLIGHTS, **change), SourceFacts(fingerprint=source))
    assert (past.skip, past.reached) == (RowRanges(), 0)
    assert past.reason is not None
    assert reason in past.reason


DIGESTED = DigestForm(record_format="protobuf", encoding=1)


@pytest.mark.parametrize(
    ("change", "source", "reason"),
    [
        ({}, SourceFacts(fingerprint="f2"), "the source has changed"),
        ({}, SourceFacts(), "no fingerprint"),
        ({"columns": (Field("id", PrimitiveType(Kind.INT)),)}, F1, "schema has changed"),
        ({}, replace(F1, total_rows=24), "row 24 is durable, but the source has only 24 rows"),
        ({}, replace(F1, form=DIGESTED), "does not say what its rows held"),
    ],
)
def test_every_refused_checkpoint_of_this_delivery_says_how_far_rows_may_have_been_sent(
    change: dict[str, Any], source: SourceFacts, reason: str
) -> None:
    store = MemoryCheckpointStore("2026-01-01")
    store.save(replace(CHECKPOINT, reached=40, counts=Counts(rows_resent=3)))
    past = resume(store, replace(FLIGHTS, **change), source)
    assert (past.skip, past.reached, past.counts.rows_resent) == (RowRanges(), 40, 3)
    assert past.reason is not None
    assert reason in past.reason


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (replace(DIGESTED, record_format="json"), "digested as json records, and are protobuf records now"),
        (replace(DIGESTED, encoding=0), "version 1 (encoding 0)"),
        (replace(DIGESTED, version=0), "version 0 (encoding 1)"),
    ],
)
def test_digests_of_another_form_are_not_compared(form: DigestForm, reason: str) -> None:
    store = MemoryCheckpointStore("2026-01-01")
    digest = RowsDigest(form=form, segments=(Segment(0, 10, 7), Segment(20, 25, 2**64 - 1)))
    store.save(replace(CHECKPOINT, digest=digest))
    past = resume(store, FLIGHTS, replace(F1, form=DIGESTED))
    assert (past.skip, past.digest) == (RowRanges(), None)
    assert past.reason is not None
    assert reason in past.reason
    assert resume(store, FLIGHTS, replace(F1, form=form)).digest == digest


def resealed(plain: dict[str, Any]) -> str:
    """A checkpoint with a checksum that fits, whatever it says."""
    plain.pop("checksum", None)
    return json.dumps({**plain, "checksum": checksum_of(plain)})


def version_2() -> dict[str, Any]:
    plain = json.loads(replace(CHECKPOINT, reached=40, counts=Counts(rows_resent=3)).to_json())
    for name in ("digest", "attempt", "checksum"):
        del plain[name]
    return plain | {"version": 2}


def test_a_checkpoint_of_version_2_is_skipped_by_if_the_fingerprint_is_of_the_content() -> None:
    store = MemoryCheckpointStore("2026-01-01")
    store.text = json.dumps(version_2())
    assert resume(store, FLIGHTS, F1).skip == CHECKPOINT.durable
    past = resume(store, FLIGHTS, replace(F1, form=DIGESTED))
    assert (past.skip, past.reached, past.counts.rows_resent) == (RowRanges(), 40, 3)


def test_a_checkpoint_of_a_newer_version_says_how_far_rows_may_have_been_sent() -> None:
    store = MemoryCheckpointStore("2026-01-01")
    newer = version_2() | {"version": 4, "unknown": True}
    newer["counts"]["rows_more"] = 1
    store.text = json.dumps(newer)
    past = resume(store, FLIGHTS, F1)
    assert (past.skip, past.reached, past.counts.rows_resent) == (RowRanges(), 40, 3)
    assert past.reason is not None
    assert "its version is 4, but this release reads versions 2 and 3" in past.reason


def test_any_damage_to_a_checkpoint_is_noticed_and_any_may_have_been_sent() -> None:
    text = replace(CHECKPOINT, reached=40).to_json()
    for at in range(len(text)):
        for other in "07x":
            store = MemoryCheckpointStore("2026-01-01")
            store.text = text[:at] + other + text[at + 1 :]
            if json_of(store.text) == json_of(text):
                continue
            past = resume(store, FLIGHTS, F1)
            assert not past.skip, store.text
            assert past.reason is not None


def json_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def test_what_cannot_be_read_at_all_may_have_been_any_row() -> None:
    store = MemoryCheckpointStore()
    store.text = CHECKPOINT.to_json()[:-30]
    assert resume(store, FLIGHTS, F1).reached == END


def test_of_a_table_whose_schema_changed_it_is_known_only_what_may_be_sent_twice() -> None:
    store = MemoryCheckpointStore("2026-01-01")
    store.save(replace(CHECKPOINT, reached=40, counts=Counts(rows_resent=3)))
    wider = replace(FLIGHTS, columns=(*FLIGHTS.columns, Field("late", PrimitiveType(Kind.DATE), position=1)))
    keeper = CheckpointKeeper(store, wider, F1)
    past = keeper.past
    assert (past.skip, past.resumed_from) == (RowRanges(), None)
    assert (past.counts.rows_resent, past.reached) == (3, 40)


@pytest.mark.parametrize("epoch", [0, 1, "", b"x"])
def test_an_epoch_that_no_later_try_would_know_again_is_refused(tmp_path: Path, epoch: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be None or non-empty text"):
        FileCheckpointStore(tmp_path / "checkpoint.json", epoch)


def test_a_refused_file_is_a_reason_and_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    path.write_text(CHECKPOINT.to_json()[:50])
    resumption = resume(FileCheckpointStore(path, "2026-01-01"), FLIGHTS, F1)
    assert not resumption.skip
    assert resumption.reason is not None
    assert "refused: incomplete or invalid JSON" in resumption.reason


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
    return CheckpointKeeper(store, FLIGHTS, F1, clock=clock)


def test_a_store_is_asked_after_each_save_how_long_the_next_one_may_wait() -> None:
    clock, store = Clock(), SlowingStore()
    keeper = keeper_of(store, clock)
    for pause in (1.0, 2.0, 4.0):
        saved_at = clock.now
        assert not keeper.is_due(saved_at + pause - 0.1)
        assert keeper.is_due(saved_at + pause)
        clock.now = saved_at + pause
        keeper.save(RowsKept(reached=0, counts=Counts()))
    store.fails = True
    keeper.save(RowsKept(reached=0, counts=Counts()))
    assert not keeper.is_due(clock.now + 7.9)
    assert keeper.is_due(clock.now + 8.0), "a store that fails is tried again as often as before"


def test_a_reservation_lasts_about_as_long_as_the_pause_between_two_saves() -> None:
    clock, store = Clock(), MemoryCheckpointStore()
    store.save_interval = 10.0
    keeper = keeper_of(store, clock)
    reservations, row, reserved = 0, 0, 0
    while clock.now < 1_000.0:
        row += 500
        if row > reserved:
            reserved = row + keeper.rows_to_reserve(500, is_used_up=True)
            keeper.save(RowsKept(reached=reserved, counts=Counts()))
            keeper.begin_reservation()
            reservations += 1
        clock.now += 0.1
    assert 1_000.0 / 20.0 <= reservations <= 1_000.0 / 10.0 + 10
    assert reserved - row <= 2 * 5_000 * 20, "no further ahead than it has to be"
    clock.now += 1_000.0
    assert keeper.rows_to_reserve(500) < reserved - row, "a slow source needs less"


def test_a_reservation_grows_however_long_the_store_takes() -> None:
    """What is written and settled takes longer than the pause: a reservation that is used up at once still grows."""
    clock, store = Clock(), MemoryCheckpointStore()
    store.save_interval = 1.0
    keeper = keeper_of(store, clock)
    windows = []
    for _ in range(4):
        windows.append(keeper.rows_to_reserve(50, is_used_up=True))
        keeper.save(RowsKept(reached=0, counts=Counts()))
        clock.now += 3.0
        keeper.begin_reservation()
        clock.now += 0.01
    assert windows == sorted(set(windows))
    assert windows[-1] > 1_000
