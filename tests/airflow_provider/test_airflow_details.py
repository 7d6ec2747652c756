"""What a Dag author meets besides the plain delivery: sources of other tasks, arguments, skips, time-outs, retries."""

from __future__ import annotations

import json
import re
import sqlite3
from importlib.metadata import version

import pytest

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])


@pytest.fixture
def run(airflow, target):
    """Runs a Dag that pushes into ``table``."""

    def run(dag_id, table, *, environ=None, **conf):
        return airflow.run(dag_id, environ=target.environ | (environ or {}), table=table, **conf)

    return run


@pytest.fixture
def table(target):
    return target.new_table()


def states_of(account):
    return {task_id: task["state"] for task_id, task in account["tasks"].items()}


def receipt_of(account, task_id="push"):
    return account["tasks"][task_id]["xcom"]["return_value"]


def test_a_decorated_async_generator_is_delivered(run, target, table):
    account = run("async_generator", table, note="hello")
    assert account["state"] == "success", account["log"]
    assert receipt_of(account)["rows_acked"] == 1_000
    assert target.rows(table) == [{"id": n, "note": "hello"} for n in range(1_000)]


def test_what_a_decorated_async_function_returns_is_delivered(run, target, table):
    account = run("async_function", table)
    assert account["state"] == "success", account["log"]
    assert [row["id"] for row in target.rows(table)] == list(range(10))


def test_a_timeout_ends_an_async_source_that_waits(run, table):
    account = run("async_timeout", table)
    assert states_of(account) == {"push": "failed"}
    assert "Timeout" in account["log"]


@pytest.mark.matrix
def test_a_checkpoint_in_a_file_lets_the_next_attempt_send_the_missing_rows(run, target, table, tmp_path):
    account = run("kept_in_files", table, checkpoints=f"file://{tmp_path}/kept")
    assert account["state"] == "success", account["log"]
    receipt = receipt_of(account)
    assert account["tasks"]["push"]["tries"] == 2
    assert receipt["rows_skipped"] >= 400
    assert receipt["rows_skipped"] + receipt["rows_acked"] == receipt["rows_read"] == 1_000
    assert [row["id"] for row in target.rows(table)] == list(range(1_000))
    (file,) = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert file.relative_to(tmp_path / "kept").parts[::2] == ("kept_in_files", "push")
    assert file.name == f"{table}.json"


@pytest.mark.skipif(AIRFLOW < (3, 1), reason="a run that is cleared cannot go on in the process of the tests")
def test_a_cleared_task_with_its_checkpoint_in_a_file_sends_all_rows_again(airflow, run, target, table, tmp_path):
    account = run("kept_in_files", table, checkpoints=str(tmp_path))
    again = airflow.clear(account, "push", environ=target.environ)
    assert receipt_of(again)["rows_acked"] == 1_000, again["log"]
    assert "epoch" in again["log"]


@pytest.mark.matrix
@pytest.mark.skipif(AIRFLOW >= (3, 3), reason="newer versions keep the checkpoint in the task's state")
def test_airflows_configuration_may_say_where_checkpoints_are_kept(run, target, table, tmp_path):
    account = run("kept_by_configuration", table, environ={"AIRFLOW__ZEROBUS__CHECKPOINT_URI": str(tmp_path)})
    assert receipt_of(account)["rows_skipped"] >= 400, account["log"]
    assert len(target.rows(table)) == 1_000


@pytest.mark.matrix
@pytest.mark.skipif(AIRFLOW >= (3, 3), reason="newer versions keep the checkpoint in the task's state")
def test_without_a_place_for_checkpoints_every_attempt_sends_all_rows_and_the_log_says_so(run, target, table):
    account = run("kept_by_configuration", table, environ={"AIRFLOW__ZEROBUS__CHECKPOINT_URI": ""})
    assert receipt_of(account)["rows_skipped"] == 0
    assert "no checkpoint_uri is set" in account["log"]
    assert {row["id"] for row in target.rows(table)} == set(range(1_000))


@pytest.mark.matrix
def test_an_empty_list_of_files_is_an_empty_delivery_and_none_is_a_mistake(run, target, table):
    account = run("sources_of_a_task", table, places=[])
    assert states_of(account) == {
        "places": "success",
        "nothing": "success",
        "files": "success",
        "skipped": "skipped",
        "nothing_given": "failed",
        "no_rows": "success",
    }, account["log"]
    assert "source is None" in account["log"]


def test_several_files_may_come_from_a_task(run, target, table, tmp_path):
    for number in (1, 2):
        (tmp_path / f"{number}.jsonl").write_text(json.dumps({"id": number, "note": None}) + "\n")
    account = run("sources_of_a_task", table, places=[f"{tmp_path}/1.jsonl", f"{tmp_path}/2.jsonl"])
    assert account["tasks"]["files"]["state"] == "success", account["log"]
    assert receipt_of(account, "files")["rows_acked"] == 2


