"""Async assets, and rows that are pushed as they come."""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from zerobus_dagster import ZerobusResource
from zerobus_local import LocalZerobus

ROWS = [{"id": n, "carrier": "UA", "delay": n / 2} for n in range(100)]


async def pages(*rows: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    for row in rows:
        yield row
        await asyncio.sleep(0)


def run(asset: dg.AssetsDefinition, zerobus: ZerobusResource, **options: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize([asset], resources={"zerobus": zerobus}, raise_on_error=False, **options)


def ids(server: LocalZerobus, table: str) -> list[int]:
    return sorted(server.read(table)["id"].to_pylist())


def test_an_async_asset_delivers_an_async_generator(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    @dg.asset
    async def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return await zerobus.aingest(context, table, pages(*ROWS), options={"source_version": "1"})

    result = run(flights, zerobus, instance=instance)
    (materialization,) = result.asset_materializations_for_node("flights")
    assert materialization.metadata["dagster-zerobus/rows_acked"].value == 100
    assert ids(server, table) == list(range(100))
    log = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert f"{table}: 100 rows read, 100 acknowledged, 0 durable before, 0 in the dead-letter file" in log


def failing_once(table: str) -> dg.AssetsDefinition:
    """The asset ``flights``, whose first attempt fails after it has delivered all rows."""

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    async def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        result = await zerobus.aingest(context, table, pages(*ROWS), options={"source_version": "1"})
        if context.retry_number == 0:
            raise RuntimeError("after the delivery")
        return result

    return flights


def test_a_retry_of_an_async_step_sends_only_what_is_missing(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    result = run(failing_once(table), zerobus, instance=instance)
    (materialization,) = result.asset_materializations_for_node("flights")
    assert materialization.metadata["dagster-zerobus/rows_skipped"].value == 100
    assert ids(server, table) == list(range(100))


def test_each_partition_of_a_run_has_an_async_iterable_of_its_own(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]), backfill_policy=dg.BackfillPolicy.single_run())
    async def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return await zerobus.aingest(context, table, {"a": pages(*ROWS[:10]), "b": pages(*ROWS[10:])})

    tags = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "b"}
    result = run(flights, zerobus, tags=tags)
    acked = {
        event.partition: event.metadata["dagster-zerobus/rows_acked"].value
        for event in result.asset_materializations_for_node("flights")
    }
    assert acked == {"a": 10, "b": 90}
    assert ids(server, table) == list(range(100))


def test_a_delivery_that_is_cancelled_sends_no_row_a_second_later(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    given: list[int] = []
    left: list[int] = []

    async def endless() -> AsyncIterator[dict[str, Any]]:
        for n in range(1_000_000):
            given.append(n)
            yield {"id": n, "carrier": "UA", "delay": 0.0}
            if n % 50 == 49:
                await asyncio.sleep(0.01)

    @dg.asset
    async def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> None:
        delivering = asyncio.create_task(
            zerobus.aingest(context, table, endless(), options={"source_version": "1", "batch_rows": 50})
        )
        deadline = time.monotonic() + 60
        while server.read(table).num_rows == 0 and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        delivering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await delivering
        left.extend([server.read(table).num_rows, len(given)])
        await asyncio.sleep(1.0)
        left.extend([server.read(table).num_rows, len(given)])

    assert run(flights, zerobus).success
    assert left[0] > 0
    assert left[:2] == left[2:]


def test_terminating_a_run_stops_its_async_delivery_and_keeps_the_checkpoint(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, sqlite_instance: dg.DagsterInstance
) -> None:
    """Dagster raises in the main thread, out of the event loop, which then does not run any more."""

    def interrupt_when_idle() -> None:
        """When every row that was sent is acknowledged: the table has stood still for a second."""
        rows, deadline = -1, time.monotonic() + 60
        while (now := server.read(table).num_rows) != rows and time.monotonic() < deadline:
            rows = now
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGINT)

    async def endless() -> AsyncIterator[dict[str, Any]]:
        for n in range(1_000_000):
            yield {"id": n, "carrier": "UA", "delay": 0.0}
            if n % 50 == 49:
                await asyncio.sleep(0.01)
                if n > 1_000 and server.read(table).num_rows:
                    threading.Thread(target=interrupt_when_idle, daemon=True).start()
                    await asyncio.sleep(120)

    @dg.asset
    async def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return await zerobus.aingest(context, table, endless(), options={"source_version": "1", "batch_rows": 50})

    assert not run(flights, zerobus, instance=sqlite_instance).success
    deadline = time.monotonic() + 20
    while any(thread.name == "zerobus-ingest" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (latest,) = sqlite_instance.fetch_observations(dg.AssetKey("flights"), limit=1).records
    observation = latest.asset_observation
    assert observation is not None
    assert observation.metadata["dagster-zerobus/rows_durable"].value == server.read(table).num_rows


def test_rows_are_pushed_as_they_come_and_the_materialization_shows_their_receipt(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        with zerobus.stream_manager(table, context=context) as streams:
            for start in range(0, 100, 10):
                streams.send(ROWS[start : start + 10])
        return dg.MaterializeResult(metadata={"pages": 10})

    result = run(flights, zerobus)
    (materialization,) = result.asset_materializations_for_node("flights")
    assert materialization.metadata["dagster-zerobus/rows_acked"].value == 100
    assert materialization.metadata["pages"].value == 10
    assert ids(server, table) == list(range(100))


def test_a_bad_row_that_is_pushed_fails_the_step_without_a_retry(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    attempts = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> None:
        attempts.append(context.retry_number)
        with zerobus.stream_manager(table, context=context) as streams:
            streams.send([{"id": "not a number"}])

    assert not run(flights, zerobus).success
    assert attempts == [0]
    assert ids(server, table) == []


def test_a_step_of_several_assets_that_does_not_say_which_one_it_pushes_for_fails_without_a_retry(
    table: str, zerobus: ZerobusResource
) -> None:
    attempts = []

    @dg.multi_asset(specs=[dg.AssetSpec("one"), dg.AssetSpec("two")], retry_policy=dg.RetryPolicy(max_retries=2))
    def both(context: dg.AssetExecutionContext, zerobus: ZerobusResource):
        attempts.append(context.retry_number)
        with zerobus.stream_manager(table, context=context):
            pass

    result = run(both, zerobus)
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert "set asset_key to one of one, two" in str(failed.step_failure_data.user_failure_data)
    assert attempts == [0]


def test_an_async_step_with_checkpoints_in_files_calls_dagster_on_its_own_thread(
    table: str, zerobus_with: Callable[..., ZerobusResource], instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    threads: dict[str, str] = {}

    class Threads(logging.Handler):
        """Notes the thread in which the step's log, or an observation, is written."""

        def emit(self, record: logging.LogRecord) -> None:
            threads[record.getMessage()] = str(record.threadName)

    @dg.logger
    def noting(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("noting", logging.DEBUG)
        logger.addHandler(Threads())
        return logger

    zerobus = zerobus_with(on_rematerialize="refuse", checkpoint_uri=str(tmp_path / "checkpoints"))
    definitions = dg.Definitions(
        [failing_once(table)],
        resources={"zerobus": zerobus},
        loggers={"noting": noting},
        executor=dg.in_process_executor,
    )
    job = definitions.resolve_implicit_global_asset_job_def()
    config = {"loggers": {"noting": {"config": {}}}}
    assert job.execute_in_process(instance=instance, run_config=config, raise_on_error=False).success
    written = {
        text: {thread for message, thread in threads.items() if text in message}
        for text in ("this is a retry of the step", "ASSET_OBSERVATION")
    }
    assert all(written.values()), "the log has both"
    assert "zerobus-ingest" not in set().union(*written.values()), written
