"""One asset on several workers: each step delivers one shard of the files, and the asset is materialized once.

Start it with ``dg dev -f example_dags/dagster_fan_out.py``. If a run is re-executed from failure, only the shards that
failed are delivered again.
"""

from __future__ import annotations

import os

import dagster as dg

from zerobus_core import split_source
from zerobus_dagster import ZerobusCredentials, ZerobusResource, build_zerobus_sharded_asset

TABLE = "main.default.readings"

readings = build_zerobus_sharded_asset(
    "readings",
    table=TABLE,
    split=lambda context: split_source(os.environ.get("READINGS_URI", "data/readings/"), 8),
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5),
    group_name="plant",
)

defs = dg.Definitions(
    assets=[readings],
    # Each shard has its own step. A limit for the pool "zerobus" in dagster.yaml applies to the steps of all runs.
    executor=dg.multiprocess_executor.configured({"max_concurrent": 4}),
    resources={
        "zerobus": ZerobusResource(
            endpoint=dg.EnvVar("ZEROBUS_SERVER_ENDPOINT"),
            workspace_url=dg.EnvVar("DATABRICKS_HOST"),
            credentials=ZerobusCredentials(
                client_id=dg.EnvVar("DATABRICKS_CLIENT_ID"), client_secret=dg.EnvVar("DATABRICKS_CLIENT_SECRET")
            ),
        )
    },
)
