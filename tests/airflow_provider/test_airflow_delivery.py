"""Real Dags in a real Airflow, delivered by the real SDK to a local server, read back from the Delta tables."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.airflow_provider.conftest import AIRFLOW, needs_state
from zerobus_airflow.observe import Observer
from zerobus_core import Progress, Receipt
from zerobus_local import LocalZerobusProcess


@pytest.fixture
def run(airflow, target):
    """Runs a Dag that pushes into ``table``."""

    def run(dag_id, table, **conf):
        return airflow.run(
            dag_id, environ={**target.environ, "WORKSPACE_URL": target.workspace.workspace_url}, table=table, **conf
        )

    return run


@pytest.fixture
def table(target):
    return target.new_table()


# The signal itself, before Airflow 3.
INTERRUPTED = {"IngestInterruptedError", "AirflowTaskTerminated"}


def rows_from(start, count):
    return [{"id": n, "note": f"row {n}"} for n in range(start, start + count)]


def receipt_of(account, task_id="push"):
    return account["tasks"][task_id]["xcom"]["return_value"]


@pytest.mark.matrix
def test_records_in_the_dag_file_arrive_as_they_are_and_are_not_rendered(run, target, table):
    account = run("literal_list", table)
    assert account["state"] == "success", account["log"]
    assert target.rows(table) == [
        {"id": 1, "note": "{{ 1 + 1 }}"},
        {"id": 2, "note": "report.json"},
        {"id": 3, "note": None},
    ]


def test_options_for_columns_are_those_of_the_core(run, target):
    table = target.new_table("id BIGINT NOT NULL, note STRING, position BIGINT")
    account = run("column_options", table, note="from the run", version="2")
    assert account["state"] == "success", account["log"]
    assert target.rows(table) == [
        {"id": 1, "note": "from the run", "position": 0},
        {"id": 2, "note": "from the run", "position": 1},
    ]
    assert receipt_of(account)["columns_dropped"] == ["colour", "size"]


@pytest.mark.matrix
def test_the_result_is_the_receipt_as_plain_json(run, table):
    account = run("literal_list", table)
    receipt = receipt_of(account)
    assert set(receipt) == set(Receipt.__slots__)
    assert (receipt["table"], receipt["rows_read"], receipt["rows_acked"]) == (table, 3, 3)
    assert json.loads(json.dumps(receipt)) == receipt


@pytest.mark.matrix
def test_the_link_opens_the_table_in_catalog_explorer(run, target, table):
    links = run("literal_list", table)["tasks"]["push"]["xcom"]
    page = f"{target.workspace.workspace_url}/explore/data/{table.replace('.', '/')}"
    assert links["_link_CatalogExplorerLink"] == page


@pytest.mark.matrix
def test_a_decorated_generator_is_delivered_without_going_through_xcom(run, target, table):
    account = run("generator", table, note="{{ untouched }}")
    assert account["state"] == "success", account["log"]
    assert target.rows(table) == [{"id": n, "note": "{{ untouched }}"} for n in range(1_000)]
    pushed = {key for key, value in account["tasks"]["push"]["xcom"].items() if value}
    assert pushed == {"return_value", "_link_CatalogExplorerLink"}


@pytest.mark.matrix
def test_the_output_of_a_task_is_delivered_whole_gathered_and_mapped(run, target, table):
    other = target.new_table()
    account = run("task_output", table, other=other)
    assert account["state"] == "success", account["log"]
    assert target.rows(table) == rows_from(0, 50) + rows_from(100, 3) + rows_from(200, 4) + rows_from(300, 3)
    assert target.rows(other) == rows_from(0, 50)
    assert [receipt_of(account, f"mapped[{index}]")["rows_acked"] for index in (0, 1)] == [3, 4]


@pytest.mark.matrix
def test_rows_are_not_kept_among_the_rendered_fields(run, target, table):
    tasks = run("task_output", table, other=target.new_table())["tasks"]
    delivering = {task_id: task["fields"]["records"] for task_id, task in tasks.items() if "records" in task["fields"]}
    assert delivering.keys() == {"push", "gathered", "mapped[0]", "mapped[1]", "shared[0]"}
    assert not [task_id for task_id, shown in delivering.items() if "row " in str(shown)]
    assert delivering["push"] == delivering["shared[0]"] == "<list>"


@pytest.mark.matrix
def test_files_named_by_a_template_are_delivered(run, target, table, tmp_path):
    pq.write_table(pa.Table.from_pylist(rows_from(0, 500)), tmp_path / "a.parquet")
    pq.write_table(pa.Table.from_pylist(rows_from(500, 500)), tmp_path / "b.parquet")
    account = run("files", table, source=str(tmp_path / "*.parquet"))
    assert account["state"] == "success", account["log"]
    assert target.rows(table) == rows_from(0, 1_000)


@pytest.mark.matrix
def test_sources_and_functions_are_mapped_to_a_delivery_each(run, target, table, tmp_path):
    pq.write_table(pa.Table.from_pylist(rows_from(0, 5)), tmp_path / "a.parquet")
    account = run(
        "mapped", table, places=[f"{tmp_path}/*.parquet", f"{tmp_path}/*.csv", f"{tmp_path}/{{{{ 'a' }}}}.parquet"]
    )
    states = {task_id: task["state"] for task_id, task in account["tasks"].items() if task_id != "places"}
    assert states == {
        "files[0]": "success",
        "files[1]": "skipped",
        "files[2]": "failed",  # Airflow renders no template in the output of a task
        "template[0]": "success",
        "rows[0]": "success",
        "rows[1]": "success",
    }, account["log"]
    ids = [row["id"] for row in target.rows(table)]
    assert ids == sorted([*range(5), *range(5), *range(100, 105), *range(200, 205)])


def test_the_key_of_a_row_is_the_same_in_all_tries_and_another_one_in_each_mapped_task_and_run(run, target):
    table = target.new_table("id BIGINT, note STRING, delivery STRING, number BIGINT")
    for deliveries in (2, 4):
        account = run("keyed", table)
        assert {task["tries"] for task in account["tasks"].values()} == {2}, account["log"]
        rows = target.server.read(table).to_pylist()
        keys = {(row["delivery"], row["number"]): row["id"] for row in rows}
        assert len(keys) == 5 * deliveries <= len(rows)  # most first tries have also sent theirs
        assert len({delivery for delivery, _ in keys}) == deliveries


def test_templates_in_options_are_rendered_to_text(run, table):
    account = run("rendered_options", table)
    assert {task_id: (task["state"], task["tries"]) for task_id, task in account["tasks"].items()} == {
        "text": ("success", 1),
        "number": ("failed", 1),
    }
    assert "streams" in account["log"]


@pytest.mark.matrix
def test_options_may_be_the_output_of_a_task(run, target, table):
    account = run("options_of_a_task", table, options={"batch_rows": 1})
    assert account["state"] == "success", account["log"]
    assert [receipt_of(account, task_id)["batches"] for task_id in ("whole", "one")] == [4, 2]
    assert target.rows(table) == rows_from(0, 8)


@pytest.mark.parametrize(
    ("options", "message"), [(["streams"], "options is of type list"), ({"streams": 0}, "IngestOptions.streams")]
)
def test_options_of_a_task_that_cannot_be_right_fail_without_a_retry(run, table, options, message):
    account = run("options_of_a_task", table, options=options)
    assert (account["tasks"]["whole"]["state"], account["tasks"]["whole"]["tries"]) == ("failed", 1)
    assert message in account["log"]


# Airflow before 3.2 pins such a version.
TAKES_TEMPLATES_FOR_LOCAL_PATHS = version("universal-pathlib") < "0.3"


def test_an_object_storage_path_is_read_through_its_own_connection(run, target, table, tmp_path):
    pq.write_table(pa.Table.from_pylist(rows_from(0, 5)), tmp_path / "a.parquet")
    account = run("object_storage", table, source=f"file://{tmp_path}/a.parquet")
    states = {task_id: task["state"] for task_id, task in account["tasks"].items()}
    whole = states.pop("whole")
    assert states == {"dataset": "success", "path": "success", "connection": "success"}, account["log"]
    if TAKES_TEMPLATES_FOR_LOCAL_PATHS:
        assert whole == "failed"
        assert "Write the protocol and the bucket before the template: ObjectStoragePath('file://…" in account["log"]
    else:
        assert whole == "success", account["log"]
    copies = 2 if TAKES_TEMPLATES_FOR_LOCAL_PATHS else 3
    assert [row["id"] for row in target.rows(table)] == [*sorted([*range(5)] * copies), 100]


@pytest.mark.matrix
def test_a_function_is_called_with_the_context_that_it_asks_for(run, target, table):
    account = run("callable", table, count=7)
    assert account["state"] == "success", account["log"]
    assert target.rows(table) == rows_from(0, 7)


@pytest.mark.matrix
def test_a_query_is_streamed_from_its_database(airflow, target, table, tmp_path):
    database = tmp_path / "rows.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE rows (id INTEGER, note TEXT)")
        connection.executemany(
            "INSERT INTO rows VALUES (?, ?)", [(row["id"], row["note"]) for row in rows_from(0, 20_000)]
        )
    connection.close()
    environ = {**target.environ, "AIRFLOW_CONN_ROWS_DB": json.dumps({"conn_type": "sqlite", "host": str(database)})}
    account = airflow.run("query", environ=environ, table=table, first=10)
    assert account["state"] == "success", account["log"]
    assert target.rows(table) == rows_from(10, 19_990)
    # Nothing asks for it where no checkpoint is kept.
    assert (receipt_of(account)["source_fingerprint"] is not None) is (AIRFLOW >= (3, 3))


def test_a_connection_that_is_no_database_is_refused_without_a_retry(airflow, target, table):
    environ = {**target.environ, "AIRFLOW_CONN_ROWS_DB": json.dumps(target.connection)}
    account = airflow.run("query", environ=environ, table=table, first=0)
    assert account["tasks"]["push"]["state"] == "failed"
    assert account["tasks"]["push"]["tries"] == 1
    assert "'rows_db' is of type 'zerobus', whose hook ZerobusHook is not a DbApiHook" in account["log"]


def test_a_mistake_in_the_connection_comes_out_before_the_source_is_read(airflow, target, table):
    mistaken = {**target.connection, "login": None, "password": None}
    account = airflow.run("callable", environ={"AIRFLOW_CONN_ZEROBUS_DEFAULT": json.dumps(mistaken)}, table=table)
    assert account["tasks"]["push"]["state"] == "failed"
    assert "Login is empty" in account["log"]
    assert "KeyError" not in account["log"]  # what the function would raise, for want of its configuration


@pytest.mark.matrix
def test_native_rendering_may_give_records_and_a_text_is_refused_without_a_retry(run, target, table):
    assert run("rendered_natively", table, rows=rows_from(0, 2))["state"] == "success"
    assert target.rows(table) == rows_from(0, 2)
    account = run("rendered_text", table)
    assert account["tasks"]["push"]["state"] == "failed"
    assert account["tasks"]["push"]["tries"] == 1
    assert "records was rendered to text" in account["log"]


@pytest.mark.matrix
def test_a_bad_row_is_named_and_not_tried_again(run, target, table):
    account = run("bad_row", table)
    assert account["tasks"]["push"]["state"] == "failed"
    assert account["tasks"]["push"]["tries"] == 1
    assert "row 1, field note" in account["log"]
    assert {"id": 2} not in [{"id": row["id"]} for row in target.rows(table)]


def test_progress_is_told_every_ten_seconds(caplog):
    observer = Observer({}, "main.default.t", logging.getLogger("task"))
    with caplog.at_level(logging.INFO):
        for half_seconds in range(1, 71):
            observer.on_progress(progress_at(half_seconds / 2))
    assert [record.getMessage() for record in caplog.records] == [
        f"main.default.t: {acked} of 1000 rows durable (10 rows/s); 5 in flight on 1 stream, the oldest for 0.2 s"
        for acked in (100, 200, 300)
    ]


def progress_at(seconds):
    return Progress(
        table="main.default.t",
        rows_read=1_000,
        rows_acked=int(seconds * 10),
        rows_skipped=0,
        rows_dead_lettered=0,
        total_rows=1_000,
        unacked_rows=5,
        unacked_bytes=500,
        streams=1,
        rows_per_s=10.0,
        oldest_unacked_s=0.2,
        elapsed_s=seconds,
    )


def test_a_table_that_is_not_there_is_named_and_not_tried_again(run):
    account = run("literal_list", "main.default.nowhere")
    assert account["tasks"]["push"]["state"] == "failed"
    assert account["tasks"]["push"]["tries"] == 1
    assert "TableNotFoundError" in account["log"]


@pytest.mark.matrix
def test_no_rows_are_a_success_a_skip_or_a_failure_as_asked(run, table):
    tasks = run("on_empty", table)["tasks"]
    assert {name: task["state"] for name, task in tasks.items()} == {
        "success": "success",
        "skip": "skipped",
        "fail": "failed",
        "unstated": "success",
    }


@pytest.mark.parametrize("source", ["*.parquet", ""], ids=["a glob", "a directory"])
def test_a_place_without_files_is_a_mistake_unless_it_is_said_what_it_means(run, table, tmp_path, source):
    account = run("no_files", table, source=f"{tmp_path}/{source}")
    assert {name: (task["state"], task["tries"]) for name, task in account["tasks"].items()} == {
        "success": ("success", 1),
        "skip": ("skipped", 1),
        "fail": ("failed", 2),
        "unstated": ("failed", 1),
    }
    assert receipt_of(account, "success")["rows_read"] == 0
    assert "has no files to read" in account["log"]


def test_a_file_that_is_missing_is_a_mistake_whatever_no_rows_mean(run, table, tmp_path):
    account = run("no_files", table, source=f"{tmp_path}/a.parquet")
    assert {(task["state"], task["tries"]) for task in account["tasks"].values()} == {("failed", 1)}
    assert f"there is no file {tmp_path}/a.parquet" in account["log"]


def test_an_outlet_that_is_the_table_tells_the_receipt_to_whom_it_triggers(run, target):
    target.server.create_table("CREATE TABLE main.default.asset_rows (id BIGINT, note STRING)")
    account = run("asset", "main.default.asset_rows")
    assert account["state"] == "success", account["log"]
    (event,) = account["asset_events"]
    assert event["uri"].endswith("/main/default/asset_rows")
    assert event["extra"]["zerobus"] == receipt_of(account)


@needs_state
def test_the_next_try_sends_the_missing_rows_and_no_others(run, target, table):
    account = run("resume_retry", table)
    assert account["state"] == "success", account["log"]
    receipt = receipt_of(account)
    assert account["tasks"]["push"]["tries"] == 2
    assert receipt["rows_skipped"] >= 400
    assert receipt["rows_skipped"] + receipt["rows_acked"] == receipt["rows_read"] == 1_000
    assert target.rows(table) == rows_from(0, 1_000)


@needs_state
def test_a_retry_resumes_the_output_of_a_task_without_being_told_that_it_is_the_same(run, target, table):
    fault = target.server.faults.add(action="cut", at="before_commit", table=table, message=30, times=1)
    try:
        account = run("task_output_retried", table)
    finally:
        target.server.faults.remove(fault)
    assert account["tasks"]["push"]["tries"] == 2
    assert account["state"] == "success", account["log"]
    assert receipt_of(account)["rows_skipped"] == 300
    assert target.rows(table) == rows_from(0, 500)


@needs_state
def test_rows_that_were_deleted_between_two_tries_leave_no_gap_in_the_table(airflow, target, table, tmp_path):
    """The ten rows that moved to the front of the result were taken for rows that are durable."""
    database = tmp_path / "rows.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE rows (id INTEGER, note TEXT)")
        connection.executemany(
            "INSERT INTO rows VALUES (?, ?)", [(row["id"], row["note"]) for row in rows_from(0, 9_000)]
        )
    connection.close()
    environ = {**target.environ, "AIRFLOW_CONN_ROWS_DB": json.dumps({"conn_type": "sqlite", "host": str(database)})}
    fault = target.server.faults.add(action="cut", at="before_commit", table=table, message=11, times=1)
    try:
        account = airflow.run("deleted_ids", environ=environ, table=table, database=str(database))
    finally:
        target.server.faults.remove(fault)
    assert_sent_as_it_is_now(account, target, table)


@needs_state
def test_a_generator_that_yields_other_rows_at_the_second_try_leaves_no_gap_in_the_table(run, target, table):
    assert_sent_as_it_is_now(run("shifted_generator", table), target, table)


def assert_sent_as_it_is_now(account, target, table):
    """The second try notices, and the third one sends all that the source has."""
    assert account["state"] == "success", account["log"]
    assert account["tasks"]["push"]["tries"] == 3
    assert "are durable from an earlier attempt, but the source has other rows there now" in account["log"]
    receipt = receipt_of(account)
    assert (receipt["rows_skipped"], receipt["rows_acked"]) == (0, 8_990)
    assert receipt["started_over"] == "no row is durable in the checkpoint"
    ids = [row["id"] for row in target.rows(table)]
    assert set(range(10, 9_000)) <= set(ids)
    assert len(ids) - len(set(ids)) <= receipt["rows_resent"]


@pytest.mark.parametrize("dag_id", ["resume_never", "not_durable"])
def test_a_task_that_must_not_resume_sends_all_rows_again(run, target, table, dag_id):
    account = run(dag_id, table)
    assert account["state"] == "success", account["log"]
    assert receipt_of(account)["rows_skipped"] == 0
    assert {row["id"] for row in target.rows(table)} == set(range(1_000))
    assert len(target.rows(table)) > 1_000


@needs_state
def test_a_cleared_task_sends_all_rows_again(airflow, run, target, table):
    account = run("resume_retry", table)
    again = airflow.clear(account, "push", environ=target.environ)
    assert again["tasks"]["push"]["state"] == "success", again["log"]
    assert receipt_of(again)["rows_skipped"] == 0
    assert receipt_of(again)["rows_acked"] == 1_000
    assert len(target.rows(table)) == 2_000
    assert "epoch" in again["log"]


@needs_state
def test_a_cleared_task_resumes_where_the_dag_asks_for_it(airflow, run, target, table):
    account = run("resume_always", table)
    again = airflow.clear(account, "push", environ=target.environ)
    assert again["tasks"]["push"]["state"] == "success", again["log"]
    assert receipt_of(again)["rows_skipped"] == 1_000
    assert target.rows(table) == rows_from(0, 1_000)


@pytest.mark.matrix
def test_a_task_that_is_told_to_stop_while_it_sends_ends_failed(run, target, table):
    account = run("killed", table)
    assert seconds_to_fail(account) < AT_ONCE
    assert INTERRUPTED & set(re.findall(r"\w+", account["log"]))


def test_a_task_that_is_told_to_stop_while_its_rows_are_made_sends_none_and_ends_failed(run, target, table):
    account = run("killed_early", table)
    assert account["tasks"]["push"]["state"] == "failed"
    assert target.rows(table) == []


@pytest.mark.matrix
def test_a_task_that_is_told_to_stop_while_it_waits_ends_failed_within_a_second(run, target, table):
    fault = target.server.faults.add(action="withhold_ack", table=table)
    try:
        account = run("waits_killed", table)
    finally:
        target.server.faults.remove(fault)
    assert seconds_to_fail(account) < AT_ONCE
    assert INTERRUPTED & set(re.findall(r"\w+", account["log"]))


# A signal takes effect within a second, and then the checkpoint is written; the rest is for a busy machine. What the
# tasks wait for takes a minute and more.
AT_ONCE = 20.0


def seconds_to_fail(account):
    """From the signal, or from when the task's time was up, to the end of the task."""
    push = account["tasks"]["push"]
    assert push["state"] == "failed", account["log"]
    return push["ended_at"] - float(re.search(r"(?:SIGTERM|timeout) at ([\d.]+)", account["log"])[1])


