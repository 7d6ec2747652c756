"""Dags for a whole Airflow, whose tasks tell the test about themselves by files in the folder that the run names."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG

from zerobus_airflow import ZerobusIngestOperator, task

ROWS = 1_000


def keep_time(folder, name):
    """Keep the present moment in a file, unless an earlier attempt did."""
    if not (folder / name).exists():
        (folder / name).write_text(str(time.time()))


def announce(folder):
    """The process's id, as soon as it is known, and the moment of the first SIGTERM or alarm that it gets."""
    for number in (signal.SIGTERM, signal.SIGALRM):
        handler = signal.getsignal(number)

        def note(number, frame, handler=handler):
            keep_time(folder, "signalled")
            handler(number, frame)

        if callable(handler):
            signal.signal(number, note)
    (folder / "pid").write_text(str(os.getpid()))


def rows_of(folder, try_number):
    """All rows; from the half on, the first attempt takes longer than any test."""
    for number in range(ROWS):
        yield {"id": number, "note": f"row {number}"}
        if try_number == 1 and number == ROWS // 2:
            announce(folder)
        if try_number == 1 and number >= ROWS // 2:
            time.sleep(0.5)


class TimedIngestOperator(ZerobusIngestOperator):
    """Keeps the moment at which the delivery gave way to Airflow: what comes after is Airflow's own time."""

    def execute(self, context):
        try:
            return super().execute(context)
        finally:
            keep_time(Path(context["dag_run"].conf["folder"]), "left")


def delivery(dag_id, *, retries=1, **parameters):
    with DAG(dag_id, schedule=None):
        TimedIngestOperator(
            task_id="push",
            table="{{ dag_run.conf['table'] }}",
            records_callable=lambda ti, dag_run: rows_of(Path(dag_run.conf["folder"]), ti.try_number),
            options={"source_version": "{{ run_id }}", "batch_rows": 10},
            retries=retries,
            retry_delay=timedelta(seconds=1),
            **parameters,
        )


delivery("stopped", retries=0)
delivery("retried")
delivery("too_slow", execution_timeout=timedelta(seconds=20))

with DAG("finished", schedule=None):

    @task.zerobus_ingest(table="{{ dag_run.conf['table'] }}", options={"source_version": "{{ run_id }}"})
    def push():
        return ({"id": number, "note": None} for number in range(ROWS))

    push()
