"""Each run delivers the files that are new; a sensor requests the run."""

import os

import dagster as dg

from zerobus_core import NewFiles
from zerobus_dagster import ZerobusCredentials, ZerobusResource, build_zerobus_handoff_sensor

TABLE = "main.default.new_readings"
FOLDER = os.environ.get("HANDOFF_FOLDER", "/data")
STATE = f"{FOLDER}/state/new_readings.json"


def landing() -> NewFiles:
    return NewFiles(f"{FOLDER}/landing/*.jsonl")


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=3, delay=30))
def new_readings(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
    return zerobus.hand_over(context, TABLE, landing(), state_uri=STATE)


defs = dg.Definitions(
    assets=[new_readings],
    sensors=[build_zerobus_handoff_sensor(new_readings, table=TABLE, source=landing, state_uri=STATE)],
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