@pytest.mark.matrix
def test_a_callable_takes_arguments_and_a_processor_the_rows(run, target, table):
    account = run("arguments", table, word="hello")
    assert account["state"] == "success", account["log"]
    assert target.rows(table) == [
        {"id": 0, "note": "row 0"},
        {"id": 2, "note": "row 2"},
        {"id": 4, "note": "row 4"},
        {"id": 10, "note": "hello hello"},
        {"id": 11, "note": "hello hello"},
        {"id": 12, "note": "hello hello"},
    ]


@pytest.mark.matrix
def test_a_processor_gets_the_rows_of_a_query_by_name(run, target, table, tmp_path):
    database = tmp_path / "rows.db"
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE rows (id INTEGER, note TEXT)")
    connection.executemany("INSERT INTO rows VALUES (?, ?)", [(n, f"row {n}") for n in range(2_500)])
    connection.commit()
    connection.close()
    rows_db = {"AIRFLOW_CONN_ROWS_DB": json.dumps({"conn_type": "sqlite", "host": str(database)})}
    account = run("query_processed", table, environ=rows_db)
    assert account["state"] == "success", account["log"]
    assert [row["id"] for row in target.rows(table)] == list(range(0, 2_500, 2))


def test_an_outlet_that_is_another_table_is_refused_before_anything_is_sent(run, target, table):
    account = run("other_outlet", table)
    assert states_of(account) == {"push": "failed"}
    assert "is not the table that this task delivers to" in account["log"]
    assert target.rows(table) == []


def test_a_table_that_is_made_meanwhile_is_waited_for_if_that_is_asked_for(run, target):
    account = run("made_meanwhile", "main.default.not_yet")
    assert account["tasks"]["patient"]["tries"] == 3
    assert account["tasks"]["patient"]["state"] == "failed"


@pytest.mark.matrix
def test_a_missing_connection_is_named_with_its_parameter_and_not_tried_again(run, table):
    account = run("no_connection", table)
    assert {(task["state"], task["tries"]) for task in account["tasks"].values()} == {("failed", 1)}
    assert "there is no connection 'nowhere'" in account["log"]
    assert "as zerobus_conn_id" in account["log"]
    assert "as sql_conn_id" in account["log"]


@pytest.mark.matrix
def test_a_name_that_cannot_be_one_once_it_is_rendered_is_named_with_its_parameter_and_not_tried_again(
    run, target, table
):
    account = run("bad_names", table, jinja="{{ ds }}", two_parts="default.flights")
    del account["tasks"]["give_nothing"]
    assert {name: (task["state"], task["tries"]) for name, task in account["tasks"].items()} == dict.fromkeys(
        ("nested_table", "short_table", "no_table", "nested_connection", "nested_database"), ("failed", 1)
    )
    # Airflow 3.0 breaks the lines of a traceback, and colours them.
    said = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", account["log"]).split())
    for parameter in ("table", "zerobus_conn_id", "sql_conn_id"):
        assert f"{parameter} is '{{{{ ds }}}}' on the worker, with Jinja that is not rendered" in said
    assert "table is 'default.flights' on the worker, but must be catalog.schema.table, three parts" in said
    assert "must be text, but is None on the worker" in said
    assert "without Jinja" not in said
    assert target.rows(table) == []


@pytest.mark.skipif(AIRFLOW < (3, 1), reason="a run that is cleared cannot go on in the process of the tests")
def test_warnings_and_the_receipt_stand_outside_of_the_folded_lines(airflow, run, target, table, tmp_path):
    account = run("kept_in_files", table, checkpoints=str(tmp_path))
    again = airflow.clear(account, "push", environ=target.environ)
    for log, wanted in ((account["log"], "1000 rows: "), (again["log"], "starting at the first row")):
        before, found, _ = log.partition(wanted)
        assert found, log
        assert "::endgroup::" in before.rpartition("::group::Deliver to")[2]


@pytest.mark.matrix
def test_dead_letters_are_replayed_once_they_can_be_delivered(airflow, run, target, table, tmp_path):
    letters = tmp_path / "letters.jsonl"
    account = run("dead_letters", table, letters=str(letters))
    assert states_of(account) == {"push": "success", "replay": "failed"}, account["log"]
    assert "field id" in account["log"]
    assert receipt_of(account)["rows_dead_lettered"] == 1
    letters.write_text(letters.read_text().replace('"id": {"$text": "two"}', '"id": 2'))
    again = run("dead_letters", table, letters=str(letters))
    assert receipt_of(again, "replay")["rows_acked"] == 1, again["log"]
    assert {"id": 2, "note": "bad"} in target.rows(table)
