"""The Dags in the guide are read by Airflow, and the examples run."""

from __future__ import annotations

import json
import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

TABLE = "main.default.readings"
READINGS = [{"sensor": sensor, "celsius": 20 + sensor / 100} for sensor in range(1_000)]


def test_the_examples_and_the_dags_of_the_guide_are_read_without_what_they_name(airflow):
    ids = set(airflow.dag_ids())
    assert {"airflow_records", "airflow_files", "airflow_sql", "airflow_flights"} <= ids
    assert {"readings", "deliveries", "orders", "producer", "consumer", "by_hand"} <= ids


@pytest.fixture
def empty_table(zerobus):
    """The table that the examples fill."""
    zerobus.server.sql(f"DROP TABLE IF EXISTS {TABLE}")
    zerobus.server.create_table(f"CREATE TABLE {TABLE} (sensor BIGINT NOT NULL, celsius DOUBLE)")


@pytest.mark.usefixtures("empty_table")
def test_the_example_of_a_function_runs(airflow, zerobus):
    account = airflow.run("airflow_records", environ=zerobus.environ)
    assert account["state"] == "success", account["log"]
    assert zerobus.rows(TABLE) == READINGS
    assert f"1000 rows are durable in {TABLE}" in account["log"]


@pytest.mark.usefixtures("empty_table")
def test_the_example_of_files_runs(airflow, zerobus, tmp_path):
    pq.write_table(pa.Table.from_pylist(READINGS), tmp_path / "readings.parquet")
    account = airflow.run("airflow_files", environ=zerobus.environ, files=str(tmp_path / "*.parquet"))
    assert account["state"] == "success", account["log"]
    assert zerobus.rows(TABLE) == READINGS


@pytest.mark.usefixtures("empty_table")
def test_the_example_of_a_query_runs(airflow, zerobus, tmp_path):
    connection = sqlite3.connect(tmp_path / "plant.db")
    with connection:
        connection.execute("CREATE TABLE readings (sensor INTEGER, celsius REAL)")
        connection.executemany("INSERT INTO readings VALUES (:sensor, :celsius)", READINGS)
    connection.close()
    plant = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "plant.db")})
    account = airflow.run("airflow_sql", environ={**zerobus.environ, "AIRFLOW_CONN_PLANT": plant}, since=10)
    assert account["state"] == "success", account["log"]
    assert zerobus.rows(TABLE) == READINGS[10:]
