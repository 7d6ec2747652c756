"""What a source may do wrong, and what the gate of a delivery says of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from zerobus_core import FileCheckpointStore, IngestOptions, Progress, ingest
from zerobus_core.batch import Chunk
from zerobus_core.checkpoint import MemoryCheckpointStore
from zerobus_core.errors import ConfigurationError, IngestInterruptedError, IngestTimeoutError, ZerobusIngestError
from zerobus_core.process.interruption import StopRequest
from zerobus_core.ranges import RowRanges
from zerobus_local import LocalZerobus

pytestmark = pytest.mark.matrix

TABLE = "main.default.t"


@pytest.fixture
def table(server: LocalZerobus) -> str:
    server.create_table(f"CREATE TABLE {TABLE} (id BIGINT)")
    return TABLE


def rows(first: int, stop: int) -> list[dict[str, int]]:
    return [{"id": n} for n in range(first, stop)]


@dataclass
class Source:
    """A source of a user's own, which yields what a test says."""

    given: Callable[[RowRanges], list[Chunk]]
    total_rows: int | None = None
    fingerprint: str | None = "f1"
    is_arrow: bool = False
    is_content_known: bool = True

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        yield from self.given(skip)


@pytest.mark.parametrize(
    ("spans", "where"),
    [
        ([(0, 10), (20, 30)], "yielded rows 20 to 29 instead of row 10"),
        ([(5, 10)], "yielded rows 5 to 9 instead of row 0"),
        ([(0, 10), (0, 10)], "yielded rows 0 to 9 instead of row 10"),
        ([(0, 10), (5, 15)], "yielded rows 5 to 14 instead of row 10"),
        ([(0, 20)], "had 30 rows when the delivery began, but it ended before row 20"),
    ],
)
def test_a_source_that_leaves_out_or_repeats_rows_is_refused(
    server: LocalZerobus, table: str, spans: list[tuple[int, int]], where: str
) -> None:
    source = Source(lambda _: [Chunk(first, rows(first, stop)) for first, stop in spans], total_rows=30)
    with pytest.raises(ConfigurationError, match=where):
        ingest(server.workspace, table, source)


def test_a_source_that_does_not_skip_what_is_durable_is_refused(server: LocalZerobus, table: str) -> None:
    store = MemoryCheckpointStore()
    failing = Source(lambda _: [Chunk(0, rows(0, 10)), Chunk(20, rows(20, 30))])
    with pytest.raises(ConfigurationError):
        ingest(server.workspace, table, failing, checkpoint=store)
    with pytest.raises(ConfigurationError, match="yielded rows 0 to 29 instead of row 10"):
        ingest(server.workspace, table, Source(lambda _: [Chunk(0, rows(0, 30))]), checkpoint=store)
    skipping = Source(lambda skip: [Chunk(a, rows(a, b)) for a, b in skip.without(0, 30)], total_rows=30)
    receipt = ingest(server.workspace, table, skipping, checkpoint=store)
    assert (receipt.rows_read, receipt.rows_skipped) == (30, 10)
    assert sorted(server.read(table)["id"].to_pylist()) == list(range(30))


