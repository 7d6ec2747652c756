"""Chunks of files that a thread reads ahead."""

from __future__ import annotations

import io
import threading
from collections.abc import Generator, Iterable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from zerobus_core import IngestInterruptedError, IngestOptions, ingest
from zerobus_core.batch import Chunk
from zerobus_core.ranges import RowRanges
from zerobus_core.sources.files.source import files_source
from zerobus_core.sources.protocol.read_ahead import read_ahead
from zerobus_local import LocalZerobus

WAIT = 30.0


class Numbered:
    """Chunks of one row; it says what was read, and in which thread."""

    def __init__(self, count: int, *, error: Exception | None = None) -> None:
        self.read: SimpleQueue[int] = SimpleQueue()
        self.closed = threading.Event()
        self.threads: set[str] = set()
        self._count, self._error = count, error

    def chunks(self) -> Generator[Chunk]:
        try:
            for number in range(self._count):
                self.threads.add(threading.current_thread().name)
                self.read.put(number)
                yield Chunk(number, [{"id": number}])
            if self._error is not None:
                raise self._error
        finally:
            self.closed.set()


def rows_of(chunks: Iterable[Chunk]) -> list[int]:
    return [row["id"] for chunk in chunks for row in chunk.rows]


def test_chunks_come_in_order_and_are_made_in_one_other_thread() -> None:
    source = Numbered(50)
    assert rows_of(read_ahead(source.chunks())) == list(range(50))
    assert source.threads == {"zerobus-read-ahead"}
    assert source.closed.is_set()


def test_two_chunks_are_read_ahead_and_no_more() -> None:
    source = Numbered(50)
    chunks = read_ahead(source.chunks())
    assert source.read.empty()  # nothing is read before it is asked for
    assert next(chunk for chunk in chunks if len(chunk.rows)).first_row == 0
    assert [source.read.get(timeout=WAIT) for _ in range(3)] == [0, 1, 2]
    for _ in range(2):  # heartbeats would come if there were nothing to take
        assert source.read.empty()
        assert len(next(chunks).rows)
        source.read.get(timeout=WAIT)
    chunks.close()  # type: ignore[attr-defined]
    assert source.closed.wait(WAIT)


def test_an_error_comes_after_the_rows_before_it() -> None:
    source = Numbered(2, error=ValueError("damaged"))
    chunks = read_ahead(source.chunks())
    assert [rows_of([next(chunks)]) for _ in range(2)] == [[0], [1]]
    with pytest.raises(ValueError, match="damaged"):
        next(chunks)


def test_who_waits_for_a_read_gets_chunks_without_rows() -> None:
    may_read = threading.Event()

    def stuck() -> Generator[Chunk]:
        yield Chunk(0, [{"id": 0}])
        assert may_read.wait(WAIT)
        yield Chunk(1, [{"id": 1}])

    chunks = read_ahead(stuck())
    assert len(next(chunk for chunk in chunks if len(chunk.rows)).rows) == 1
    assert next(chunks) == Chunk(1, [])
    may_read.set()
    assert rows_of(chunks) == [1]


class StuckFile(io.RawIOBase):
    """A file whose reads wait, once the delivery has begun."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        if StuckFileSystem.is_stuck and self.tell() < StuckFileSystem.stuck_below:
            StuckFileSystem.is_reading.set()
            assert StuckFileSystem.may_read.wait(WAIT)
        return self._file.read(size)

    def seek(self, *arguments: int) -> int:
        return self._file.seek(*arguments)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


class StuckFileSystem(MemoryFileSystem):
    protocol = "stuck"
    store: dict[str, Any] = {}  # noqa: RUF012  # as its base has it
    pseudo_dirs = [""]  # noqa: RUF012
    is_stuck = False
    stuck_below = 0
    is_reading = threading.Event()
    may_read = threading.Event()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("stuck://", "memory://", 1)))

    def _open(self, path: str, mode: str = "rb", *arguments: Any, **options: Any) -> Any:
        file = super()._open(path, mode, *arguments, **options)
        return StuckFile(file.getvalue()) if mode == "rb" else file


def test_a_stop_request_ends_a_delivery_whose_file_is_stuck(server: LocalZerobus, tmp_path: Path) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    local = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": range(40_000)}), local, row_group_size=5_000)
    fsspec.register_implementation("stuck", StuckFileSystem, clobber=True)
    fsspec.filesystem("stuck").pipe_file("/t.parquet", local.read_bytes())
    # The footer is at the end of the file; the row groups before it are what is stuck.
    StuckFileSystem.stuck_below = local.stat().st_size // 2
    stop, ended, errors = threading.Event(), threading.Event(), []

    def deliver() -> None:
        try:
            ingest(server.workspace, "main.default.t", "stuck://t.parquet", options=IngestOptions(), stop=stop)
        except BaseException as error:  # noqa: BLE001  # the edge of a thread
            errors.append(error)
        ended.set()

    StuckFileSystem.is_stuck = True
    # Not the main thread, where an alarm would interrupt the read, since it is Python here.
    thread = threading.Thread(target=deliver)
    thread.start()
    try:
        assert StuckFileSystem.is_reading.wait(WAIT), errors
        stop.set()
        assert ended.wait(10.0)
        assert [type(error) for error in errors] == [IngestInterruptedError]
    finally:
        StuckFileSystem.may_read.set()
        thread.join(WAIT)
        StuckFileSystem.is_stuck = False


@pytest.mark.parametrize(("text", "rows"), [("x", 200), ("x" * 50_000, 100)])
def test_two_chunks_of_a_parquet_file_are_read_at_once_if_their_rows_are_small(
    tmp_path: Path, text: str, rows: int
) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": [f"{n}{text}" for n in range(400)]}), path)
    chunks = files_source(str(path), IngestOptions(batch_rows=100)).chunks(RowRanges())
    assert [len(chunk.rows) for chunk in chunks if len(chunk.rows)] == [rows] * (400 // rows)
