"""A delivery behind tasks that are there already: one hands over rows, another the names of the files that it wrote."""

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
        """Some rows: they go through XCom, which is good for thousands, not for millions."""
        return [{"sensor": 1, "celsius": 21.5}]

    @task
    def export(params=None):
        """Many rows: the files go to storage, and only their names through XCom."""
        import json
        from pathlib import Path

        file = Path(params["folder"]) / "readings.jsonl"
        file.write_text("".join(json.dumps({"sensor": n, "celsius": 20.0}) + "\n" for n in range(2, 1_000)))
        return [str(file)]

    ZerobusIngestOperator(task_id="deliver_rows", table="main.default.readings", records=extract())
    # An empty list of files is a delivery of no rows, and skips what comes after it.
    ZerobusIngestOperator(task_id="deliver_files", table="main.default.readings", source=export(), on_empty="skip")
