"""What is seen of a delivery from outside: the task's state, counters, lineage and links."""

from __future__ import annotations

import json
import sqlite3
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
from fsspec.implementations.local import LocalFileSystem

from zerobus_airflow import SqlToZerobusOperator, ZerobusIngestOperator
from zerobus_airflow.assets import table_page_url
from zerobus_airflow.compat import IS_AIRFLOW_3, AirflowFailException, AirflowSkipException, Stats
from zerobus_airflow.links import dead_letters_page

ROWS = [{"id": n, "note": f"row {n}"} for n in range(10)]


class TaskState(dict):
    """The part of Airflow's task state that operators use; it answers with JSON, as the real one does."""

    def get(self, key, default=None):
        return json.loads(super().get(key, json.dumps(default)))

    def set(self, key, value, *, retention=None):
        self[key] = json.dumps(value)
        self.setdefault("seen", []).append(value)


@pytest.fixture
def context():
    ti = SimpleNamespace(dag_id="dag", run_id="run", task_id="task", map_index=-1, max_tries=0, try_number=1)
    return {
        "ti": ti,
        "dag_run": SimpleNamespace(clear_number=0),
        "task_state_store": TaskState(),
        "outlet_events": {},
    }


@pytest.fixture
def push(target, monkeypatch, context):
    monkeypatch.setenv("AIRFLOW_CONN_ZEROBUS_DEFAULT", json.dumps(target.connection))

    def push(kind=ZerobusIngestOperator, **parameters):
        operator = kind(task_id="push", **parameters)
        operator.execute(context)
        return operator

    return push


@pytest.fixture
def counted(monkeypatch):
    counts = {}

    def incr(name, count=1, rate=1, *, tags=None):
        assert set(tags) == {"table"}
        counts[name] = counts.get(name, 0) + count

    monkeypatch.setattr(Stats, "incr", incr, raising=False)
    return counts


@pytest.mark.matrix
def test_the_tasks_state_shows_that_it_connects_and_then_the_receipt(push, target, context):
    operator = push(table=target.new_table(), records=ROWS)
    states = [value["state"] for value in context["task_state_store"]["seen"] if "state" in value]
    assert (states[0], states[-1]) == ("connecting", "success")
    kept = context["task_state_store"].get("zerobus/delivery")
    assert kept["receipt"] == operator.receipt.as_dict()


def test_the_tasks_state_shows_the_counts_of_a_failure_and_no_value_of_a_row(push, target, context):
    with pytest.raises(AirflowFailException):
        push(table=target.new_table(), records=[*ROWS, {"id": "private"}])
    kept = context["task_state_store"].get("zerobus/delivery")
    assert (kept["state"], kept["error"]) == ("failed", "RecordError")
    assert "private" not in json.dumps(kept)


def test_a_state_that_cannot_be_written_does_not_fail_the_task(push, target, context, monkeypatch, caplog):
    def fail(*_args, **_kwargs):
        raise OSError("the API is gone")

    monkeypatch.setattr(context["task_state_store"], "set", fail, raising=False)
    assert push(table=target.new_table(), records=ROWS).receipt.rows_acked == 10
    assert "the delivery is not affected" in caplog.text


@pytest.mark.matrix
def test_rows_and_deliveries_are_counted(push, target, counted):
    push(table=target.new_table(), records=ROWS)
    assert counted == {"zerobus.rows_acked": 10, "zerobus.deliveries.success": 1}


def test_failed_deliveries_are_counted(push, target, counted):
    with pytest.raises(AirflowFailException):
        push(table=target.new_table(), records=[{"id": "x"}])
    assert counted == {"zerobus.deliveries.failure": 1}


needs_openlineage = pytest.mark.skipif(
    find_spec("airflow.providers.openlineage") is None, reason="the provider for OpenLineage is not installed"
)


@needs_openlineage
def test_openlineage_gets_the_table_with_rows_bytes_and_columns(push, target, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"id": 1, "note": "a"}\n')
    table = target.new_table()
    operator = push(table=table, source=str(tmp_path / "rows.jsonl"))
    lineage = operator.get_openlineage_facets_on_complete(None)
    (output,) = lineage.outputs
    host = target.workspace.workspace_url.removeprefix("http://")
    assert (output.namespace, output.name) == (f"databricks://{host}", table)
    assert output.outputFacets["outputStatistics"].rowCount == 1
    assert output.outputFacets["outputStatistics"].size == operator.receipt.bytes_sent > 0
    columns = [(field.name, field.type.upper()) for field in output.facets["schema"].fields]
    assert columns == [("id", "BIGINT"), ("note", "STRING")]
    (source,) = lineage.inputs
    assert (source.namespace, source.name) == ("file", str(tmp_path / "rows.jsonl"))


