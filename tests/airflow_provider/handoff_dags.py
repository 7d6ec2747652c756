"""Dags of the tests that deliver what is new; where files and databases are comes in by the environment."""

from __future__ import annotations

import json
import os
import signal
from datetime import timedelta
from pathlib import Path

from zerobus_airflow import SqlToZerobusOperator, ZerobusIngestOperator, table_asset
from zerobus_airflow.compat import DAG
from zerobus_core import NewFiles, NewItems

TABLE = "{{ dag_run.conf['table'] }}"
STATE = "{{ dag_run.conf['state'] }}"
connection = json.loads(os.environ.get("AIRFLOW_CONN_ZEROBUS_DEFAULT", '{"host": "https://x.example"}'))
FOLDER = Path(os.environ.get("HANDOFF_FOLDER", "/nowhere"))


def push_dag(dag_id, **defaults):
    return DAG(dag_id, schedule=None, default_args={"retries": 0, "retry_delay": timedelta(0), **defaults})


with push_dag("new_files", retries=1):
    ZerobusIngestOperator(
        task_id="push", table=TABLE, source=NewFiles(FOLDER / "landing" / "*.jsonl"), state_uri=STATE, on_empty="skip"
    )


with push_dag("new_rows"):
    SqlToZerobusOperator(
        task_id="push",
        table="main.default.handoff_orders",
        sql="SELECT id, note FROM orders",
        sql_conn_id="orders",
        incremental="id",
        key="id",
        lag_rows=0,
        outlets=[table_asset(connection["host"], "main.default.handoff_orders")],
    )


with push_dag("new_rows_without_a_place"):
    SqlToZerobusOperator(
        task_id="push", table=TABLE, sql="SELECT 1 AS id", sql_conn_id="orders", incremental="id", lag_rows=0
    )


def fetch(since, upto):
    newest = int((FOLDER / "newest").read_text())
    return records(since or 0, upto or newest), upto or newest


def records(since, upto):
    trap = FOLDER / "trap"
    for number in range(since, upto):
        if number == since + 2_000 and trap.exists():
            trap.unlink()
            os.kill(os.getpid(), signal.SIGTERM)
        yield {"id": number, "note": "x"}


with push_dag("new_items", retries=2):
    ZerobusIngestOperator(
        task_id="push",
        table=TABLE,
        source=NewItems(fetch),
        state_uri=STATE,
        options={"batch_rows": 100, "max_unacked_bytes": 20_000},
    )