@contextmanager
def once_there_are_rows(server, table, act, *, rows=1):
    """During the block, wait in a thread until the table has some rows, and then act; the block must not end before."""
    is_over = threading.Event()

    def watch():
        while server.read(table).num_rows < rows:
            assert not is_over.wait(0.05), f"the Dag ended before there were {rows} rows in {table}"
        act()

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield
        finally:
            is_over.set()
        watching.result()


def test_a_task_that_is_told_to_stop_while_its_source_waits_fails_at_once_and_keeps_what_is_acknowledged(
    airflow, run, target, table, tmp_path
):
    go = tmp_path / "go"

    def act():
        time.sleep(1.0)  # the acknowledgement follows the commit, and nobody outside of the task can see it
        go.touch()

    with once_there_are_rows(target.server, table, act):
        account = run("source_waits_killed", table, go=str(go))
    assert seconds_to_fail(account) < AT_ONCE
    if AIRFLOW >= (3, 0):  # before, Airflow's own error comes out of the source
        assert "10 rows read, 10 acknowledged" in account["log"]
    assert target.rows(table) == rows_from(0, 10)
    if AIRFLOW >= (3, 3):  # before, a task has no state, and the next try sends all rows
        again = airflow.clear(account, "push", environ=target.environ)
        assert receipt_of(again)["rows_skipped"] == 10, again["log"]
        assert target.rows(table) == rows_from(0, 20)


