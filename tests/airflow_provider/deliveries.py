"""Dags that the tests run; what differs from test to test comes in as the run's configuration."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import threading
import time
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pyarrow.dataset
from fsspec.implementations.memory import MemoryFileSystem

from zerobus_airflow import (
    DeadLetterReplayOperator,
    SqlToZerobusOperator,
    ZerobusIngestOperator,
    merge_receipts_task,
    split_source_task,
    split_sql_task,
    table_asset,
)
from zerobus_airflow.compat import DAG, IS_AIRFLOW_3, AirflowSkipException, ObjectStoragePath, task
from zerobus_core import split_source

attach = import_module("airflow.sdk.io" if IS_AIRFLOW_3 else "airflow.io.store").attach
TABLE = "{{ dag_run.conf['table'] }}"


def push_dag(dag_id, **defaults):
    return DAG(dag_id, schedule=None, default_args={"retries": 0, "retry_delay": timedelta(0), **defaults})


def rows_from(start, count):
    return [{"id": n, "note": f"row {n}"} for n in range(start, start + count)]


with push_dag("literal_list", retries=2):
    ZerobusIngestOperator(
        task_id="push",
        table=TABLE,
        records=[{"id": 1, "note": "{{ 1 + 1 }}"}, {"id": 2, "note": "report.json"}, {"id": 3, "note": None}],
    )


with push_dag("column_options"):
    ZerobusIngestOperator(
        task_id="push",
        table=TABLE,
        records=[{"key": 1, "colour": "red"}, {"key": 2, "size": 3}],
        options={
            "transform": "builtins:dict",
            "transform_version": "{{ dag_run.conf['version'] }}",
            "rename": {"key": "ID"},
            "constants": {"note": "{{ dag_run.conf['note'] }}"},
            "metadata_columns": {"row_number": "position"},
            "extra_columns": "drop",
        },
    )


with push_dag("generator"):

    @task.zerobus_ingest(table=TABLE)
    def push(count, dag_run=None):
        for row in rows_from(0, count):
            yield {**row, "note": dag_run.conf["note"]}

    push(1_000)


with push_dag("async_generator"):

    @task.zerobus_ingest(table=TABLE)
    async def push(count, dag_run=None):
        for row in rows_from(0, count):
            yield {**row, "note": dag_run.conf["note"]}
            await asyncio.sleep(0)

    push(1_000)


with push_dag("async_function"):

    @task.zerobus_ingest(table=TABLE)
    async def push():
        await asyncio.sleep(0)
        return rows_from(0, 10)

    push()


with push_dag("async_timeout"):

    @task.zerobus_ingest(table=TABLE, execution_timeout=timedelta(seconds=20), options={"batch_rows": 10})
    async def push():
        for row in rows_from(0, 100):
            yield row
        await asyncio.Event().wait()

    push()


with push_dag("suppressed_timeout"):

    @task.zerobus_ingest(table=TABLE, execution_timeout=timedelta(seconds=20), options={"batch_rows": 10})
    def push():
        try:
            for row in rows_from(0, 100_000):
                yield row
                time.sleep(0.01)
        except BaseException:  # noqa: BLE001
            return

    push()


with push_dag("skipping", retries=1):

    @task.zerobus_ingest(table=TABLE, options={"batch_rows": 5})
    def push(count):
        yield from rows_from(0, count)
        raise AirflowSkipException("nothing more today")

    push.override(task_id="early")(0)
    push.override(task_id="late")(10)


with push_dag("task_output"):

    @task
    def upstream():
        return rows_from(0, 50)

    @task
    def one_row(number):
        return {"id": number, "note": f"row {number}"}

    made = upstream()
    ZerobusIngestOperator(task_id="push", table=TABLE, records=made)
    ZerobusIngestOperator(task_id="gathered", table=TABLE, records=one_row.expand(number=[300, 301, 302]))
    ZerobusIngestOperator.partial(task_id="mapped", table=TABLE).expand(records=[rows_from(100, 3), rows_from(200, 4)])
    ZerobusIngestOperator.partial(task_id="shared", records=made).expand(table=["{{ dag_run.conf['other'] }}"])


with push_dag("task_output_retried", retries=1):

    @task
    def upstream():
        return rows_from(0, 500)

    ZerobusIngestOperator(
        task_id="push",
        table=TABLE,
        records=upstream(),
        options={"batch_rows": 10, "max_unacked_bytes": 1, "max_attempts": 1},
    )


with push_dag("files"):
    ZerobusIngestOperator(task_id="push", table=TABLE, source="{{ dag_run.conf['source'] }}")


with push_dag("mapped"):

    @task
    def places(dag_run=None):
        return dag_run.conf["places"]

    @task.zerobus_ingest(table=TABLE)
    def rows(start):
        yield from rows_from(start, 5)

    ZerobusIngestOperator.partial(task_id="files", table=TABLE, on_empty="skip").expand(source=places())
    ZerobusIngestOperator.partial(task_id="template", table=TABLE).expand(source=["{{ dag_run.conf['places'][0] }}"])
    rows.expand(start=[100, 200])


with push_dag("keyed", retries=1):

    @task.zerobus_ingest(
        table=TABLE,
        resume="never",
        options={
            "batch_rows": 5,
            "delivery_columns": {"delivery_id": "delivery", "row_number": "number"},
            "source_version": "1",
        },
    )
    def rows(start, ti=None):
        """Five rows; the first try ends after them."""
        yield from rows_from(start, 5)
        if ti.try_number == 1:
            raise RuntimeError("after the last row")

    rows.expand(start=[100, 200])


with push_dag("rendered_options", retries=1):
    for task_id, options in {
        "text": {"source_version": "{{ run_id }}"},
        "number": {"streams": "{{ 2 }}"},
    }.items():
        ZerobusIngestOperator(task_id=task_id, table=TABLE, records=rows_from(0, 1), options=options)


with push_dag("options_of_a_task", retries=1):

    @task
    def options(dag_run=None):
        return dag_run.conf["options"]

    @task
    def batch_rows():
        return 2

    ZerobusIngestOperator(task_id="whole", table=TABLE, records=rows_from(0, 4), options=options())
    ZerobusIngestOperator(task_id="one", table=TABLE, records=rows_from(4, 4), options={"batch_rows": batch_rows()})


with push_dag("object_storage"):

    @task.zerobus_ingest(table=TABLE)
    def dataset(dag_run=None):
        path = ObjectStoragePath(dag_run.conf["source"])
        return pyarrow.dataset.dataset(path.path, filesystem=path.fs)

    dataset()
    ZerobusIngestOperator(task_id="path", table=TABLE, source=ObjectStoragePath("{{ dag_run.conf['source'] }}"))
    # A bucket in memory, which only the connection's own file system can read.
    bucket = MemoryFileSystem()
    bucket.pipe("/bucket/rows.jsonl", b'{"id": 100, "note": "of the connection"}\n')
    attach("s3", conn_id="aws", fs=bucket)
    ZerobusIngestOperator(
        task_id="connection", table=TABLE, source=ObjectStoragePath("s3://bucket/rows.jsonl", conn_id="aws")
    )


with push_dag("callable"):
    ZerobusIngestOperator(
        task_id="push", table=TABLE, records_callable=lambda dag_run: rows_from(0, dag_run.conf["count"])
    )


with push_dag("query"):
    SqlToZerobusOperator(
        task_id="push",
        table=TABLE,
        sql="SELECT id, note FROM rows WHERE id >= ? ORDER BY id",
        parameters=["{{ dag_run.conf['first'] }}"],
        ordered_by="id",
        sql_conn_id="rows_db",
    )


with push_dag("bad_row", retries=3):

    @task.zerobus_ingest(table=TABLE)
    def push():
        yield {"id": 1, "note": "good"}
        yield {"id": 2, "note": ["not", "a", "text"]}

    push()


def ticking(rows):
    """A few rows, then a pause, until there are enough: a source that is slower than the delivery."""
    for row in rows:
        yield row
        time.sleep(0.01)


with push_dag("slow_source"):

    @task.zerobus_ingest(
        table=TABLE,
        options={"batch_rows": 10, "timeout": 30.0, "open_timeout": 1.0, "ack_timeout": 2.0, "max_attempts": 3},
    )
    def push():
        return ticking(rows_from(0, 100_000))

    push()


with push_dag("patient"):

    @task.zerobus_ingest(table=TABLE, options={"batch_rows": 10, "max_attempts": 20})
    def push(dag_run=None):
        """Rows until there is a file that says that they are enough."""
        enough = Path(dag_run.conf["enough"])
        for row in ticking(rows_from(0, 100_000)):
            yield row
            if enough.exists():
                return

    push()


with push_dag("rendered_text", retries=2):
    ZerobusIngestOperator(task_id="push", table=TABLE, records="{{ [{'id': 1}] }}")

with DAG("rendered_natively", schedule=None, render_template_as_native_obj=True):
    ZerobusIngestOperator(task_id="push", table=TABLE, records="{{ dag_run.conf['rows'] }}")


with push_dag("on_empty"):
    for meaning in ("success", "skip", "fail"):
        ZerobusIngestOperator(task_id=meaning, table=TABLE, records=[], on_empty=meaning)
    ZerobusIngestOperator(task_id="unstated", table=TABLE, records=[])


with push_dag("no_files", retries=1):
    for meaning in ("success", "skip", "fail", None):
        ZerobusIngestOperator(
            task_id=meaning or "unstated", table=TABLE, source="{{ dag_run.conf['source'] }}", on_empty=meaning
        )


@task.zerobus_ingest(table=TABLE, options={"source_version": "{{ run_id }}", "batch_rows": 100, "max_unacked_bytes": 1})
def breaks_once(ti=None):
    """1,000 rows; the first try ends with an error after 500 of them."""
    for row in rows_from(0, 1_000):
        if row["id"] == 500 and ti.try_number == 1:
            raise OSError("the source broke")
        yield row


for policy in ("retry", "always", "never"):
    with push_dag(f"resume_{policy}", retries=1):
        breaks_once.override(task_id="push", resume=policy)()

with push_dag("not_durable", retries=1):
    breaks_once.override(task_id="push", resume="never", checkpoint_uri="/unused")()


class QueryOfAShrinkingTable(SqlToZerobusOperator):
    """Before its second try, someone deletes the rows with the lowest ids."""

    def execute(self, context):
        if context["ti"].try_number == 2:
            with sqlite3.connect(context["dag_run"].conf["database"]) as connection:
                connection.execute("DELETE FROM rows WHERE id < 10")
        return super().execute(context)


with push_dag("deleted_ids", retries=2):
    QueryOfAShrinkingTable(
        task_id="push",
        table=TABLE,
        sql="SELECT id, note FROM rows ORDER BY id",
        ordered_by="id",
        sql_conn_id="rows_db",
        options={"batch_rows": 500, "max_unacked_bytes": 1, "max_attempts": 1},
    )


with push_dag("shifted_generator", retries=2):

    @task.zerobus_ingest(table=TABLE, options={"source_version": "1", "batch_rows": 500, "max_unacked_bytes": 1})
    def push(ti=None):
        """9,000 rows, which begin with another one from the second try on; the first try ends after 5,000."""
        first = 0 if ti.try_number == 1 else 10
        for row in rows_from(first, 9_000 - first):
            if row["id"] == 5_000 and ti.try_number == 1:
                raise OSError("the source broke")
            yield row

    push()


def endless_rows(after, act):
    """Rows without end; ``act`` is called once the first ``after`` are under way."""
    number = 0
    while True:
        if number == after:
            act()
        yield {"id": number, "note": "endless"}
        number += 1


def terminate():
    print(f"SIGTERM at {time.time()}", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)


with push_dag("killed"):

    @task.zerobus_ingest(table=TABLE)
    def push():
        return endless_rows(50_000, terminate)

    push()


with push_dag("killed_early"):

    @task.zerobus_ingest(table=TABLE)
    def push():
        os.kill(os.getpid(), signal.SIGTERM)
        return rows_from(0, 10)

    push()


with push_dag("waits_killed"):

    @task.zerobus_ingest(table=TABLE, options={"batch_rows": 10})
    def push():
        # Its acknowledgements never come, so that the signal finds the delivery waiting for them.
        threading.Timer(2.0, terminate).start()
        return rows_from(0, 10)

    push()


def terminate_once_there_is(path):
    """A signal as soon as the test makes a file."""

    def watch():
        while not path.exists():
            time.sleep(0.05)
        terminate()

    threading.Thread(target=watch, daemon=True).start()


with push_dag("source_waits_killed"):

    @task.zerobus_ingest(table=TABLE, resume="always", options={"batch_rows": 10, "source_version": "1"})
    def push(ti=None, dag_run=None):
        """20 rows; the first try waits in the midst of them for longer than anyone would."""
        yield from rows_from(0, 10)
        if ti.try_number == 1:
            terminate_once_there_is(Path(dag_run.conf["go"]))
            time.sleep(120.0)
        yield from rows_from(10, 10)

    push()


with push_dag("function_waits_killed"):

    @task.zerobus_ingest(table=TABLE)
    def push():
        threading.Timer(1.0, terminate).start()
        time.sleep(60.0)
        return rows_from(0, 10)

    push()


def tell_timeout(context):
    """Called by Airflow just before it starts the clock."""
    print(f"timeout at {time.time() + context['task'].execution_timeout.total_seconds()}", flush=True)


with push_dag("too_slow"):

    @task.zerobus_ingest(table=TABLE, execution_timeout=timedelta(seconds=2), on_execute_callback=tell_timeout)
    def push():
        return rows_from(0, 10)

    push()


def endless_query(task_id, **parameters):
    """A delivery of a statement that would run for minutes before its first row."""
    SqlToZerobusOperator(
        task_id=task_id,
        table=TABLE,
        sql="WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT count(*) AS id FROM n",
        sql_conn_id="rows_db",
        **parameters,
    )


with push_dag("query_killed"):
    endless_query("push", on_execute_callback=lambda _context: threading.Timer(2.0, terminate).start())


with push_dag("query_too_slow"):
    endless_query(
        "push",
        execution_timeout=timedelta(seconds=2),
        on_execute_callback=tell_timeout,
    )


with push_dag("asset"):
    ZerobusIngestOperator(
        task_id="push",
        table="main.default.asset_rows",
        records=rows_from(0, 5),
        # The workspace is the test's own server; in a real Dag this is a constant.
        outlets=[
            table_asset(
                os.environ.get("WORKSPACE_URL", "https://dbc-1.cloud.databricks.com"), "main.default.asset_rows"
            )
        ],
    )


with push_dag("kept_in_files", retries=1):
    breaks_once.override(task_id="push", checkpoint_uri="{{ dag_run.conf['checkpoints'] }}")()


with push_dag("kept_by_configuration", retries=1):
    breaks_once.override(task_id="push")()


with push_dag("sources_of_a_task"):

    @task
    def places(dag_run=None):
        return dag_run.conf["places"]

    @task
    def nothing():
        return None

    some = places()
    ZerobusIngestOperator(task_id="files", table=TABLE, source=some)
    ZerobusIngestOperator(task_id="skipped", table=TABLE, source=some, on_empty="skip")
    ZerobusIngestOperator(task_id="nothing_given", table=TABLE, source=nothing())
    ZerobusIngestOperator(task_id="no_rows", table=TABLE, records=some)


def three_rows(start, dag_run, *, note):
    return [{"id": n, "note": f"{note} {dag_run.conf['word']}"} for n in range(start, start + 3)]


def only_even(rows, **context):
    """As SQLInsertRowsOperator has it: the rows, and the context as keyword arguments."""
    assert context["ti"].task_id
    return (row for row in rows if row["id"] % 2 == 0)


with push_dag("arguments"):
    ZerobusIngestOperator(
        task_id="push",
        table=TABLE,
        records_callable=three_rows,
        op_args=[10],
        op_kwargs={"note": "{{ dag_run.conf['word'] }}"},
    )
    ZerobusIngestOperator(task_id="processed", table=TABLE, records=rows_from(0, 5), rows_processor=only_even)


with push_dag("query_processed"):
    SqlToZerobusOperator(
        task_id="push",
        table=TABLE,
        sql="SELECT id, note FROM rows ORDER BY id",
        sql_conn_id="rows_db",
        rows_processor=only_even,
    )


with push_dag("other_outlet"):
    ZerobusIngestOperator(
        task_id="push",
        table=TABLE,
        records=rows_from(0, 1),
        outlets=[table_asset("https://dbc-1.cloud.databricks.com", "main.default.another")],
    )


with push_dag("made_meanwhile", retries=2):

    @task
    def give_name(dag_run=None):
        return dag_run.conf["table"]

    ZerobusIngestOperator(task_id="patient", table=give_name(), records=rows_from(0, 2), retry_permanent_errors=True)


with push_dag("no_connection", retries=1):
    ZerobusIngestOperator(task_id="push", table=TABLE, records=rows_from(0, 1), zerobus_conn_id="nowhere")
    SqlToZerobusOperator(task_id="query", table=TABLE, sql="SELECT 1 AS id", sql_conn_id="nowhere")


with push_dag("dead_letters"):
    LETTERS = "{{ dag_run.conf['letters'] }}"
    letters_of = ZerobusIngestOperator(
        task_id="push",
        table=TABLE,
        records=[{"id": 1, "note": "good"}, {"id": "two", "note": "bad"}, {"id": 3, "note": None}],
        options={"on_bad_record": "dead_letter", "dead_letter_uri": LETTERS},
    )
    letters_of >> DeadLetterReplayOperator(task_id="replay", table=TABLE, dead_letter_uri=LETTERS)


with push_dag("fan_out", retries=1):

    @task
    def shards(dag_run=None):
        return split_source(dag_run.conf["source"], 4)

    pushed = ZerobusIngestOperator.partial(
        task_id="push", table=TABLE, options={"batch_rows": 10, "max_unacked_bytes": 1, "max_attempts": 1}
    ).expand(source=shards())
    merge_receipts_task.override(task_id="merged")(pushed.output)


with push_dag("fan_out_of_rows"):
    pushed = SqlToZerobusOperator.partial(
        task_id="push", table=TABLE, sql="SELECT id, note FROM rows", sql_conn_id="rows_db"
    ).expand(shard=split_sql_task("SELECT id, note FROM rows", "rows_db", 3, by="id"))
    merge_receipts_task(pushed.output)


with push_dag("all_shards_at_once"):
    ZerobusIngestOperator(task_id="push", table=TABLE, source=split_source_task("{{ dag_run.conf['source'] }}", 4))


with push_dag("versions_of_mapped", retries=0):

    @task
    def starts(dag_run=None):
        return dag_run.conf["starts"]

    @task.zerobus_ingest(table=TABLE, resume="always", options={"source_version": "1", "batch_rows": 5})
    def rows(start):
        yield from rows_from(start, 10)

    rows.expand(start=starts())
