"""Deliveries after existing tasks: one task returns rows, and another task the names of the files that it wrote."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, task

from zerobus_airflow import ZerobusIngestOperator

with DAG(
    "airflow_behind_a_task",
    schedule=None,
    params={"folder": "/data/readings"},
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
):

    @task
    def extract():
        """Return a few rows; they go through XCom, which can hold thousands of rows, but not millions."""
        return [{"sensor": 1, "celsius": 21.5}]

    @task
    def export(params=None):
        """Write many rows to a file in storage; only the name of the file goes through XCom."""
        import json
        from pathlib import Path

        file = Path(params["folder"]) / "readings.jsonl"
        file.write_text("".join(json.dumps({"sensor": n, "celsius": 20.0}) + "\n" for n in range(2, 1_000)))
        return [str(file)]

    ZerobusIngestOperator(task_id="deliver_rows", table="main.default.readings", records=extract())
    # If the list of files is empty, there are no rows, and Airflow skips this task and the tasks after it.
    ZerobusIngestOperator(task_id="deliver_files", table="main.default.readings", source=export(), on_empty="skip")
