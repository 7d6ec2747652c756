"""Dags whose tasks fail or are skipped, and what a retry does then."""

from __future__ import annotations

import sqlite3

from dag_parts import TABLE, push_dag, rows_from

from zerobus_airflow import SqlToZerobusOperator, ZerobusIngestOperator
from zerobus_airflow.compat import AirflowSkipException, task

with push_dag("skipping", retries=1):

    @task.zerobus_ingest(table=TABLE, options={"batch_rows": 5})
    def push(count):
        yield from rows_from(0, count)
        raise AirflowSkipException("nothing more today")

    push.override(task_id="early")(0)
    push.override(task_id="late")(10)


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


with push_dag("bad_row", retries=3):

    @task.zerobus_ingest(table=TABLE)
    def push():
        yield {"id": 1, "note": "good"}
        yield {"id": 2, "note": ["not", "a", "text"]}

    push()


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


with push_dag("kept_in_files", retries=1):
    breaks_once.override(task_id="push", checkpoint_uri="{{ dag_run.conf['checkpoints'] }}")()


with push_dag("kept_by_configuration", retries=1):
    breaks_once.override(task_id="push")()


with push_dag("made_meanwhile", retries=2):

    @task
    def give_name(dag_run=None):
        return dag_run.conf["table"]

    ZerobusIngestOperator(task_id="patient", table=give_name(), records=rows_from(0, 2), retry_permanent_errors=True)


with push_dag("no_connection", retries=1):
    ZerobusIngestOperator(task_id="push", table=TABLE, records=rows_from(0, 1), zerobus_conn_id="nowhere")
    SqlToZerobusOperator(task_id="query", table=TABLE, sql="SELECT 1 AS id", sql_conn_id="nowhere")


with push_dag("bad_names", retries=1):

    @task
    def give_nothing():
        return None

    JINJA, TWO_PARTS = "{{ dag_run.conf['jinja'] }}", "{{ dag_run.conf['two_parts'] }}"
    ZerobusIngestOperator(task_id="nested_table", table=JINJA, records=rows_from(0, 1))
    ZerobusIngestOperator(task_id="short_table", table=TWO_PARTS, records=rows_from(0, 1))
    ZerobusIngestOperator(task_id="no_table", table=give_nothing(), records=rows_from(0, 1))
    ZerobusIngestOperator(task_id="nested_connection", table=TABLE, records=rows_from(0, 1), zerobus_conn_id=JINJA)
    SqlToZerobusOperator(task_id="nested_database", table=TABLE, sql="SELECT 1 AS id", sql_conn_id=JINJA)


with push_dag("versions_of_mapped", retries=0):

    @task
    def starts(dag_run=None):
        return dag_run.conf["starts"]

    @task.zerobus_ingest(table=TABLE, resume="always", options={"source_version": "1", "batch_rows": 5})
    def rows(start):
        yield from rows_from(start, 10)

    rows.expand(start=starts())
