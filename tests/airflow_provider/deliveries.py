"""Dags that deliver records of a Dag file, a task or a function.

What differs from test to test comes in as the run's configuration.
"""

from __future__ import annotations

import asyncio
import os

from dag_parts import TABLE, only_even, push_dag, rows_from

from zerobus_airflow import ZerobusIngestOperator, table_asset
from zerobus_airflow.compat import DAG, task

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


with push_dag("callable"):
    ZerobusIngestOperator(
        task_id="push", table=TABLE, records_callable=lambda dag_run: rows_from(0, dag_run.conf["count"])
    )


with push_dag("rendered_text", retries=2):
    ZerobusIngestOperator(task_id="push", table=TABLE, records="{{ [{'id': 1}] }}")


with DAG("rendered_natively", schedule=None, render_template_as_native_obj=True):
    ZerobusIngestOperator(task_id="push", table=TABLE, records="{{ dag_run.conf['rows'] }}")


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


def three_rows(start, dag_run, *, note):
    return [{"id": n, "note": f"{note} {dag_run.conf['word']}"} for n in range(start, start + 3)]


with push_dag("arguments"):
    ZerobusIngestOperator(
        task_id="push",
        table=TABLE,
        records_callable=three_rows,
        op_args=[10],
        op_kwargs={"note": "{{ dag_run.conf['word'] }}"},
    )
    ZerobusIngestOperator(task_id="processed", table=TABLE, records=rows_from(0, 5), rows_processor=only_even)


with push_dag("other_outlet"):
    ZerobusIngestOperator(
        task_id="push",
        table=TABLE,
        records=rows_from(0, 1),
        outlets=[table_asset("https://dbc-1.cloud.databricks.com", "main.default.another")],
    )
