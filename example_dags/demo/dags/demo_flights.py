"""A Dag that pushes the flights; the task after the push runs only when every row is durable.

    airflow dags test demo_flights --conf '{"receipt": "receipt.json"}'

This command needs the table (``example_dags.demo.source.flights_sql``) and the connection ``zerobus_default``.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, task

from example_dags.demo.source import FLIGHT_ROWS, flights
from zerobus_airflow import ZerobusIngestOperator


def first_flights(params):
    return flights(params["rows"])


with DAG(
    "demo_flights",
    schedule=None,
    params={"table": "main.default.flights", "rows": FLIGHT_ROWS, "receipt": "receipt.json"},
    default_args={"retries": 1, "retry_delay": timedelta(seconds=6)},
) as dag:
    push = ZerobusIngestOperator(
        task_id="push",
        table="{{ params.table }}",
        records_callable=first_flights,
        options={
            # Small batches, and few of them unacknowledged, so that the server can be killed in the middle.
            "batch_rows": 2_000,
            "max_unacked_bytes": 1_000_000,
            # Short, so that an attempt without a server fails in seconds; the defaults wait minutes for the server.
            "max_attempts": 5,
            "open_timeout": 3.0,
            "ack_timeout": 10.0,
        },
    )

    @task
    def keep_receipt(receipt, params=None):
        Path(params["receipt"]).write_text(json.dumps(receipt))

    keep_receipt(push.output)
