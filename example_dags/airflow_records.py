"""Rows that a function makes: they are delivered while they are made, and never go through XCom."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task


@dag(schedule=None, default_args={"retries": 3, "retry_delay": timedelta(seconds=30)})
def airflow_records():
    # Every attempt of a run makes the same rows. ``source_version`` states that, so a retry sends only missing rows.
    @task.zerobus_ingest(table="main.default.readings", options={"source_version": "{{ run_id }}"})
    def readings():
        for sensor in range(1_000):
            yield {"sensor": sensor, "celsius": 20 + sensor / 100}

    @task
    def report(receipt):
        print(f"{receipt['rows_acked']} rows are durable in {receipt['table']}")

    report(readings())


airflow_records()
