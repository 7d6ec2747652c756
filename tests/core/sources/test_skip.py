"""A source that passes over durable rows shows that it goes on, so that a stop request is seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zerobus_core import IngestOptions, ingest
from zerobus_core.batch import Chunk
from zerobus_core.checkpoint import MemoryCheckpointStore
from zerobus_core.errors import IngestInterruptedError, IngestTimeoutError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources.files.formats.json_lines import line_pieces
from zerobus_core.sources.files.source import files_source
from zerobus_core.sources.protocol.chunking import HEARTBEAT, MAX_WAIT, coalesce
from zerobus_core.sources.rows.iterables import IterableSource
from zerobus_local import LocalZerobus

TABLE = pa.table({"n": range(10_000)})
AVRO = {"type": "record", "name": "r", "fields": [{"name": "n", "type": "long"}]}


def write_avro(path: Path) -> None:
    with path.open("wb") as file:
        fastavro.writer(file, AVRO, TABLE.to_pylist(), sync_interval=1_000)


def write_arrow(path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=100)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "x.csv": lambda path: path.write_text("n\n" + "".join(f"{n}\n" for n in range(10_000))),
    "x.jsonl": lambda path: path.write_text("".join(f'{{"n": {n}}}\n' for n in range(10_000))),
    "x.avro": write_avro,
    "x.arrow": write_arrow,
    "x.parquet": lambda path: pq.write_table(TABLE, path),
}


def nothing(_start: int, _stop: int) -> Iterator[tuple[int, int]]:
    return iter(())


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_which_nothing_is_wanted_is_passed_over_in_pieces_without_rows(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    source = files_source(str(tmp_path / name), IngestOptions())
    pieces = source._reader.read(source._found.files[0], nothing, 100)
    sizes = [len(rows) for _, rows in pieces]
    assert set(sizes) <= {0}
    assert len(sizes) >= {"x.avro": 10, "x.arrow": 100, "x.parquet": 0}.get(name, 1)


def test_lines_that_are_not_wanted_are_passed_over_in_pieces_without_rows() -> None:
    def blocks() -> Iterator[bytes]:
        for _ in range(3):
            time.sleep(1.1 * HEARTBEAT)
            yield b'{"n": 1}\n'

    assert [len(rows) for _, rows in line_pieces(blocks(), iter(()), 100, "x")] == [0, 0, 0, 0]


def test_an_iterable_shows_each_quarter_second_that_it_goes_on() -> None:
    now = 0.0

    def rows() -> Iterator[dict[str, int]]:
        nonlocal now
        for n in range(40):
            now += 0.1
            yield {"n": n}

    source = IterableSource(rows, IngestOptions(), clock=lambda: now)
    chunks = [(chunk.first_row, len(chunk.rows)) for chunk in source.chunks(RowRanges([(0, 35)]))]
    assert chunks[-1] == (35, 5)
    assert chunks[:-1] == [(row, 0) for row in range(3, 35, 3)]


def test_chunks_without_rows_are_passed_on_now_and_then_and_hold_no_rows_back() -> None:
    now = 0.0

    def chunks() -> Iterator[Chunk]:
        nonlocal now
        yield Chunk(0, [1])
        for _ in range(100):
            now += MAX_WAIT / 20
            yield Chunk(1, [])
        yield Chunk(1, [2])

    sizes = [len(chunk.rows) for chunk in coalesce(chunks(), 10, clock=lambda: now)]
    assert sizes[-1] == 1
    assert sizes.index(1) <= 4, "the first row waits for MAX_WAIT"
    assert 15 <= sizes.count(0) <= 20


@pytest.mark.parametrize("kind", ["rows", "batches"])
@pytest.mark.parametrize("ended_by", ["stop", "timeout"])
def test_a_delivery_that_passes_over_durable_rows_ends_when_it_should(
    zerobus: LocalZerobus, table_name: str, kind: str, ended_by: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (n INT)")
    stop = threading.Event()
    made = 0

    def items(pause: float) -> Iterator[Any]:
        nonlocal made
        for n in range(3_000):
            time.sleep(pause)
            made = n
            if pause and n == 10 and ended_by == "stop":
                stop.set()
            yield {"n": n} if kind == "rows" else pa.record_batch({"n": [n]})

    store = MemoryCheckpointStore()
    ingest(zerobus.workspace, table_name, items(0.0), options=IngestOptions(source_version="1"), checkpoint=store)
    options = IngestOptions(source_version="1", timeout=1.0 if ended_by == "timeout" else None)
    # A minute and a half, if nobody looks.
    with pytest.raises(IngestInterruptedError if ended_by == "stop" else IngestTimeoutError):
        ingest(zerobus.workspace, table_name, items(0.03), options=options, checkpoint=store, stop=stop)
    assert made < 1_000
