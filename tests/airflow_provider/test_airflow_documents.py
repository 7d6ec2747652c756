"""The Dags in the guide are read by Airflow, and the examples run."""

from __future__ import annotations

import json
import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zerobus_airflow.compat import IS_AIRFLOW_3

pytestmark = pytest.mark.skipif(not IS_AIRFLOW_3, reason="the examples and the guide are written for Airflow 3")

TABLE = "main.default.readings"
READINGS = [{"sensor": sensor, "celsius": 20 + sensor / 100} for sensor in range(1_000)]


def test_the_examples_and_the_dags_of_the_guide_are_read_without_what_they_name(airflow):
    ids = set(airflow.dag_ids())
    assert {"airflow_records", "airflow_files", "airflow_sql"} <= ids
    assert {"readings", "deliveries", "orders", "producer", "consumer", "storage", "by_hand", "by_region"} <= ids
    assert {"airflow_fan_out", "flights_by_shards", "orders_by_shards", "new_orders_by_shards"} <= ids


@pytest.fixture
def empty_table(target):
    """The table that the examples fill."""
    target.server.sql(f"DROP TABLE IF EXISTS {TABLE}")
    target.server.create_table(f"CREATE TABLE {TABLE} (sensor BIGINT NOT NULL, celsius DOUBLE)")


@pytest.mark.usefixtures("empty_table")
def test_the_example_of_a_function_runs(airflow, target):
    account = airflow.run("airflow_records", environ=target.environ)
    assert account["state"] == "success", account["log"]
    assert target.rows(TABLE) == READINGS
    assert f"1000 rows are durable in {TABLE}" in account["log"]


@pytest.mark.usefixtures("empty_table")
def test_the_example_of_files_runs(airflow, target, tmp_path):
    pq.write_table(pa.Table.from_pylist(READINGS), tmp_path / "readings.parquet")
    account = airflow.run("airflow_files", environ=target.environ, files=str(tmp_path / "*.parquet"))
    assert account["state"] == "success", account["log"]
    assert target.rows(TABLE) == READINGS


@pytest.mark.usefixtures("empty_table")
def test_the_example_of_a_query_runs(airflow, target, tmp_path):
    connection = sqlite3.connect(tmp_path / "plant.db")
    with connection:
        connection.execute("CREATE TABLE readings (sensor INTEGER, celsius REAL)")
        connection.executemany("INSERT INTO readings VALUES (:sensor, :celsius)", READINGS)
    connection.close()
    plant = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "plant.db")})
    account = airflow.run("airflow_sql", environ={**target.environ, "AIRFLOW_CONN_PLANT": plant}, since=10)
    assert account["state"] == "success", account["log"]
    assert target.rows(TABLE) == READINGS[10:]


@pytest.mark.usefixtures("empty_table")
def test_the_example_of_shards_runs_for_files_and_for_a_query(airflow, target, tmp_path):
    (tmp_path / "landing").mkdir()
    for number in range(10):
        part = pa.Table.from_pylist(READINGS[number * 50 : (number + 1) * 50])
        pq.write_table(part, tmp_path / "landing" / f"{number}.parquet")
    connection = sqlite3.connect(tmp_path / "plant.db")
    with connection:
        connection.execute("CREATE TABLE readings (sensor INTEGER, celsius REAL)")
        connection.executemany("INSERT INTO readings VALUES (:sensor, :celsius)", READINGS[500:])
    connection.close()
    plant = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "plant.db")})
    environ = {**target.environ, "AIRFLOW_CONN_PLANT": plant}
    account = airflow.run("airflow_fan_out", environ=environ, files=str(tmp_path / "landing"))
    assert account["state"] == "success", account["log"]
    assert target.rows(TABLE) == READINGS
    merged = {name: account["tasks"][f"receipt_of_{name}"]["xcom"]["return_value"] for name in ("files", "rows")}
    assert {name: (one["rows_acked"], one["shards"]) for name, one in merged.items()} == {
        "files": (500, 8),
        "rows": (500, 4),
    }


def test_the_example_of_a_handoff_delivers_each_file_and_row_once(airflow, target, tmp_path):
    for table in ("main.default.new_readings", "main.default.new_orders"):
        target.server.create_table(f"CREATE TABLE {table} (id BIGINT, note STRING)")
    (tmp_path / "landing").mkdir()
    connection = sqlite3.connect(tmp_path / "shop.db")
    connection.execute("CREATE TABLE orders (id INTEGER, note TEXT)")
    shop = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "shop.db")})
    environ = {**target.environ, "HANDOFF_FOLDER": str(tmp_path), "AIRFLOW_CONN_SHOP": shop}
    for number in range(2):
        (tmp_path / "landing" / f"{number}.jsonl").write_text(f'{{"id": {number}}}\n')
        with connection:
            connection.execute("INSERT INTO orders VALUES (?, 'x')", [number])
        account = airflow.run("airflow_handoff", environ=environ)
        assert account["state"] == "success", account["log"]
    connection.close()
    assert [row["id"] for row in target.rows("main.default.new_readings")] == [0, 1]
    assert [row["id"] for row in target.rows("main.default.new_orders")] == [0, 1]


@pytest.mark.usefixtures("empty_table")
def test_the_example_of_a_delivery_behind_tasks_runs(airflow, target, tmp_path):
    account = airflow.run("airflow_behind_a_task", environ=target.environ, folder=str(tmp_path))
    assert account["state"] == "success", account["log"]
    assert [row["sensor"] for row in target.rows(TABLE)] == list(range(1, 1_000))


@pytest.mark.usefixtures("empty_table")
def test_the_examples_of_dead_letters_run_one_after_the_other(airflow, target, tmp_path):
    (tmp_path / "a.csv").write_text("sensor,celsius\n1,20.5\n2,20.75\nthree,21.0\n")
    letters = tmp_path / "bad.jsonl"
    places = {"files": str(tmp_path / "*.csv"), "letters": str(letters)}
    account = airflow.run("airflow_dead_letters", environ=target.environ, **places)
    assert account["state"] == "success", account["log"]
    letters.write_text(letters.read_text().replace('"three"', '"3"'))
    account = airflow.run("airflow_dead_letters_replayed", environ=target.environ, **places)
    assert account["state"] == "success", account["log"]
    assert [row["sensor"] for row in target.rows(TABLE)] == [1, 2, 3]
