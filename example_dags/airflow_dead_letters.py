"""Rows that do not fit the table go to a dead-letter file; a second Dag sends them once someone has corrected them."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from zerobus_airflow import DeadLetterReplayOperator, ZerobusIngestOperator

PARAMS = {"files": "s3://landing/readings/*.csv", "letters": "s3://landing/bad/readings.jsonl"}
DEFAULTS = {"retries": 3, "retry_delay": timedelta(seconds=30)}

with DAG("airflow_dead_letters", schedule=None, params=PARAMS, default_args=DEFAULTS):
    ZerobusIngestOperator(
        task_id="deliver",
        table="main.default.readings",
        source="{{ params.files }}",
        # The delivery still fails if more than half of its rows are bad.
        options={"on_bad_record": "dead_letter", "dead_letter_uri": "{{ params.letters }}", "max_bad_records": 0.5},
    )

with DAG("airflow_dead_letters_replayed", schedule=None, params=PARAMS, default_args=DEFAULTS):
    DeadLetterReplayOperator(task_id="replay", table="main.default.readings", dead_letter_uri="{{ params.letters }}")
