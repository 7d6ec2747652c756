"""Dags of the tests that deliver what is new; where files and databases are comes in by the environment."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path

from dag_parts import TABLE, push_dag

from zerobus_airflow import (
    SqlToZerobusOperator,
    ZerobusIngestOperator,
    finish_slice_task,
    freeze_slice_task,
    table_asset,
)
from zerobus_core import NewFiles, NewItems, NewRows

STATE = "{{ dag_run.conf['state'] }}"
connection = json.loads(os.environ.get("AIRFLOW_CONN_ZEROBUS_DEFAULT", '{"host": "https://x.example"}'))
FOLDER = Path(os.environ.get("HANDOFF_FOLDER", "/nowhere"))


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


with push_dag("rows_of_long_text"):
    SqlToZerobusOperator(
        task_id="push",
        table="main.default.handoff_notes",
        sql="SELECT id, note FROM notes",
        sql_conn_id="orders",
        incremental="note",
        key="id",
        lag_rows=0,
        outlets=[table_asset(connection["host"], "main.default.handoff_notes")],
    )


class HeldRows(NewRows):
    """Says in mid-slice that it is there, and goes on when it may."""

    @contextmanager
    def open(self, *given):
        with super().open(*given) as records:
            chunks = records.chunks

            def until_let_go(skip):
                for number, chunk in enumerate(chunks(skip)):
                    yield chunk
                    if number == 2 and (FOLDER / "hold").exists():
                        (FOLDER / "hold").unlink()
                        (FOLDER / "held").touch()
                        for _ in range(1_200):
                            if (FOLDER / "go").exists():
                                break
                            time.sleep(0.05)

            records.chunks = until_let_go
            yield records


for on_busy in ("fail", "skip", "wait"):
    with push_dag(f"shared_rows_{on_busy}") as dag:
        ZerobusIngestOperator(
            task_id="push",
            table="main.default.handoff_shared",
            source=HeldRows(
                lambda: sqlite3.connect(FOLDER / "shared.db"),
                "SELECT * FROM orders",
                column="id",
                key="id",
                lag_rows=0,
            ),
            handoff_name="shared",
            on_busy=on_busy,
            outlets=[table_asset(connection["host"], "main.default.handoff_shared")],
            options={"batch_rows": 50, "max_unacked_bytes": 20_000},
        )
    globals()[f"shared_rows_{on_busy}"] = dag


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


class Trapped:
    """Kills the task in mid-slice, once, if the trap is set."""

    @contextmanager
    def open(self, *given):
        with super().open(*given) as records:
            chunks = records.chunks

            def until_killed(skip):
                for number, chunk in enumerate(chunks(skip)):
                    yield chunk
                    if number == 5 and (FOLDER / "trap").exists():
                        (FOLDER / "trap").unlink()
                        os.kill(os.getpid(), signal.SIGTERM)

            records.chunks = until_killed
            yield records


class TrappedFiles(Trapped, NewFiles):
    pass


class TrappedRows(Trapped, NewRows):
    pass


SOURCES = {
    "killed_files": TrappedFiles(FOLDER / "landing" / "*.jsonl"),
    "killed_rows": TrappedRows(
        lambda: sqlite3.connect(FOLDER / "killed.db"), "SELECT * FROM orders", column="id", key="id", lag_rows=0
    ),
}
for name, source in SOURCES.items():
    with push_dag(name, retries=2) as dag:
        ZerobusIngestOperator(
            task_id="push",
            table=TABLE,
            source=source,
            state_uri=STATE,
            options={"batch_rows": 50, "max_unacked_bytes": 20_000},
        )
    globals()[name] = dag


with push_dag("slice_by_shards", retries=0 if (FOLDER / "no_retries").exists() else 1):
    what = {"table": TABLE, "source": NewFiles(FOLDER / "landing" / "*.jsonl"), "state_uri": STATE}
    pushed = ZerobusIngestOperator.partial(
        task_id="push", options={"batch_rows": 10, "max_unacked_bytes": 1, "max_attempts": 1}, **what
    ).expand(shard=freeze_slice_task(n=3, **what))
    finish_slice_task(pushed.output, **what)
