"""Assets for a whole Dagster, whose steps report to the test by files in the folder of the Dagster instance."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from zerobus_core.checkpoint.digest import BLOCK_ROWS
from zerobus_dagster import (
    ZerobusCredentials,
    ZerobusIngestConfig,
    ZerobusResource,
    build_zerobus_delivery_check,
)

HALF = 2 * BLOCK_ROWS
ROWS = 2 * HALF
DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-31")
POISONED_DAY = "2026-01-17"
# Small batches, so that rows become durable one after the other.
OPTIONS = {"batch_rows": 64}
Result = dg.MaterializeResult[Any]


def folder_of(name: str) -> Path:
    folder = Path(os.environ["DAGSTER_HOME"], "steps", name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def announce(folder: Path) -> None:
    """Write the id of the step's process to a file, and the time of the interrupt that it gets."""
    handler = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        (folder / "signalled").write_text(str(time.time()))
        if callable(handler):
            handler(number, frame)

    signal.signal(signal.SIGINT, note)
    (folder / "pid").write_text(str(os.getpid()))


def rows_of(folder: Path, *, stops: bool) -> Iterator[dict[str, Any]]:
    """All rows; after the first half, the first attempt gives none (``stops``) or one now and then, for an hour."""
    is_first = not (folder / "pid").exists()
    for number in range(ROWS):
        if is_first and number == HALF:
            announce(folder)
            time.sleep(3_600 if stops else 0)
        if is_first and number >= HALF:
            time.sleep(1.0)
        yield {"id": number, "note": f"row {number}"}


@dg.asset(**ZerobusResource.asset_attributes("main.default.launched"))
def launched(context: dg.AssetExecutionContext, zerobus: ZerobusResource, config: ZerobusIngestConfig) -> Result:
    """Rows whose delivery is changed in the launchpad."""
    rows = [{"id": number, "note": None} for number in range(ROWS)]
    return zerobus.ingest(context, "main.default.launched", rows, options=config)


@dg.asset
def terminated(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> Result:
    """Rows that stop coming in the middle."""
    folder = folder_of("terminated")
    options = {**OPTIONS, "source_version": "1"}
    try:
        return zerobus.ingest(context, "main.default.terminated", rows_of(folder, stops=True), options=options)
    finally:
        (folder / "left").write_text(str(time.time()))


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
def killed(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> Result:
    """Rows that come slowly in the middle."""
    options = {**OPTIONS, "source_version": "1"}
    return zerobus.ingest(context, "main.default.killed", rows_of(folder_of("killed"), stops=False), options=options)


def rows_of_day(day: str) -> list[dict[str, Any]]:
    """A hundred rows; one of those of one day does not fit the table, until a file says that it is repaired."""
    rows: list[dict[str, Any]] = [{"id": number, "note": day} for number in range(100)]
    if day == POISONED_DAY and not (folder_of("daily") / "repaired").exists():
        rows[50]["id"] = "poison"
    return rows


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=5))
def daily(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> Result:
    """The rows of five days in each run of a backfill."""
    return zerobus.ingest(context, "main.default.daily", {day: rows_of_day(day) for day in context.partition_keys})


class Pace(dg.Config):
    """How long the rows of an attempt take to come."""

    seconds: float = 0.0


def paced_rows(seconds: float) -> Iterator[dict[str, Any]]:
    """A hundred rows, and a hundred more for each second."""
    start = time.monotonic()
    for number in range(100 + int(seconds * 100)):
        if (early := start + number / 100 - time.monotonic()) > 0 and seconds:
            time.sleep(early)
        yield {"id": number, "note": f"row {number}"}


def long_delivery(name: str) -> dg.AssetsDefinition:
    """An asset whose rows come at an even pace; a retry gets them all at once."""

    @dg.asset(name=name, retry_policy=dg.RetryPolicy(max_retries=1))
    def push(context: dg.AssetExecutionContext, zerobus: ZerobusResource, config: Pace) -> Result:
        folder = folder_of(name)
        rows = paced_rows(config.seconds)
        if (folder / "pid").exists() and context.retry_number:
            rows = ({"id": n, "note": f"row {n}"} for n in range(100 + int(config.seconds * 100)))
        (folder / "pid").write_text(str(os.getpid()))
        return zerobus.ingest(context, f"main.default.{name}", rows, options={"source_version": str(config.seconds)})

    return push


credentials = ZerobusCredentials(
    client_id=dg.EnvVar("DATABRICKS_CLIENT_ID"), client_secret=dg.EnvVar("DATABRICKS_CLIENT_SECRET")
)
defs = dg.Definitions(
    assets=[launched, terminated, killed, daily, long_delivery("long_whole"), long_delivery("long_killed")],
    asset_checks=[build_zerobus_delivery_check("launched", min_rows=1)],
    jobs=[
        dg.define_asset_job(f"{name}_job", [name], executor_def=dg.multiprocess_executor)
        for name in ("launched", "terminated", "killed", "long_whole", "long_killed")
    ],
    # For backfills: the process of a run is enough for one step.
    executor=dg.in_process_executor,
    resources={
        "zerobus_credentials": credentials,
        "zerobus": ZerobusResource(
            endpoint=dg.EnvVar("ZEROBUS_SERVER_ENDPOINT"),
            workspace_url=dg.EnvVar("DATABRICKS_HOST"),
            credentials=credentials,
        ),
    },
)
