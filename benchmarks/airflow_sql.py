"""Runs ``SqlToZerobusOperator`` in Airflow, to deliver many rows from a real PostgreSQL to a Delta table.

Start it with ``python -m benchmarks.airflow_sql --rows 1000000``. It prints rows/s, the memory of the Dag's process
from its start to its end, and the number of rows in the table. It fails if a row is missing or duplicated, or if the
peak memory in the last quarter of the delivery is over 32 MiB above that in the first. Linux only, with PostgreSQL from
Debian.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pyarrow.compute as pc

from tests.services.databases import Postgres, running_postgres
from zerobus_core import ClientCredentials, Workspace
from zerobus_local import LocalZerobusProcess

TABLE = "main.default.orders"
COLUMNS = "id BIGINT NOT NULL, customer STRING, amount DECIMAL(18,2), at TIMESTAMP, note STRING"
DAG = f"""
from airflow.sdk import DAG
from zerobus_airflow import SqlToZerobusOperator

with DAG("many_rows", schedule=None) as dag:
    SqlToZerobusOperator(
        task_id="push", table="{TABLE}", sql="SELECT * FROM orders ORDER BY id", sql_conn_id="orders", ordered_by="id"
    )

if __name__ == "__main__":
    run = dag.test()
    print("RECEIPT", run.get_task_instance("push").xcom_pull(task_ids="push"))
    assert run.state == "success", run.state
"""
# MiB by which the last quarter of a delivery may need more than the first.
_SLACK = 32
# Seconds until the delivery has filled its streams and buffers. A shorter first quarter shows too little memory.
_SETTLED = 4.0
# Seconds between two samples.
_EVERY = 0.5


@dataclass(frozen=True)
class Sample:
    """The memory and the phase of the Dag's process, ``seconds`` after its start."""

    seconds: float
    mebibytes: int
    phase: str


def fill(postgres: Postgres, rows: int) -> str:
    """Create a database with ``rows`` orders, and return its name."""
    database = postgres.new_database()
    with psycopg.connect(postgres.url(database), autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE orders AS SELECT n AS id, 'customer ' || n % 9973 AS customer, "
            "(n % 100000) / 100.0::numeric(18, 2) AS amount, timestamptz '2026-01-01' + n * interval '1 second' AS at, "
            f"repeat('x', (n % 80)::int) AS note FROM generate_series(1, {rows}::bigint) AS n"
        )
        connection.execute("ALTER TABLE orders ADD PRIMARY KEY (id)")
    return database


def environment(home: Path, postgres: Postgres, database: str, workspace: Workspace) -> dict[str, str]:
    """Return the environment variables for Airflow, with the two connections that the Dag uses."""
    assert isinstance(workspace.credentials, ClientCredentials)
    target = {
        "conn_type": "zerobus",
        "host": workspace.workspace_url,
        "login": workspace.credentials.client_id,
        "password": workspace.credentials.client_secret,
        "extra": {"endpoint": workspace.endpoint},
    }
    source = {"conn_type": "postgres", "host": postgres.host, "port": postgres.port, "schema": database}
    source |= {"login": postgres.user, "password": postgres.password}
    return os.environ | {
        # ``phase_of`` reads the log while the Dag runs, so the log must not wait in a buffer.
        "PYTHONUNBUFFERED": "1",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_CONN_ZEROBUS_DEFAULT": json.dumps(target),
        "AIRFLOW_CONN_ORDERS": json.dumps(source),
    }


def run_dag(environ: dict[str, str]) -> tuple[list[Sample], str]:
    """Run the Dag in a process of its own; return memory samples over the whole run, and what it printed."""
    home = Path(environ["AIRFLOW_HOME"])
    (home / "dags").mkdir()
    file = home / "dags" / "many_rows.py"
    file.write_text(DAG)
    airflow = Path(sys.executable).with_name("airflow")
    subprocess.run([airflow, "db", "migrate"], env=environ, check=True, capture_output=True)
    log = home / "log"
    samples: list[Sample] = []
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, file], env=environ, stdout=output, stderr=output)
        began = time.monotonic()
        while process.poll() is None:
            phase = phase_of(log.read_text())
            if memory := resident(process.pid):
                samples.append(Sample(time.monotonic() - began, memory, phase))
            time.sleep(_EVERY)
    text = log.read_text()
    if process.returncode:
        raise SystemExit(text[-5_000:])
    return samples, text


def phase_of(log: str) -> str:
    """Return the phase of the Dag's process, from what it has logged so far: "start", "delivery" or "end"."""
    if "Connecting to" not in log:
        return "start"
    return "end" if "sent again; " in log else "delivery"


def resident(pid: int) -> int:
    """Return a process's resident memory in MiB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")), 0)


def check(server: LocalZerobusProcess, rows: int, samples: list[Sample]) -> None:
    """Exit with a message if rows are missing or duplicated, or if memory grew during the delivery."""
    ids = server.read(TABLE).column("id")
    distinct = pc.count_distinct(ids).as_py()
    print(f"{len(ids):,} rows in the table, {distinct:,} of them distinct, of {rows:,}")
    if (len(ids), distinct, pc.min(ids).as_py(), pc.max(ids).as_py()) != (rows, rows, 1, rows):
        raise SystemExit("rows are missing or duplicated")
    delivery = [sample for sample in samples if sample.phase == "delivery"]
    quarter = len(delivery) // 4
    if not quarter:
        raise SystemExit(f"only {len(delivery)} samples of the delivery: use more rows")
    first, last = peak(delivery[:quarter]), peak(delivery[-quarter:])
    print(
        f"peak MiB: {first} in the first quarter of the delivery, {last} in the last, {peak(samples)} in the whole run"
    )
    if quarter * _EVERY < _SETTLED:
        print(f"not judged: streams and buffers fill in the first {_SETTLED:.0f} s; use more rows")
    elif last - first > _SLACK:
        raise SystemExit(f"memory grew by {last - first} MiB from the first quarter to the last")


def peak(samples: list[Sample]) -> int:
    """Return the largest memory of the samples, in MiB."""
    return max(sample.mebibytes for sample in samples)


def main(arguments: list[str] | None = None) -> None:
    """Deliver the rows, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args(arguments).rows
    with tempfile.TemporaryDirectory() as folder, running_postgres() as postgres:
        database = fill(postgres, rows)
        with LocalZerobusProcess.start(Path(folder) / "data") as server:
            server.create_table(f"CREATE TABLE {TABLE} ({COLUMNS})")
            home = Path(folder) / "airflow"
            home.mkdir()
            samples, log = run_dag(environment(home, postgres, database, server.workspace))
            for sample in samples:
                print(f"{sample.seconds:6.1f} s  {sample.mebibytes:5d} MiB  {sample.phase}")
            print(*(line for line in log.splitlines() if "rows/s" in line or "RECEIPT" in line), sep="\n")
            check(server, rows, samples)


if __name__ == "__main__":
    main()
