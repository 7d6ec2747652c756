"""Shards as mapped tasks: split on a worker, delivered and tried again one by one, merged into one receipt."""

from __future__ import annotations

import json
import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.airflow_provider.conftest import needs_state
from zerobus_airflow import SqlToZerobusOperator, ZerobusIngestOperator, pool_arguments
from zerobus_core import ConfigurationError, SqlQuery, split_source


def rows_from(start, count):
    return [{"id": n, "note": f"row {n}"} for n in range(start, start + count)]


def receipt_of(account, task_id):
    return account["tasks"][task_id]["xcom"]["return_value"]


@pytest.fixture
def table(target):
    return target.new_table()


@pytest.fixture
def landing(tmp_path):
    for number in range(8):
        pq.write_table(pa.Table.from_pylist(rows_from(number * 100, 100)), tmp_path / f"{number}.parquet")
    return tmp_path


@needs_state
def test_only_the_shard_that_failed_is_tried_again_and_it_resumes(airflow, target, table, landing):
    fault = target.server.faults.add(action="cut", at="before_commit", table=table, message=10, times=1)
    try:
        account = airflow.run("fan_out", environ=target.environ, table=table, source=str(landing))
    finally:
        target.server.faults.remove(fault)
    assert account["state"] == "success", account["log"]
    tries = [account["tasks"][f"push[{index}]"]["tries"] for index in range(4)]
    assert sorted(tries) == [1, 1, 1, 2]
    merged = receipt_of(account, "merged")
    assert (merged["rows_read"], merged["shards"], merged["table"]) == (800, 4, table)
    assert merged["rows_acked"] + merged["rows_skipped"] == 800
    assert merged["rows_skipped"] > 0
    ids = [row["id"] for row in target.rows(table)]
    assert sorted(set(ids)) == list(range(800))
    assert len(ids) - 800 <= merged["rows_resent"]


def test_shards_of_a_query_are_mapped_with_the_connection_of_the_task(airflow, target, table, tmp_path):
    with sqlite3.connect(tmp_path / "rows.db") as connection:
        connection.execute("CREATE TABLE rows (id INTEGER, note TEXT)")
        connection.executemany("INSERT INTO rows VALUES (:id, :note)", [*rows_from(0, 300), {"id": None, "note": "x"}])
    connection.close()
    rows_db = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "rows.db")})
    table = target.new_table("id BIGINT, note STRING")
    account = airflow.run("fan_out_of_rows", environ={**target.environ, "AIRFLOW_CONN_ROWS_DB": rows_db}, table=table)
    assert account["state"] == "success", account["log"]
    assert receipt_of(account, "merge_receipts")["rows_acked"] == 301
    assert receipt_of(account, "merge_receipts")["shards"] == 4
    ids = target.server.read(table).column("id").to_pylist()
    assert sorted(ids, key=lambda key: (key is None, key)) == [*range(300), None]
    shards = receipt_of(account, "split_sql")
    assert "SELECT" not in json.dumps(shards)
    assert "rows.db" not in json.dumps(shards)


def test_shards_that_are_not_mapped_are_refused_and_not_delivered_as_rows(airflow, target, table, landing):
    account = airflow.run("all_shards_at_once", environ=target.environ, table=table, source=str(landing))
    assert account["tasks"]["push"]["state"] == "failed"
    assert "records is a list of shards" in account["log"]
    assert target.rows(table) == []


def test_an_empty_source_has_no_shards_and_nothing_is_delivered(airflow, target, table, tmp_path):
    account = airflow.run("fan_out", environ=target.environ, table=table, source=f"{tmp_path}/*.parquet")
    assert account["tasks"]["shards"]["state"] == "success", account["log"]
    assert account["tasks"]["merged"]["state"] == "skipped"
    assert target.rows(table) == []


@needs_state
def test_a_cleared_generator_that_is_mapped_over_other_arguments_is_another_source(airflow, target, table):
    """The version that the user states is of the call, so that index 0 does not skip rows of another list."""
    first = airflow.run("versions_of_mapped", environ=target.environ, table=table, starts=[0])
    second = airflow.run("versions_of_mapped", environ=target.environ, table=table, starts=[100])
    prints = {receipt_of(account, "rows[0]")["source_fingerprint"] for account in (first, second)}
    assert len(prints) == 2, first["log"]


@pytest.mark.parametrize(
    "other", [{"ordered_by": "id"}, {"parameters": [1]}, {"incremental": "id", "commits_in_order": True}]
)
def test_a_shard_with_what_orders_or_bounds_rows_otherwise_is_refused(other, tmp_path):
    with sqlite3.connect(tmp_path / "rows.db") as connection:
        connection.execute("CREATE TABLE rows (id INTEGER)")
        connection.executemany("INSERT INTO rows VALUES (?)", [(1,), (2,)])
    connection.close()
    query = SqlQuery(lambda: sqlite3.connect(tmp_path / "rows.db"), "SELECT id FROM rows")
    shard = split_source(query, 2, by="id")[0]
    with pytest.raises(ConfigurationError, match="cannot be used with shard"):
        SqlToZerobusOperator(
            task_id="push", table="a.b.c", sql="SELECT id FROM rows", sql_conn_id="rows_db", shard=shard, **other
        )


def test_tasks_are_put_into_the_pool_that_the_configuration_names(monkeypatch):
    monkeypatch.delenv("AIRFLOW__ZEROBUS__POOL", raising=False)
    assert pool_arguments(2) == {}, "a task whose pool does not exist is never scheduled"
    monkeypatch.setenv("AIRFLOW__ZEROBUS__POOL", "streams")
    mapped = ZerobusIngestOperator.partial(task_id="push", table="a.b.c", **pool_arguments(2)).expand(source=["x.csv"])
    assert (mapped.pool, mapped.pool_slots) == ("streams", 2)
    with pytest.raises(ConfigurationError, match="whole number from 1"):
        pool_arguments(0)
