"""A code location with a sharded asset: ``python sharded_child.py run|from-failure RUN_ID``.

The process of one shard ends by SIGKILL in its middle, once, after its first checkpoint.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from zerobus_core import IngestOptions, split_source
from zerobus_core.batch import Chunk
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_dagster import ZerobusCredentials, ZerobusResource, build_zerobus_sharded_asset

SHARDS = 4
DYING = 2


class Dying:
    """The source of a shard, which kills the process in its middle."""

    def __init__(self, shard: Mapping[str, Any], context: dg.OpExecutionContext) -> None:
        self._source = source_of(shard, IngestOptions(batch_rows=20))
        self._context = context
        self.fingerprint, self.is_arrow, self.total_rows = self._source.fingerprint, self._source.is_arrow, None
        self.is_content_known = True

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        mark = Path(os.environ["DAGSTER_HOME"], "was_killed")
        for number, chunk in enumerate(self._source.chunks(skip)):
            yield chunk
            while number == 2 and not mark.exists():
                yield Chunk(chunk.stop_row, [])
                time.sleep(0.05)
                if self._has_checkpoint():
                    mark.touch()
                    os.kill(os.getpid(), signal.SIGKILL)

    def _has_checkpoint(self) -> bool:
        records = self._context.instance.fetch_observations(dg.AssetKey("flights"), limit=50).records
        own = [r for r in records if r.event_log_entry.step_key == self._context.get_step_execution_context().step.key]
        return any(r.asset_observation.metadata["dagster-zerobus/rows_durable"].value for r in own)


def read(context: dg.OpExecutionContext, shard: Mapping[str, Any]) -> Any:
    return Dying(shard, context) if shard["index"] == DYING else shard


flights = build_zerobus_sharded_asset(
    "flights",
    table=os.environ["TEST_TABLE"],
    split=lambda context: split_source(os.environ["TEST_FILES"], SHARDS),
    read=read,
    options={"batch_rows": 20},
)


def flights_job() -> dg.JobDefinition:
    """The job that Dagster loads again in each step's process."""
    zerobus = ZerobusResource(
        endpoint=dg.EnvVar("ZEROBUS_SERVER_ENDPOINT"),
        workspace_url=dg.EnvVar("DATABRICKS_HOST"),
        credentials=ZerobusCredentials(
            client_id=dg.EnvVar("DATABRICKS_CLIENT_ID"), client_secret=dg.EnvVar("DATABRICKS_CLIENT_SECRET")
        ),
    )
    # In other tests, each step's process starts from nothing. Here it is a fork of one that has imported Dagster.
    forks = {"forkserver": {"preload_modules": ["zerobus_dagster"]}}
    executor = dg.multiprocess_executor.configured({"max_concurrent": 3, "start_method": forks})
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
