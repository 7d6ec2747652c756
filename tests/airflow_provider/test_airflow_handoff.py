"""Handoffs in a real Airflow: scheduled runs, a run that is killed and retried, and a run that is cleared."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.airflow_provider.conftest import AIRFLOW
from zerobus_airflow import SqlToZerobusOperator, ZerobusIngestOperator
from zerobus_core import Checkpoint, ConfigurationError, Handoff, NewFiles, NewRows


def receipt_of(account):
    assert account["tasks"]["push"]["state"] == "success", account["log"]
    return account["tasks"]["push"]["xcom"]["return_value"]


@pytest.fixture
def environ(target, tmp_path):
    orders = {"conn_type": "sqlite", "host": str(tmp_path / "orders.db")}
    return {**target.environ, "HANDOFF_FOLDER": str(tmp_path), "AIRFLOW_CONN_ORDERS": json.dumps(orders)}


@pytest.fixture
def run(airflow, target, tmp_path, environ):
    table = target.new_table()

    def one(dag_id, **conf):
        return airflow.run(dag_id, environ=environ, table=table, state=str(tmp_path / "state.json"), **conf)

    one.table = table
    return one


def ids(target, table):
    return [row["id"] for row in target.rows(table)]


def write(folder: Path, name: str, *numbers: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(f'{{"id": {number}}}\n' for number in numbers))


@pytest.mark.matrix
@pytest.mark.skipif(AIRFLOW < (3, 1), reason="a run that is cleared cannot go on in the process of the tests")
def test_three_runs_deliver_new_files_once_and_a_cleared_one_again(airflow, run, target, tmp_path, environ):
    landing = tmp_path / "landing"
    accounts = []
    for number in range(3):
        write(landing, f"{number}.jsonl", number, number + 10)
        accounts.append(run("new_files"))
        receipt = receipt_of(accounts[-1])
        assert (receipt["rows_acked"], receipt["handoff"]["files"]) == (2, 1)
        assert receipt["handoff"]["name"] == "new_files.push"
    assert ids(target, run.table) == [0, 1, 2, 10, 11, 12]
    assert run("new_files")["tasks"]["push"]["state"] == "skipped"
    again = receipt_of(airflow.clear(accounts[1], "push", environ=environ))
    assert (again["rows_acked"], again["rows_redelivered"]) == (2, 2)
    assert again["handoff"]["slice"] == receipt_of(accounts[1])["handoff"]["slice"]
    assert ids(target, run.table) == [0, 1, 1, 2, 10, 11, 11, 12]
    write(landing, "3.jsonl", 3)
    assert receipt_of(run("new_files"))["rows_acked"] == 1, "a cleared run moves nothing"


def test_a_run_that_is_killed_is_retried_with_the_rest_of_its_slice(run, target, tmp_path, environ):
    for newest, trap in ((3_000, False), (9_000, True), (9_500, False)):
        (tmp_path / "newest").write_text(str(newest))
        if trap:
            (tmp_path / "trap").touch()
        account = run("new_items")
        if account["tasks"]["push"]["state"] in {"failed", "up_for_retry"}:  # no second attempt in this process
            account = run("new_items")
        receipt = receipt_of(account)
        assert receipt["handoff"]["to"] == newest
        assert not (tmp_path / "trap").exists()
    stored = ids(target, run.table)
    assert sorted(set(stored)) == list(range(9_500))


def grow(folder: Path, dag_id: str, number: int) -> None:
    ids = range(number * 600, (number + 1) * 600)
    if dag_id == "killed_files":
        for part in range(3):
            write(folder / "landing", f"{number}-{part}.jsonl", *ids[part::3])
        return
    connection = sqlite3.connect(folder / "killed.db")
    connection.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER)")
    connection.executemany("INSERT INTO orders VALUES (?)", [(each,) for each in ids])
    connection.commit()
    connection.close()


@pytest.mark.parametrize("dag_id", ["killed_files", "killed_rows"])
def test_three_runs_of_which_one_is_killed_deliver_every_row_and_a_cleared_one_its_own_again(
    dag_id, airflow, run, target, tmp_path, environ
):
    accounts = []
    for number in range(3):
        grow(tmp_path, dag_id, number)
        if number == 1:
            (tmp_path / "trap").touch()
        account = run(dag_id)
        if account["tasks"]["push"]["state"] in {"failed", "up_for_retry"}:  # no second attempt in this process
            account = run(dag_id)
        assert receipt_of(account)["rows_read"] == 600
        assert not (tmp_path / "trap").exists()
        accounts.append(account)
    stored = ids(target, run.table)
    assert sorted(set(stored)) == list(range(1_800))
    admitted = sum(receipt_of(account)["rows_resent"] for account in accounts)
    assert len(stored) - 1_800 <= admitted
    if AIRFLOW >= (3, 1):  # before, a run that is cleared cannot go on in the process of the tests
        again = receipt_of(airflow.clear(accounts[2], "push", environ=environ))
        assert (again["rows_acked"], again["rows_redelivered"]) == (600, 600)
        assert sorted(ids(target, run.table)) == sorted([*stored, *range(1_200, 1_800)])


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="assets have no state before Airflow 3.3")
def test_new_rows_keep_their_state_in_the_asset(airflow, target, tmp_path, environ):
    target.server.create_table("CREATE TABLE main.default.handoff_orders (id BIGINT, note STRING)")
    connection = sqlite3.connect(tmp_path / "orders.db")
    connection.execute("CREATE TABLE orders (id INTEGER, note TEXT)")
    accounts = []
    for number in range(3):
        connection.executemany("INSERT INTO orders VALUES (?, 'x')", [(number * 10 + each,) for each in range(5)])
        connection.commit()
        accounts.append(airflow.run("new_rows", environ=environ))
        assert receipt_of(accounts[-1])["rows_acked"] == 5
    connection.close()
    again = receipt_of(airflow.clear(accounts[0], "push", environ=environ))
    assert (again["rows_acked"], again["rows_redelivered"], again["handoff"]["to"]) == (5, 5, 4)
    stored = ids(target, "main.default.handoff_orders")
    assert sorted(set(stored)) == [number * 10 + each for number in range(3) for each in range(5)]
    assert len(stored) == 20
    assert receipt_of(airflow.run("new_rows", environ=environ))["rows_read"] == 0


def test_a_handoff_without_a_place_for_its_state_says_where_to_put_it(run):
    account = run("new_rows_without_a_place")
    assert account["tasks"]["push"]["state"] == "failed"
    assert "set state_uri" in account["log"]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda: ZerobusIngestOperator(task_id="x", table="a.b.c", source=NewFiles("/x/*.csv"), resume="never"),
            "never",
        ),
        (
            lambda: SqlToZerobusOperator(
                task_id="x", table="a.b.c", sql="SELECT 1", sql_conn_id="y", incremental="a", ordered_by="a"
            ),
            "ordered_by cannot be used",
        ),
        (
            lambda: SqlToZerobusOperator(task_id="x", table="a.b.c", sql="SELECT 1", sql_conn_id="y", lag=3.0),
            "lag needs incremental",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused_when_the_dag_is_parsed(build, words):
    with pytest.raises(ConfigurationError, match=words):
        build()


def test_a_new_rows_source_can_be_given_to_the_plain_operator():
    source = NewRows(lambda: None, "SELECT 1 AS a", column="a", lag_rows=0)
    operator = ZerobusIngestOperator(task_id="x", table="a.b.c", source=source, state_uri="/x.json")
    assert operator.source is source


def test_a_slice_is_frozen_by_one_task_delivered_by_mapped_ones_and_finished_by_the_last(run, target, tmp_path):
    landing = tmp_path / "landing"
    for number in range(6):
        write(landing, f"{number}.jsonl", *range(number * 100, (number + 1) * 100))
    fault = target.server.faults.add(action="cut", at="before_commit", table=run.table, message=10, times=1)
    try:
        account = run("slice_by_shards")
    finally:
        target.server.faults.remove(fault)
    assert account["state"] == "success", account["log"]
    tries = [account["tasks"][f"push[{index}]"]["tries"] for index in range(3)]
    assert sorted(tries) == [1, 1, 2], "only the shard that failed is tried again"
    receipt = account["tasks"]["finish_slice"]["xcom"]["return_value"]
    assert (receipt["rows_read"], receipt["shards"], receipt["handoff"]["files"]) == (600, 3, 6)
    assert receipt["rows_acked"] + receipt["rows_skipped"] == 600
    assert receipt["rows_skipped"] > 0
    stored = ids(target, run.table)
    assert sorted(set(stored)) == list(range(600))
    assert len(stored) - 600 <= receipt["rows_resent"]
    nothing = run("slice_by_shards")
    assert nothing["tasks"]["finish_slice"]["state"] == "skipped", "nothing is new"
    write(landing, "6.jsonl", 600)
    assert run("slice_by_shards")["tasks"]["finish_slice"]["xcom"]["return_value"]["rows_acked"] == 1


def aged(state: Path, **by: float) -> None:
    """Let the clock of a state go on: what is written in it, and in its checkpoints, is older by then."""

    def older(time):
        return (datetime.fromisoformat(time) - timedelta(**by)).isoformat()

    plain = json.loads(state.read_text())
    plain["open"]["lease"]["taken_at"] = older(plain["open"]["lease"]["taken_at"])
    state.write_text(json.dumps(plain))
    for path in state.with_name(f"{state.name}.d").glob("*.checkpoint.json"):
        checkpoint = Checkpoint.from_json(path.read_text())
        path.write_text(replace(checkpoint, written_at=older(checkpoint.written_at)).to_json())


@pytest.fixture
def dead_run(run, target, tmp_path):
    """A run of which one shard has died for good, after it and the others had sent rows."""
    for number in range(6):
        write(tmp_path / "landing", f"{number}.jsonl", *range(number * 100, (number + 1) * 100))
    (tmp_path / "no_retries").touch()
    fault = target.server.faults.add(action="cut", at="before_commit", table=run.table, message=5, times=1)
    try:
        account = run("slice_by_shards")
    finally:
        target.server.faults.remove(fault)
    states = [account["tasks"][name]["state"] for name in ("push[0]", "push[1]", "push[2]", "finish_slice")]
    assert sorted(states) == ["failed", "success", "success", "upstream_failed"], account["log"]
    return account


@pytest.mark.parametrize("ends", ["by itself", "by a person"])
def test_a_later_run_takes_up_the_slice_of_a_run_that_died_when_its_lease_ends(dead_run, run, target, tmp_path, ends):
    write(tmp_path / "landing", "6.jsonl", 600)
    state = tmp_path / "state.json"
    busy = run("slice_by_shards")
    assert busy["tasks"]["freeze_slice"]["state"] == "failed"
    assert "lease lasts until" in busy["log"], busy["log"]
    assert dead_run["run_id"] in busy["log"]
    if ends == "by itself":
        aged(state, hours=1)
    else:
        source = NewFiles(tmp_path / "landing" / "*.jsonl")
        Handoff(target.workspace, run.table, source, state=state).end_lease()
    receipt = run("slice_by_shards")["tasks"]["finish_slice"]["xcom"]["return_value"]
    assert (receipt["rows_read"], receipt["shards"]) == (600, 3), "the same slice and the same shards"
    assert receipt["rows_acked"] + receipt["rows_skipped"] == 600
    assert receipt["rows_skipped"] >= 400
    assert receipt["handoff"]["remaining"], "what came since is for the next run"
    assert run("slice_by_shards")["tasks"]["finish_slice"]["xcom"]["return_value"]["rows_acked"] == 1
    stored = ids(target, run.table)
    assert sorted(set(stored)) == list(range(601))
    assert len(stored) - 601 <= receipt["rows_resent"]


@pytest.mark.parametrize(
    ("source", "state_uri", "match"),
    [("landing/", "s.json", "must be NewFiles or NewRows"), (None, None, "state_uri")],
)
def test_a_shard_of_a_slice_needs_its_source_and_its_state(source, state_uri, match, tmp_path):
    with pytest.raises(ConfigurationError, match=match):
        ZerobusIngestOperator(
            task_id="push",
            table="a.b.c",
            source=source or NewFiles(tmp_path),
            state_uri=state_uri,
            shard={"zerobus_shard": 2},
        )
