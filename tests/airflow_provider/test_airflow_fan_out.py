"""Shards as mapped tasks: split on a worker, delivered and tried again one by one, merged into one receipt."""

from __future__ import annotations

import json
import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import guarded_files  # noqa: F401 - registers a file system
from tests.airflow_provider.conftest import needs_state
from zerobus_airflow import SqlToZerobusOperator, ZerobusIngestOperator, pool_arguments
from zerobus_airflow.lineage import file_datasets
from zerobus_airflow.links import dead_letters_page
from zerobus_core import ConfigurationError, NewFiles, SqlQuery, split_source


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


def test_a_merging_task_that_runs_whatever_became_of_the_shards_fails_and_names_those_that_failed(
    airflow, target, table, landing
):
    fault = target.server.faults.add(action="cut", at="before_commit", table=table, message=5, times=1)
    try:
        account = airflow.run(
            "fan_out_whatever_became_of_the_shards", environ=target.environ, table=table, source=str(landing)
        )
    finally:
        target.server.faults.remove(fault)
    failed = [index for index in range(4) if account["tasks"][f"push[{index}]"]["state"] == "failed"]
    assert len(failed) == 1, account["log"]
    assert account["tasks"]["merge_receipts"]["state"] == "failed", "it would have made the run a success"
    assert f"1 of 4 shards have no receipt: {failed[0]}. 600 rows" in account["log"], account["log"]


def test_a_shard_without_rows_skips_nothing_and_on_empty_is_refused(airflow, target, table, tmp_path):
    for number, rows in enumerate((3, 0)):
        lines = "".join(f'{{"id": {row}}}\n' for row in range(rows))
        (tmp_path / f"{number}.jsonl").write_text(lines)
    source = f"{tmp_path}/*.jsonl"
    refused = airflow.run("fan_out_that_is_skipped_if_empty", environ=target.environ, table=table, source=source)
    assert refused["tasks"]["merge_receipts"]["state"] == "upstream_failed", "and not skipped, with rows in the table"
    assert "on_empty='skip' is about a whole source, but this task" in refused["log"], refused["log"]
    assert target.rows(table) == []
    account = airflow.run("fan_out", environ=target.environ, table=table, source=source)
    merged = receipt_of(account, "merged")
    assert (merged["rows_acked"], merged["shards"]) == (3, 2)


def test_a_task_whose_shard_is_none_does_not_deliver_the_whole_source(airflow, target, table, landing):
    account = airflow.run("shard_of_a_task_that_returns_none", environ=target.environ, table=table, source=str(landing))
    assert [account["tasks"][name]["state"] for name in ("push", "mapped[0]")] == ["failed", "failed"]
    assert account["log"].count("shard is None") >= 2
    assert target.rows(table) == []


def test_one_file_is_one_shard(airflow, target, table, tmp_path):
    pq.write_table(pa.Table.from_pylist(rows_from(0, 5)), tmp_path / "0.parquet")
    merged = receipt_of(airflow.run("fan_out", environ=target.environ, table=table, source=str(tmp_path)), "merged")
    assert (merged["rows_acked"], merged["shards"]) == (5, 1)


def test_shards_of_files_that_changed_after_the_split_fail_at_once_and_send_nothing(airflow, target, table, landing):
    account = airflow.run("files_that_change_after_the_split", environ=target.environ, table=table, source=str(landing))
    states = [(account["tasks"][f"push[{index}]"][what]) for index in range(2) for what in ("state", "tries")]
    assert states == ["failed", 1, "failed", 1], account["log"]
    assert "are not those that were split" in account["log"]
    assert account["tasks"]["merge_receipts"]["state"] == "upstream_failed"
    assert target.rows(table) == []


@needs_state
def test_secrets_in_uris_are_in_nothing_that_airflow_keeps_or_shows(airflow, target, table, tmp_path):
    (tmp_path / "landing").mkdir()
    for number in range(4):
        lines = "".join(json.dumps(row) + "\n" for row in rows_from(number * 10, 10))
        (tmp_path / "landing" / f"{number}.jsonl").write_text(lines)
    secrets = ("S3CR3T-of-a-password", "S3CR3T%2Fof-a-signature")
    guarded = {
        "AIRFLOW_VAR_GUARDED_PLACE": f"guarded://me:{secrets[0]}@host{tmp_path}",
        "AIRFLOW_VAR_GUARDED_SIGNATURE": f"?sig={secrets[1]}",
    }
    account = airflow.run("guarded_files", environ={**target.environ, **guarded}, table=table)
    assert account["state"] == "success", account["log"]
    assert [receipt_of(account, name)["rows_acked"] for name in ("finish_slice", "merge_receipts")] == [40, 40]
    state_uri = account["tasks"]["freeze_slice"]["fields"]["op_kwargs"]["state_uri"]
    assert state_uri.startswith("guarded://me:***@host"), "masked, and not left out"
    kept = [path for path in airflow.home.rglob("*") if path.is_file()]
    assert any(path.name == "airflow.db" for path in kept)
    found = {path.name for path in kept for secret in secrets if secret.encode() in path.read_bytes()}
    assert found == set()
    lineage = repr(file_datasets(f"guarded://me:{secrets[0]}@host/x.csv?sig={secrets[1]}"))
    page = dead_letters_page(f"https://me:{secrets[0]}@host/x.jsonl?sig={secrets[1]}", "https://x.example")
    assert "S3CR3T" not in lineage + page


def test_a_shard_that_does_not_contain_its_source_has_no_data_set(landing):
    shards = split_source(f"guarded://me:S3CR3T@host{landing}/*.parquet", 2)
    assert [shard["source"] for shard in shards] == [None, None]
    assert [file_datasets(shard) for shard in shards] == [[], []]


@pytest.mark.parametrize("on_empty", ["skip", "fail"])
def test_on_empty_of_a_shard_is_refused_when_the_dag_is_parsed(on_empty, tmp_path):
    """A shard that is skipped would skip the last task, and the slice would stay open."""
    given = {"task_id": "push", "table": "a.b.c", "shard": {"zerobus_shard": 2}, "on_empty": on_empty}
    with pytest.raises(ConfigurationError, match="about a whole source"):
        ZerobusIngestOperator(source=NewFiles(tmp_path), state_uri=str(tmp_path / "s.json"), **given)
    with pytest.raises(ConfigurationError, match="about a whole source"):
        SqlToZerobusOperator(sql="SELECT 1 AS id", sql_conn_id="rows_db", **given)


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
    with pytest.raises(ConfigurationError, match="whole number, at least 1"):
        pool_arguments(0)