@pytest.mark.matrix
def test_a_task_that_is_told_to_stop_while_its_function_waits_fails_at_once(run, target, table):
    account = run("function_waits_killed", table)
    assert seconds_to_fail(account) < AT_ONCE
    assert target.rows(table) == []


@pytest.fixture
def empty_database(target, tmp_path):
    """The environment of a task that may query a database without tables."""
    path = str(tmp_path / "rows.db")
    return {**target.environ, "AIRFLOW_CONN_ROWS_DB": json.dumps({"conn_type": "sqlite", "host": path})}


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("dag_id", "message"), [("query_killed", INTERRUPTED), ("query_too_slow", {"AirflowTaskTimeout"})]
)
def test_a_task_that_is_stopped_while_its_statement_runs_fails_at_once(airflow, table, empty_database, dag_id, message):
    account = airflow.run(dag_id, environ=empty_database, table=table)
    assert seconds_to_fail(account) < AT_ONCE
    assert message & set(re.findall(r"\w+", account["log"]))


@pytest.mark.matrix
def test_an_execution_timeout_takes_effect_while_the_delivery_waits(run, target, table):
    fault = target.server.faults.add(action="withhold_ack", table=table)
    try:
        account = run("too_slow", table)
    finally:
        target.server.faults.remove(fault)
    assert seconds_to_fail(account) < AT_ONCE
    assert "AirflowTaskTimeout" in account["log"]


