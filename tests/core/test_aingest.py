"""``aingest`` delivers while its event loop goes on, and stops within a second when its task is cancelled."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from zerobus_core import Checkpoint, FileCheckpointStore, IngestOptions, Progress, Receipt, aingest, ingest
from zerobus_core.errors import ConfigurationError, IngestInterruptedError, RecordError
from zerobus_core.hosting import async_records
from zerobus_local import LocalZerobus

OPTIONS = IngestOptions(batch_rows=50, backoff=0.05, max_attempts=2, source_version="1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalZerobus]:
    with LocalZerobus.start(tmp_path_factory.mktemp("zerobus")) as server:
        yield server


@pytest.fixture
def table(server: LocalZerobus, request: pytest.FixtureRequest) -> str:
    name = f"main.default.t{abs(hash(request.node.name))}"
    server.create_table(f"CREATE TABLE {name} (id BIGINT NOT NULL, text STRING)")
    return name


class Source:
    """Rows one after the other, with a pause after each ``rows_at_once``; remembers how it was read and closed."""

    def __init__(self, rows: int, *, rows_at_once: int = 100, pause: float = 0.0, size: int = 1) -> None:
        self.rows, self.rows_at_once, self.pause, self.size = rows, rows_at_once, pause, size
        self.given = 0
        self.is_closed = False
        self.threads: set[int] = set()

    async def __call__(self) -> AsyncIterator[dict[str, Any]]:
        try:
            for n in range(self.rows):
                self.threads.add(threading.get_ident())
                self.given += 1
                yield {"id": n, "text": "x" * self.size}
                if (n + 1) % self.rows_at_once == 0:
                    await asyncio.sleep(self.pause)
        finally:
            self.is_closed = True


def ids(server: LocalZerobus, table: str) -> list[int]:
    return sorted(server.read(table)["id"].to_pylist())


def test_the_rows_of_an_async_generator_are_durable_when_it_returns(server: LocalZerobus, table: str) -> None:
    source = Source(1_000)

    async def deliver() -> tuple[Receipt, int]:
        return await aingest(server.workspace, table, source(), options=OPTIONS), threading.get_ident()

    receipt, thread = asyncio.run(deliver())
    assert receipt.rows_acked == receipt.rows_read == 1_000
    assert ids(server, table) == list(range(1_000))
    assert source.threads == {thread}
    assert source.is_closed


def test_what_ingest_takes_is_taken_as_well(server: LocalZerobus, table: str) -> None:
    rows = [{"id": n, "text": None} for n in range(10)]
    receipt = asyncio.run(aingest(server.workspace, table, rows))
    assert receipt.rows_acked == 10


def test_frames_that_come_one_by_one_are_delivered(server: LocalZerobus, table: str) -> None:
    async def frames() -> AsyncIterator[pl.DataFrame]:
        for start in range(0, 300, 100):
            yield pl.DataFrame({"id": range(start, start + 100), "text": "x"})
            await asyncio.sleep(0)

    receipt = asyncio.run(aingest(server.workspace, table, frames()))
    assert receipt.record_format == "arrow"
    assert ids(server, table) == list(range(300))


def test_the_loop_goes_on_with_its_other_tasks(server: LocalZerobus, table: str) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    async def deliver() -> None:
        counting = asyncio.create_task(count())
        await aingest(server.workspace, table, Source(2_000, rows_at_once=10**9)(), options=OPTIONS)
        counting.cancel()

    asyncio.run(deliver())
    assert turns > 3


def test_a_source_is_read_only_so_far_ahead_of_the_service(server: LocalZerobus, table: str) -> None:
    """The service acknowledges nothing: what is held is what may be in flight, what is encoded, and the queue."""
    server.faults.add(action="withhold_ack", table=table)
    source = Source(10_000, rows_at_once=10**9, size=100_000)  # 1 GB in all
    options = IngestOptions(max_unacked_bytes=1024 * 1024, ack_timeout=2.0, max_attempts=1, batch_rows=10)
    with pytest.raises(Exception, match="acknowledge"):
        asyncio.run(aingest(server.workspace, table, source(), options=options))
    assert source.given * source.size < 64 * 1024 * 1024
    assert source.is_closed


def test_after_a_cancellation_no_row_is_sent_and_the_checkpoint_says_what_is_durable(
    server: LocalZerobus, table: str, tmp_path: Path
) -> None:
    source = Source(100_000, rows_at_once=50, pause=0.01)
    store = FileCheckpointStore(tmp_path / "checkpoint")

    async def cancelled() -> float:
        durable = asyncio.Event()

        def on_progress(progress: Progress) -> None:
            if progress.rows_acked:
                durable.set()

        delivering = asyncio.create_task(
            aingest(server.workspace, table, source(), options=OPTIONS, checkpoint=store, on_progress=on_progress)
        )
        await durable.wait()
        started = time.monotonic()
        delivering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await delivering
        took = time.monotonic() - started
        sent = server.read(table).num_rows
        given = source.given
        await asyncio.sleep(1.0)
        assert server.read(table).num_rows == sent
        assert source.given == given
        return took

    assert asyncio.run(cancelled()) < 2.0  # 1 s, on a machine that has nothing else to do
    assert source.is_closed
    kept = store.load()
    assert kept is not None
    assert kept.durable.rows > 0
    rest = ingest(
        server.workspace,
        table,
        ({"id": n, "text": "x"} for n in range(kept.reached)),
        options=OPTIONS,
        checkpoint=store,
    )
    assert rest.rows_skipped == kept.durable.rows
    assert sorted(set(ids(server, table))) == list(range(kept.reached))


def test_a_cancellation_ends_a_delivery_whose_source_waits(server: LocalZerobus, table: str) -> None:
    is_waiting = threading.Event()

    async def rows() -> AsyncIterator[dict[str, Any]]:
        yield {"id": 0, "text": None}
        is_waiting.set()
        await asyncio.Event().wait()

    async def cancelled() -> None:
        delivering = asyncio.create_task(aingest(server.workspace, table, rows(), options=OPTIONS))
        while not is_waiting.is_set():
            await asyncio.sleep(0.01)
        delivering.cancel()
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await delivering

    asyncio.run(cancelled())
    assert_no_delivery_runs()


def test_a_loop_that_runs_no_more_ends_the_delivery(server: LocalZerobus, table: str, tmp_path: Path) -> None:
    """What Dagster does on Terminate: an exception leaves the loop, and nobody cancels the task."""
    source = Source(1_000_000, rows_at_once=50, pause=0.01)
    store = MemoryStore()

    def terminate(progress: Progress) -> None:
        if progress.rows_acked and not is_terminated:
            is_terminated.append(True)
            loop.call_soon(leave)

    def leave() -> None:
        raise KeyboardInterrupt

    is_terminated: list[bool] = []
    loop = asyncio.new_event_loop()
    delivering = loop.create_task(
        aingest(server.workspace, table, source(), options=OPTIONS, checkpoint=store, on_progress=terminate)
    )
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(delivering)
    assert_no_delivery_runs()
    assert store.saved[-1].durable.rows == server.read(table).num_rows
    with pytest.raises(IngestInterruptedError):
        loop.run_until_complete(delivering)
    loop.close()


def assert_no_delivery_runs() -> None:
    deadline = time.monotonic() + 10.0
    while any(thread.name == "zerobus-ingest" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


class MemoryStore:
    """A store of a host that wants its calls on its own thread."""

    epoch = None
    save_interval = 0.1

    def __init__(self) -> None:
        self.saved: list[Checkpoint] = []
        self.threads: set[int] = set()

    def load(self) -> Checkpoint | None:
        self.threads.add(threading.get_ident())
        return self.saved[-1] if self.saved else None

    def save(self, checkpoint: Checkpoint) -> None:
        self.threads.add(threading.get_ident())
        self.saved.append(checkpoint)


def test_the_store_and_the_progress_hook_are_called_on_the_loops_thread(server: LocalZerobus, table: str) -> None:
    store, threads = MemoryStore(), set()

    async def on_progress(progress: Progress) -> None:  # an async function is awaited
        await asyncio.sleep(0)
        threads.add(threading.get_ident())

    async def deliver() -> int:
        await aingest(
            server.workspace, table, Source(200)(), options=OPTIONS, checkpoint=store, on_progress=on_progress
        )
        return threading.get_ident()

    thread = asyncio.run(deliver())
    assert store.saved[-1].durable.rows == 200
    assert store.threads == threads == {thread}


def test_what_the_source_raises_ends_the_delivery_and_what_ingest_raises_ends_the_source(
    server: LocalZerobus, table: str
) -> None:
    async def broken() -> AsyncIterator[dict[str, Any]]:
        yield {"id": 0, "text": None}
        raise ValueError("the page has no rows")

    with pytest.raises(ValueError, match="the page has no rows"):
        asyncio.run(aingest(server.workspace, table, broken(), options=OPTIONS))

    is_closed = False

    async def bad_row() -> AsyncIterator[dict[str, Any]]:
        nonlocal is_closed
        try:
            for n in range(100):
                yield {"id": "not a number" if n == 70 else n, "text": None}
            await asyncio.Event().wait()
        finally:
            is_closed = True

    with pytest.raises(RecordError, match="row 70"):
        asyncio.run(aingest(server.workspace, table, bad_row(), options=OPTIONS))
    assert is_closed


def test_the_stop_event_of_the_caller_ends_it(server: LocalZerobus, table: str) -> None:
    stop = threading.Event()

    def on_progress(progress: Progress) -> None:
        stop.set()

    with pytest.raises(IngestInterruptedError):
        asyncio.run(
            aingest(
                server.workspace,
                table,
                Source(1_000_000, pause=0.01)(),
                options=OPTIONS,
                stop=stop,
                on_progress=on_progress,
            )
        )


def test_ingest_names_aingest_for_an_async_iterable(server: LocalZerobus, table: str) -> None:
    with pytest.raises(ConfigurationError, match="await aingest"):
        ingest(server.workspace, table, Source(1)())


def test_async_rows_are_delivered_by_synchronous_code_and_their_source_is_closed(
    server: LocalZerobus, table: str
) -> None:
    source = Source(500)
    with async_records(source) as rows:
        receipt = ingest(server.workspace, table, rows, options=OPTIONS)
    assert receipt.rows_acked == 500
    assert source.is_closed
    assert threading.get_ident() not in source.threads


def test_an_async_source_that_waits_is_closed_when_the_delivery_fails(server: LocalZerobus, table: str) -> None:
    is_closed = threading.Event()

    async def rows() -> AsyncIterator[dict[str, Any]]:
        try:
            for n in range(100):
                yield {"id": "not a number" if n == 70 else n, "text": None}
            await asyncio.Event().wait()
        finally:
            is_closed.set()

    with pytest.raises(RecordError, match="row 70"), async_records(rows) as given:
        ingest(server.workspace, table, given, options=OPTIONS)
    assert is_closed.wait(10)


def test_what_an_async_function_returns_or_raises_comes_out() -> None:
    async def returned() -> list[int]:
        await asyncio.sleep(0)
        return [1, 2]

    async def broken() -> list[int]:
        raise ValueError("the page has no rows")

    with async_records(returned) as records:
        assert records == [1, 2]
    with pytest.raises(ValueError, match="the page has no rows"), async_records(broken):
        pass
