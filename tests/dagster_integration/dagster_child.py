"""A code location for the tests that need processes: ``python dagster_child.py run|from-failure RUN_ID``.

The asset reads what to do from the environment, because each step may run in a process of its own.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from zerobus_dagster import ZerobusCredentials, ZerobusResource

ROWS = 2_000


def rows(context: dg.AssetExecutionContext) -> Iterator[dict[str, Any]]:
    """Half of the rows at once; then one now and then, until the first checkpoint is there.

    To be killed, it gives the other rows then, and to be interrupted, none of them ever.
    """
    fault = os.environ["TEST_FAULT"]
    is_slow = bool(fault)
    for n in range(ROWS):
        if is_slow and n > ROWS // 2:
            time.sleep(0.05)
            is_slow = not _has_checkpoint(context)
        while fault == "wait" and n > ROWS // 2 and not is_slow:
            Path(os.environ["DAGSTER_HOME"], "is_waiting").touch()
            time.sleep(0.05)
        yield {"id": n, "carrier": "UA", "delay": 0.0}
    if fault == "kill":
        time.sleep(0.5)  # what was handed over reaches the service
        os.kill(os.getpid(), signal.SIGKILL)


def _has_checkpoint(context: dg.AssetExecutionContext) -> bool:
    records = context.instance.fetch_observations(dg.AssetKey("flights"), limit=1).records
    # The first observation is there before any row is durable.
    return any(r.asset_observation.metadata["dagster-zerobus/rows_durable"].value for r in records)


@dg.asset
def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
    """Delivers the rows, and notes when an interrupt got here."""
    try:
        return zerobus.ingest(
            context, os.environ["TEST_TABLE"], rows(context), options={"batch_rows": 50, "source_version": "1"}
        )
    except dg.DagsterExecutionInterruptedError:
        Path(os.environ["DAGSTER_HOME"], "interrupted_at").write_text(str(time.time()))
        raise


def flights_job() -> dg.JobDefinition:
    """The job that Dagster loads again in each step's process."""
    zerobus = ZerobusResource(
        endpoint=dg.EnvVar("ZEROBUS_SERVER_ENDPOINT"),
        workspace_url=dg.EnvVar("DATABRICKS_HOST"),
        credentials=ZerobusCredentials(
            client_id=dg.EnvVar("DATABRICKS_CLIENT_ID"), client_secret=dg.EnvVar("DATABRICKS_CLIENT_SECRET")
        ),
    )
    in_processes = os.environ["TEST_FAULT"] == "kill"
    executor = dg.multiprocess_executor if in_processes else dg.in_process_executor
    job = dg.define_asset_job("flights_job", executor_def=executor)
    definitions = dg.Definitions(assets=[flights], jobs=[job], resources={"zerobus": zerobus})
    return definitions.resolve_job_def("flights_job")


def main() -> int:
    """Run the job, and tell by the exit code whether it succeeded."""
    with dg.DagsterInstance.get() as instance:
        again, tags = None, {}
        if sys.argv[1] == "from-failure":
            again = dg.ReexecutionOptions.from_failure(sys.argv[2], instance)
            # The UI, the API and the daemon's run retries set this tag; the Python function leaves it to its caller.
            tags = {"dagster/is_resume_retry": "true"}
        with dg.execute_job(dg.reconstructable(flights_job), instance, reexecution_options=again, tags=tags) as result:
            return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main())
