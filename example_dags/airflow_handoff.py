"""Each run delivers what is new: files of a folder, and rows of a table that appeared or changed."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG

from zerobus_airflow import SqlToZerobusOperator, ZerobusIngestOperator
from zerobus_core import NewFiles

FOLDER = os.environ.get("HANDOFF_FOLDER", "/data")

with DAG(
    "airflow_handoff",
    schedule=None,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
):
    ZerobusIngestOperator(
        task_id="files",
        table="main.default.new_readings",
        source=NewFiles(f"{FOLDER}/landing/*.jsonl", max_files=1_000),
        # This file records what was delivered; a retry, or the next run, delivers the rest.
        state_uri=f"{FOLDER}/state/new_readings.json",
    )
    SqlToZerobusOperator(
        task_id="rows",
        table="main.default.new_orders",
        sql="SELECT id, note FROM orders",
        sql_conn_id="shop",
        # Rows appear in the order of their ids, and none becomes visible late.
        incremental="id",
        key="id",
        commits_in_order=True,
        state_uri=f"{FOLDER}/state/new_orders.json",
    )
