"""One delivery on several workers: shards of files and of a query, delivered by mapped tasks, with one receipt.

Airflow retries only the shards that failed. If an Airflow has many such Dags, put the mapped tasks into a pool, and let
each take one slot for each stream that it opens: ``pool="zerobus", pool_slots=2``.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from zerobus_airflow import (
    SqlToZerobusOperator,
    ZerobusIngestOperator,
    merge_receipts_task,
    split_source_task,
    split_sql_task,
)

QUERY = "SELECT sensor, celsius FROM readings"

with DAG(
    "airflow_fan_out",
    schedule=None,
    params={"files": "s3://landing/readings/"},
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
):
    # Files: a task lists them when it runs; they are never listed while this Dag is parsed.
    files = ZerobusIngestOperator.partial(
        task_id="deliver_files",
        table="main.default.readings",
        options={"streams": 2},
        max_active_tis_per_dagrun=8,
    ).expand(source=split_source_task("{{ params.files }}", 8))
    merge_receipts_task.override(task_id="receipt_of_files")(files.output)

    # A query: each shard is a range of its key. Shards contain neither the query nor a connection.
    rows = SqlToZerobusOperator.partial(
        task_id="deliver_rows",
        table="main.default.readings",
        sql=QUERY,
        sql_conn_id="plant",
    ).expand(shard=split_sql_task(sql=QUERY, sql_conn_id="plant", n=4, by="sensor"))
    merge_receipts_task.override(task_id="receipt_of_rows")(rows.output)
