"""A checkpoint is trusted only as far as the rows that it skips are shown to be those that were delivered."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from zerobus_core import FileCheckpointStore, IngestOptions, Receipt, ingest
from zerobus_core.batch import Chunk
from zerobus_core.checkpoint import MemoryCheckpointStore
from zerobus_core.errors import SourceChangedError
from zerobus_core.ranges import RowRanges
from zerobus_local import LocalZerobus

TABLE = "main.default.t"
ROWS = 9_000
BLOCK = 1_024


class LostPageError(Exception):
    """What a user's source may raise."""


@pytest.fixture
def table(server: LocalZerobus) -> str:
    server.create_table(f"CREATE TABLE {TABLE} (id BIGINT NOT NULL)")
    return TABLE


def options(**changes: Any) -> IngestOptions:
    return IngestOptions(**{"source_version": "v1", "batch_rows": 500} | changes)


def generated(ids: range, fails_at: int | None = None) -> Iterator[dict[str, int]]:
    for position, number in enumerate(ids):
        if position == fails_at:
            raise LostPageError
        yield {"id": number}


def first_attempt(server: LocalZerobus, store: Any, *, durable: int = 5_000, **changes: Any) -> None:
    with pytest.raises(LostPageError):
        ingest(server.workspace, TABLE, generated(range(ROWS), durable), options=options(**changes), checkpoint=store)
    assert store.load().durable == RowRanges([(0, durable)])


def ids_in(server: LocalZerobus) -> list[int]:
    return sorted(server.read(TABLE)["id"].to_pylist())


@pytest.mark.parametrize("record_format", ["protobuf", "json", "arrow"])
def test_rows_of_an_unchanged_generator_are_skipped(server: LocalZerobus, table: str, record_format: Any) -> None:
    store = MemoryCheckpointStore()
    first_attempt(server, store, record_format=record_format)
    again = options(record_format=record_format, batch_rows=777, streams=4)
    receipt = ingest(server.workspace, table, generated(range(ROWS)), options=again, checkpoint=store)
    assert (receipt.rows_skipped, receipt.rows_acked, receipt.rows_resent) == (5_000, 4_000, 0)
    assert receipt.started_over is None
    assert ids_in(server) == list(range(ROWS))


def test_a_generator_that_has_shifted_is_sent_as_it_is_by_the_attempt_after_the_one_that_notices(
    server: LocalZerobus, table: str
) -> None:
    store = MemoryCheckpointStore()
    first_attempt(server, store)
    shifted = range(10, ROWS)
    with pytest.raises(SourceChangedError, match="rows 0 to 4999 are durable .* the next attempt sends every row") as e:
        ingest(server.workspace, table, generated(shifted), options=options(), checkpoint=store)
    assert e.value.retryable
    checkpoint = store.load()
    assert checkpoint is not None
    assert (checkpoint.durable, checkpoint.reached) == (RowRanges(), 5_000)
    receipt = ingest(server.workspace, table, generated(shifted), options=options(), checkpoint=store)
    assert (receipt.rows_skipped, receipt.rows_acked) == (0, len(shifted))
    assert receipt.started_over == "no row is durable in the checkpoint"
    found = ids_in(server)
    assert set(shifted) <= set(found)
    assert 0 < len(found) - len(set(found)) <= receipt.rows_resent == 5_000


class Numbers:
    """An iterable that can be read again, and whose content is what it is then."""

    def __init__(self, ids: range) -> None:
        self.ids = ids

    def __iter__(self) -> Iterator[dict[str, int]]:
        return generated(self.ids)


def test_a_source_that_can_be_read_again_starts_over_in_the_same_attempt(server: LocalZerobus, table: str) -> None:
    store = MemoryCheckpointStore()
    first_attempt(server, store)
    receipt = ingest(server.workspace, table, Numbers(range(10, ROWS)), options=options(), checkpoint=store)
    assert (receipt.rows_skipped, receipt.rows_acked, receipt.rows_resent) == (0, ROWS - 10, 5_000)
    assert receipt.started_over is not None
    assert "rows 0 to 4999 are durable from an earlier attempt, but the source has other rows" in receipt.started_over
    assert set(range(10, ROWS)) <= set(ids_in(server))


def test_ids_that_were_deleted_from_a_database_leave_no_gap(server: LocalZerobus, table: str, tmp_path: Path) -> None:
    """The rows that moved to the front of the result were taken for rows that are durable."""
    database = sqlite3.connect(tmp_path / "flights.db")
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    database.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(ROWS)])
    store = FileCheckpointStore(tmp_path / "checkpoint.json")

    def attempt() -> Receipt:
        cursor = database.execute("SELECT id FROM t ORDER BY id")
        return ingest(server.workspace, table, cursor, options=options(), checkpoint=store)

    first_attempt(server, store)
    database.execute("DELETE FROM t WHERE id < 10")
    with pytest.raises(SourceChangedError):
        attempt()
    attempt()
    assert set(range(10, ROWS)) <= set(ids_in(server))


