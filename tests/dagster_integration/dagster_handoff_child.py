"""A job that hands over what is new, for tests that kill it: ``python dagster_handoff_child.py``.

What to deliver comes from the environment, because each step runs in a process of its own: TEST_SOURCE is ``files``
(state in a file) or ``rows`` (state in the asset's events), and with TEST_TRAP the step kills itself in mid-slice.
"""

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from zerobus_core import NewFiles, NewRows
from zerobus_dagster import ZerobusCredentials, ZerobusResource

ASSET = "delivered"


def home() -> Path:
    return Path(os.environ["DAGSTER_HOME"])


class TrappedFiles(NewFiles):
    @contextmanager
    def open(self, *given: Any) -> Iterator[Any]:
        with super().open(*given) as records:
            yield trapped(records)


class TrappedRows(NewRows):
    @contextmanager
    def open(self, *given: Any) -> Iterator[Any]:
        with super().open(*given) as records:
            yield trapped(records)


def trapped(records: Any) -> Any:
    """The records of a slice; half of them, and then a kill -9, if TEST_TRAP is set."""
    chunks = records.chunks

    def until_killed(skip: Any) -> Iterator[Any]:
        for number, chunk in enumerate(chunks(skip)):
            yield chunk
            if number == 5 and os.environ.get("TEST_TRAP"):
                time.sleep(1.0)  # what was handed over reaches the service
                os.kill(os.getpid(), signal.SIGKILL)

    records.chunks = until_killed
    return records


@dg.asset(name=ASSET)
def delivered(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
    table, options = os.environ["TEST_TABLE"], {"batch_rows": 50, "max_unacked_bytes": 20_000}
    if os.environ["TEST_SOURCE"] == "files":
        source, state = TrappedFiles(home() / "landing" / "*.jsonl"), str(home() / "state.json")
        return zerobus.hand_over(context, table, source, state_uri=state, options=options)
    rows = TrappedRows(
        lambda: sqlite3.connect(home() / "orders.db"), "SELECT * FROM orders", column="id", key="id", lag_rows=0
    )
    return zerobus.hand_over(context, table, rows, options=options)


def handoff_job() -> dg.JobDefinition:
    """The job that Dagster loads again in each step's process."""
    zerobus = ZerobusResource(
        endpoint=dg.EnvVar("ZEROBUS_SERVER_ENDPOINT"),
        workspace_url=dg.EnvVar("DATABRICKS_HOST"),
        credentials=ZerobusCredentials(
            client_id=dg.EnvVar("DATABRICKS_CLIENT_ID"), client_secret=dg.EnvVar("DATABRICKS_CLIENT_SECRET")
        ),
    )
    executor = dg.multiprocess_executor if os.environ.get("TEST_TRAP") else dg.in_process_executor
    job = dg.define_asset_job("handoff_job", executor_def=executor)
    return dg.Definitions(assets=[delivered], jobs=[job], resources={"zerobus": zerobus}).resolve_job_def("handoff_job")


def run(instance: dg.DagsterInstance, again: dg.ReexecutionOptions | None = None) -> bool:
    """Run the job, or re-execute it; whether it succeeded."""
    tags = {"dagster/is_resume_retry": "true"} if again else {}
    with dg.execute_job(dg.reconstructable(handoff_job), instance, reexecution_options=again, tags=tags) as result:
        return result.success


if __name__ == "__main__":
    with dg.DagsterInstance.get() as found:
        sys.exit(0 if run(found) else 1)