class Shrinking(list[Any]):
    """A list that another thread empties by half once the delivery has begun to read it."""

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        if isinstance(index, slice) and index.start:
            del self[len(self) // 2 :]
        return found


def test_a_list_that_shrinks_while_it_is_read_is_noticed(server: LocalZerobus, table: str) -> None:
    with pytest.raises(ConfigurationError, match="had 50000 rows when the delivery began, but it ended before row"):
        ingest(server.workspace, table, Shrinking(rows(0, 50_000)))


def test_a_stop_that_the_source_swallows_is_no_end_of_the_rows(server: LocalZerobus, table: str) -> None:
    stop, is_acked, store = threading.Event(), threading.Event(), MemoryCheckpointStore()

    class Pages(Source):
        def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
            yield Chunk(0, rows(0, 20))
            while not is_acked.wait(0.02):  # with nothing in flight, nobody but the gate looks at the stop
                yield Chunk(20, [])
            with suppress(Exception):  # as requests for a page are written; the alarm of a kill raises in them
                stop.set()
                StopRequest().raise_error()

    def on_progress(progress: Progress) -> None:
        if progress.rows_acked == 20:
            is_acked.set()

    with pytest.raises(IngestInterruptedError):
        ingest(server.workspace, table, Pages(list), checkpoint=store, stop=stop, on_progress=on_progress)
    whole = Source(lambda skip: [Chunk(a, rows(a, b)) for a, b in skip.without(0, 40)])
    assert ingest(server.workspace, table, whole, checkpoint=store).rows_read == 40
    assert sorted(server.read(table)["id"].to_pylist()) == list(range(40))


@pytest.mark.usefixtures("free_alarm")
def test_a_source_that_hangs_ends_at_the_deadline_of_the_delivery(server: LocalZerobus, table: str) -> None:
    store, started = MemoryCheckpointStore(), time.monotonic()

    class Hanging(Source):
        def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
            yield from super().chunks(skip)
            time.sleep(120)

    with pytest.raises(IngestTimeoutError, match="timed out waiting for the source") as failed:
        ingest(
            server.workspace,
            table,
            Hanging(lambda _: [Chunk(0, rows(0, 20))]),
            checkpoint=store,
            options=IngestOptions(timeout=5.0),
        )
    assert time.monotonic() - started < 60
    assert failed.value.counts.rows_read == 20


def test_what_is_acknowledged_right_after_the_source_failed_is_kept(
    server: LocalZerobus, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zerobus_core.delivery.delivery.FAILURE_GRACE", 30.0)  # of a machine that is never slow
    server.faults.add(action="delay_ack", seconds=0.5)
    store = MemoryCheckpointStore()

    class Failing(Source):
        def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
            yield from super().chunks(skip)
            raise LookupError("the next page is gone")

    with pytest.raises(LookupError):
        ingest(server.workspace, table, Failing(lambda _: [Chunk(0, rows(0, 100))]), checkpoint=store)
    kept = store.load()
    assert kept is not None
    assert kept.durable == RowRanges([(0, 100)])


def test_a_checkpoint_is_no_other_file_of_its_delivery(server: LocalZerobus, table: str, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.jsonl").write_text('{"id": 1}\n')
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "bad.jsonl")
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=str(tmp_path / "bad.jsonl"))
    for place, why in {
        tmp_path / "bad.jsonl": "is also the dead-letter file",
        tmp_path / "link.jsonl": "is also the dead-letter file",
        tmp_path / "rows" / "checkpoint.json": "is, or will be, one of the files to deliver",
        tmp_path / "rows" / "a.jsonl": "is, or will be, one of the files to deliver",
    }.items():
        store = FileCheckpointStore(place)
        with pytest.raises(ConfigurationError, match=why):
            ingest(server.workspace, table, str(tmp_path / "rows"), options=options, checkpoint=store)
    assert server.read(table).num_rows == 0


@pytest.mark.parametrize(
    "given",
    [
        {"records": None},
        {"records": "/nowhere/rows.jsonl"},
        {"records": [], "options": IngestOptions(on_bad_record="dead_letter", dead_letter_uri="nowhere://x.jsonl")},
        {"records": [], "checkpoint": FileCheckpointStore("nowhere://checkpoint.json")},
    ],
)
def test_an_error_before_the_first_row_names_the_table(server: LocalZerobus, table: str, given: dict[str, Any]) -> None:
    with pytest.raises(ZerobusIngestError) as refused:
        ingest(server.workspace, table, **given)
    assert refused.value.table == table


def test_options_are_values(tmp_path: Path) -> None:
    columns = {"delivery_id": "d", "row_number": "n"}
    options = IngestOptions(delivery_columns=columns)
    columns["delivery_id"] = "other"
    assert options.delivery_columns == {"delivery_id": "d", "row_number": "n"}
    assert hash(options) == hash(IngestOptions(delivery_columns={"row_number": "n", "delivery_id": "d"}))