@needs_openlineage
def test_openlineage_gets_the_tables_of_a_query(push, target, tmp_path, monkeypatch):
    path = tmp_path / "rows.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE orders (id INTEGER, note TEXT)")
    connection.commit()
    connection.close()
    monkeypatch.setenv("AIRFLOW_CONN_ROWS_DB", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    operator = push(
        SqlToZerobusOperator, table=target.new_table(), sql="SELECT id, note FROM orders", sql_conn_id="rows_db"
    )
    # SQLite has no name that OpenLineage knows, so the inputs are left out, and the output is there all the same.
    lineage = operator.get_openlineage_facets_on_complete(None)
    assert lineage.inputs == []
    assert len(lineage.outputs) == 1


def test_openlineage_gets_nothing_of_a_skipped_delivery(push, target):
    operator = ZerobusIngestOperator(task_id="skipped", table=target.new_table(), records=[], on_empty="skip")
    with pytest.raises(AirflowSkipException):
        push(lambda **_: operator)
    assert operator.get_openlineage_facets_on_complete(None) is None


@pytest.mark.parametrize(
    ("uri", "page"),
    [
        ("s3://bucket/bad/a b.jsonl", "https://s3.console.aws.amazon.com/s3/object/bucket?prefix=bad/a%20b.jsonl"),
        ("gs://bucket/a.jsonl", "https://console.cloud.google.com/storage/browser/_details/bucket/a.jsonl"),
        ("/Volumes/main/default/bad/a.jsonl", "https://dbc-1.example/explore/data/volumes/main/default/bad/a.jsonl"),
        (
            "dbfs:/Volumes/main/default/bad/a.jsonl",
            "https://dbc-1.example/explore/data/volumes/main/default/bad/a.jsonl",
        ),
        ("https://host/a.jsonl?token=secret", "https://host/a.jsonl"),
        ("/tmp/a.jsonl", ""),
    ],
)
def test_the_link_to_dead_letters_opens_the_page_of_their_storage(uri, page):
    assert dead_letters_page(uri, "https://dbc-1.example/") == page


def test_the_link_to_dead_letters_is_there_once_there_are_some(push, target):
    letters = {"on_bad_record": "dead_letter", "dead_letter_uri": "memory://bad/letters.jsonl"}
    operator = push(table=target.new_table(), records=[*ROWS, {"id": "x"}], options=letters)
    assert operator.receipt.rows_dead_lettered == 1
    assert operator.dead_letters == ""  # memory has no page


@pytest.mark.skipif(IS_AIRFLOW_3, reason="Airflow 3 computes and stores the links by itself")
def test_a_task_that_fails_has_links_to_its_table_and_dead_letters(push, target, context, tmp_path, monkeypatch):
    class Bucket(LocalFileSystem):
        """A local folder in the place of a bucket."""

        protocol = "gs"

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(str(path).replace("gs://bucket", str(tmp_path)))

    monkeypatch.setitem(import_module("fsspec.registry")._registry, "gs", Bucket)
    links = {}
    context["ti"].xcom_push = lambda key, value: links.update({key: value})
    table = target.new_table()
    letters = {"on_bad_record": "dead_letter", "dead_letter_uri": "gs://bucket/bad.jsonl", "max_bad_records": 1}
    with pytest.raises(AirflowFailException):
        push(table=table, records=[*ROWS, {"id": "x"}, {"id": "y"}], options=letters)
    assert links == {
        "_link_CatalogExplorerLink": table_page_url(target.workspace.workspace_url, table),
        "_link_DeadLettersLink": "https://console.cloud.google.com/storage/browser/_details/bucket/bad.jsonl",
    }


def test_execute_can_be_called_without_a_dag_as_unit_tests_do(push, target):
    assert push(table=target.new_table(), records=ROWS).receipt.rows_acked == 10