@pytest.mark.parametrize("change", ["lost", "gained", "swapped", "changed", "shorter"])
def test_each_kind_of_change_is_noticed(server: LocalZerobus, table: str, change: str) -> None:
    ids = list(range(ROWS))
    if change == "lost":
        del ids[4_999]
    elif change == "gained":
        ids.insert(0, -1)
    elif change == "swapped":
        ids[7], ids[4_000] = ids[4_000], ids[7]
    elif change == "changed":
        ids[4_998] = -5
    else:
        del ids[4_000:]
    store = MemoryCheckpointStore()
    first_attempt(server, store)
    rows = [{"id": n} for n in ids]
    for _ in range(2):
        with suppress(SourceChangedError):
            ingest(server.workspace, table, iter(rows), options=options(), checkpoint=store)
    assert set(ids) <= set(ids_in(server))


def test_a_change_behind_the_durable_rows_is_no_reason_to_start_over(server: LocalZerobus, table: str) -> None:
    store = MemoryCheckpointStore()
    first_attempt(server, store)
    ids = [*range(5_000), *range(20_000, 20_100)]
    receipt = ingest(server.workspace, table, ({"id": n} for n in ids), options=options(), checkpoint=store)
    assert (receipt.rows_skipped, receipt.rows_acked, receipt.started_over) == (5_000, 100, None)


def test_an_attempt_that_fails_before_it_has_compared_all_rows_forgets_none(server: LocalZerobus, table: str) -> None:
    store = MemoryCheckpointStore()
    first_attempt(server, store)
    with pytest.raises(LostPageError):
        ingest(server.workspace, table, generated(range(ROWS), 2_000), options=options(), checkpoint=store)
    receipt = ingest(server.workspace, table, generated(range(ROWS)), options=options(), checkpoint=store)
    assert (receipt.rows_skipped, receipt.rows_resent) == (5_000, 0)


def test_a_checkpoint_with_gaps_loses_less_than_a_block_for_each_range(server: LocalZerobus, table: str) -> None:
    """Refused rows make the gaps: at each one a range ends and another begins."""
    bad = {1_500, 3_100, 6_000}
    rows = [{"id": None if n in bad else n} for n in range(ROWS)]
    letters = {"on_bad_record": "dead_letter", "dead_letter_uri": f"{server.data}/letters.jsonl"}
    store = MemoryCheckpointStore()

    def failing() -> Iterator[Any]:
        yield from rows[:8_000]
        raise LostPageError

    with pytest.raises(LostPageError):
        ingest(server.workspace, table, failing(), options=options(**letters), checkpoint=store)
    durable = 8_000 - len(bad)
    receipt = ingest(server.workspace, table, iter(rows), options=options(**letters), checkpoint=store)
    assert durable - BLOCK * (len(bad) + 1) < receipt.rows_skipped < durable
    assert receipt.rows_resent == durable - receipt.rows_skipped
    assert set(ids_in(server)) == set(range(ROWS)) - bad


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({"record_format": "protobuf"}, {"record_format": "json"}, "digested as protobuf records, and are json"),
        ({}, {"source_version": "v2"}, "the source has changed"),
        ({}, {"source_version": None}, "no fingerprint"),
    ],
)
def test_an_attempt_that_starts_over_says_why_and_admits_what_was_durable(
    server: LocalZerobus, table: str, before: dict[str, Any], after: dict[str, Any], reason: str
) -> None:
    store = MemoryCheckpointStore()
    first_attempt(server, store, **before)
    receipt = ingest(server.workspace, table, generated(range(ROWS)), options=options(**after), checkpoint=store)
    assert receipt.started_over is not None
    assert reason in receipt.started_over
    assert (receipt.rows_acked, receipt.rows_resent) == (ROWS, 5_000)


def resealed(plain: dict[str, Any]) -> str:
    plain.pop("checksum")
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return json.dumps({**plain, "checksum": f"{zlib.crc32(text.encode()):08x}"})


@pytest.mark.parametrize("stop", [ROWS + 1, 2**40, 2**63 - 1, 10**30])
@pytest.mark.parametrize("is_digested", [True, False])
def test_a_checkpoint_of_rows_that_the_source_has_not_is_never_green_without_them(
    server: LocalZerobus, table: str, stop: int, is_digested: bool
) -> None:
    store = MemoryCheckpointStore()
    first_attempt(server, store)
    assert store.text is not None
    plain = json.loads(store.text)
    plain["durable"] = [[0, stop]]
    if not is_digested:
        plain["digest"] = None
    store.text = resealed(plain)
    for _ in range(2):
        with suppress(SourceChangedError):
            ingest(server.workspace, table, generated(range(ROWS)), options=options(), checkpoint=store)
    assert set(ids_in(server)) == set(range(ROWS))


@dataclass
class Pages:
    """A source of a user's own, which says nothing of its content but a name."""

    shift: int = 0
    fingerprint: str | None = "pages of today"
    is_arrow: bool = False
    total_rows: int | None = None

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        for start, stop in skip.without(0, ROWS):
            for first in range(start, stop, 1_000):
                yield Chunk(first, [{"id": n + self.shift} for n in range(first, min(first + 1_000, stop))])
                if self.shift < 0:
                    raise LostPageError


def test_a_source_of_a_users_own_is_compared_unless_it_vouches_for_its_content(
    server: LocalZerobus, table: str
) -> None:
    store = MemoryCheckpointStore()
    with pytest.raises(LostPageError):
        ingest(server.workspace, table, Pages(shift=-1), checkpoint=store)
    receipt = ingest(server.workspace, table, Pages(shift=3), checkpoint=store)
    assert (receipt.rows_skipped, receipt.rows_acked) == (0, ROWS)
    assert receipt.started_over is not None