@pytest.mark.matrix
def test_an_execution_timeout_that_the_rows_suppress_fails_the_task(run, target, table):
    account = run("suppressed_timeout", table)
    assert account["tasks"]["push"]["state"] == "failed"
    assert "IngestInterruptedError" in account["log"]


def test_a_task_that_skips_after_its_first_row_fails_with_its_counts(run, table):
    account = run("skipping", table)
    assert account["tasks"]["early"]["state"] == "skipped"
    assert account["tasks"]["late"]["state"] == "failed"
    assert "AirflowSkipException was raised after the first row (rows so far: 10)" in account["log"]
    assert "10 rows read" in account["log"]


@pytest.fixture
def mortal(tmp_path, connected):
    """A server in a process of its own, with an empty table, that a test may kill."""
    with LocalZerobusProcess.start(tmp_path / "mortal") as server:
        yield connected(server)


def test_a_server_that_dies_for_good_fails_the_task_within_its_deadline(airflow, mortal):
    table = mortal.new_table()
    died_at = []

    def die():
        mortal.server.kill()
        died_at.append(time.time())

    # Enough of them that the first are acknowledged by then.
    with once_there_are_rows(mortal.server, table, die, rows=100):
        account = airflow.run("slow_source", environ=mortal.environ, table=table)
    push = account["tasks"]["push"]
    assert push["state"] == "failed"
    assert push["ended_at"] - died_at[0] < 30 + AT_ONCE
    # The log says how many rows are durable, and the table has at least those.
    (acknowledged,) = set(re.findall(r"(\d+) acknowledged", account["log"]))
    assert 0 < int(acknowledged) <= len(mortal.rows(table))


def test_a_server_that_comes_back_is_not_noticed_by_the_task(airflow, mortal, tmp_path):
    table = mortal.new_table()
    enough = tmp_path / "enough"

    def come_back():
        mortal.server.restart()
        enough.touch()

    with once_there_are_rows(mortal.server, table, come_back):
        account = airflow.run("patient", environ=mortal.environ, table=table, enough=str(enough))
    assert account["state"] == "success", account["log"]
    assert account["tasks"]["push"]["tries"] == 1
    receipt = receipt_of(account)
    count = receipt["rows_read"]
    assert receipt["rows_acked"] == count
    assert receipt["reconnects"] >= 1
    numbers = [row["id"] for row in mortal.rows(table)]
    assert set(numbers) == set(range(count))
    assert len(numbers) - count <= receipt["rows_resent"]


def test_no_secret_is_in_a_log_or_in_the_database(airflow, run, target, table):
    run("literal_list", table)
    for file in airflow.home.rglob("*"):
        if file.is_file():
            assert target.secret.encode() not in file.read_bytes(), file
