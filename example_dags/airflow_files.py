"""Files by path: Parquet, CSV, JSON Lines, Arrow or Avro; a retry after a failure sends the rows that are missing."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from zerobus_airflow import ZerobusIngestOperator

with DAG(
    "airflow_files",
    schedule=None,
    params={"files": "s3://landing/readings/*.parquet"},
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
):
    ZerobusIngestOperator(
        task_id="deliver",
        table="main.default.readings",
        source="{{ params.files }}",
        options={"streams": 2},
        on_empty="skip",
    )
