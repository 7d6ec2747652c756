"""A sharded asset on dagster-celery, and the run of its job: ``python celery_job.py run|from-failure RUN_ID``.

Workers import this file to execute steps.
"""

import os
import sys

import dagster as dg
from dagster_celery import celery_executor

from zerobus_core import split_source
from zerobus_dagster import ZerobusCredentials, ZerobusResource, build_zerobus_sharded_asset

SHARDS = 8

flights = build_zerobus_sharded_asset(
    "flights",
    table=os.environ.get("TEST_TABLE", "main.default.flights"),
    split=lambda context: split_source(os.environ["TEST_FILES"], SHARDS),
    # One small batch after the other, so that a shard takes seconds.
    options={"batch_rows": 10, "max_unacked_bytes": 1},
)


def flights_job() -> dg.JobDefinition:
    """The job that Dagster loads again in each worker."""
    zerobus = ZerobusResource(
        endpoint=dg.EnvVar("ZEROBUS_SERVER_ENDPOINT"),
        workspace_url=dg.EnvVar("DATABRICKS_HOST"),
        credentials=ZerobusCredentials(
            client_id=dg.EnvVar("DATABRICKS_CLIENT_ID"), client_secret=dg.EnvVar("DATABRICKS_CLIENT_SECRET")
        ),
    )
    broker = os.environ["TEST_BROKER"]
    executor = celery_executor.configured({"broker": broker, "backend": broker})
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
