"""Dags whose tasks are ended from outside: by a signal or when their time is over."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path

from dag_parts import TABLE, push_dag, rows_from

from zerobus_airflow import SqlToZerobusOperator
from zerobus_airflow.compat import task


def set_alarm_forward():
    """Let Airflow's alarm ring in the wait that follows, however long the task took to get there."""
    signal.setitimer(signal.ITIMER_REAL, 0.2)


with push_dag("async_timeout"):

    @task.zerobus_ingest(table=TABLE, execution_timeout=timedelta(minutes=2), options={"batch_rows": 10})
    async def push():
        for row in rows_from(0, 100):
            yield row
        set_alarm_forward()
        await asyncio.Event().wait()

    push()


with push_dag("suppressed_timeout"):

    @task.zerobus_ingest(table=TABLE, execution_timeout=timedelta(minutes=2), options={"batch_rows": 10})
    def push():
        try:
            yield from rows_from(0, 100)
            set_alarm_forward()
            time.sleep(120.0)
        except BaseException:  # noqa: BLE001
            return

    push()


def ticking(rows):
    """A few rows, then a pause, until there are enough: a source that is slower than the delivery."""
    for row in rows:
        yield row
        time.sleep(0.01)


with push_dag("slow_source"):

    @task.zerobus_ingest(
        table=TABLE,
        options={"batch_rows": 10, "timeout": 30.0, "open_timeout": 1.0, "ack_timeout": 2.0, "max_attempts": 3},
    )
    def push():
        return ticking(rows_from(0, 100_000))

    push()


with push_dag("patient"):

    @task.zerobus_ingest(table=TABLE, options={"batch_rows": 10, "max_attempts": 20})
    def push(dag_run=None):
        """Rows until there is a file that says that they are enough."""
        enough = Path(dag_run.conf["enough"])
        for row in ticking(rows_from(0, 100_000)):
            yield row
            if enough.exists():
                return

    push()


def endless_rows(after, act):
    """Rows without end; ``act`` is called once the first ``after`` are under way."""
    number = 0
    while True:
        if number == after:
            act()
        yield {"id": number, "note": "endless"}
        number += 1


def terminate():
    print(f"SIGTERM at {time.time()}", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)


with push_dag("killed"):

    @task.zerobus_ingest(table=TABLE)
    def push():
        return endless_rows(50_000, terminate)

    push()


with push_dag("killed_early"):

    @task.zerobus_ingest(table=TABLE)
    def push():
        os.kill(os.getpid(), signal.SIGTERM)
        return rows_from(0, 10)

    push()


with push_dag("waits_killed"):

    @task.zerobus_ingest(table=TABLE, options={"batch_rows": 10})
    def push():
        # Its acknowledgements never come, so that the signal finds the delivery waiting for them.
        threading.Timer(2.0, terminate).start()
        return rows_from(0, 10)

    push()


def terminate_once_there_is(path):
    """A signal as soon as the test makes a file."""

    def watch():
        while not path.exists():
            time.sleep(0.05)
        terminate()

    threading.Thread(target=watch, daemon=True).start()


with push_dag("source_waits_killed"):

    @task.zerobus_ingest(table=TABLE, resume="always", options={"batch_rows": 10, "source_version": "1"})
    def push(ti=None, dag_run=None):
        """20 rows; the first try waits in the midst of them for longer than anyone would."""
        yield from rows_from(0, 10)
        if ti.try_number == 1:
            terminate_once_there_is(Path(dag_run.conf["go"]))
            time.sleep(120.0)
        yield from rows_from(10, 10)

    push()


with push_dag("function_waits_killed"):

    @task.zerobus_ingest(table=TABLE)
    def push():
        threading.Timer(1.0, terminate).start()
        time.sleep(60.0)
        return rows_from(0, 10)

    push()


def tell_timeout(context):
    """Called by Airflow just before it starts the clock."""
    print(f"timeout at {time.time() + context['task'].execution_timeout.total_seconds()}", flush=True)


with push_dag("too_slow"):

    @task.zerobus_ingest(table=TABLE, execution_timeout=timedelta(seconds=2), on_execute_callback=tell_timeout)
    def push():
        return rows_from(0, 10)

    push()


def endless_query(task_id, **parameters):
    """A delivery of a statement that would run for minutes before its first row."""
    SqlToZerobusOperator(
        task_id=task_id,
        table=TABLE,
        sql="WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT count(*) AS id FROM n",
        sql_conn_id="rows_db",
        **parameters,
    )


with push_dag("query_killed"):
    endless_query("push", on_execute_callback=lambda _context: threading.Timer(2.0, terminate).start())


with push_dag("query_too_slow"):
    endless_query(
        "push",
        execution_timeout=timedelta(seconds=2),
        on_execute_callback=tell_timeout,
    )
