"""The weather, pushed by Dagster. As a script, it materializes the asset once and saves the asset's metadata."""

import json
import sys
from pathlib import Path

import dagster as dg

from example_dags.demo.source import weather as hourly_weather
from zerobus_dagster import ZerobusCredentials, ZerobusResource


@dg.asset(kinds={"databricks", "zerobus"})
def weather(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
    """The weather of each hour of 2013 at the airports of New York."""
    return zerobus.ingest(context, "main.default.weather", hourly_weather())


credentials = ZerobusCredentials(
    client_id=dg.EnvVar("DATABRICKS_CLIENT_ID"), client_secret=dg.EnvVar("DATABRICKS_CLIENT_SECRET")
)
defs = dg.Definitions(
    assets=[weather],
    resources={
        "zerobus_credentials": credentials,
        "zerobus": ZerobusResource(
            endpoint=dg.EnvVar("ZEROBUS_SERVER_ENDPOINT"),
            workspace_url=dg.EnvVar("DATABRICKS_HOST"),
            credentials=credentials,
        ),
    },
)


def materialize(receipt: Path) -> None:
    """Materialize the asset in this process, and write its metadata from Dagster's event log to ``receipt``."""
    with dg.DagsterInstance.get() as instance:
        result = defs.get_implicit_global_asset_job_def().execute_in_process(instance=instance)
    (event,) = result.asset_materializations_for_node("weather")
    plain = {name: value.value for name, value in event.metadata.items() if isinstance(value.value, int | float | str)}
    receipt.write_text(json.dumps(plain))


if __name__ == "__main__":
    materialize(Path(sys.argv[1]))
