"""Compares our delivery of one Parquet file with that of dlt's load job for Zerobus."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.cases import CaseSkipped
from benchmarks.measuring import OURS, Figure, Settings, Spread, measure
from example_dags.demo import source
from zerobus_core import ClientCredentials, ingest
from zerobus_local import LocalZerobusProcess

_REQUIREMENTS = ["dlt[databricks]==1.31.0", "databricks-zerobus-ingest-sdk[arrow]==1.10.0"]
_JOB = Path(__file__).parents[1] / "dlt_job.py"


def figures(settings: Settings) -> Iterator[Figure]:
    """Yield a figure for each of two delays of acknowledgements: 0 and 200 ms. Both ways deliver the same file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = _install(folder / "environment")
        flights = _plain(source.flights(100_000 if settings.quick else None))
        path = folder / "flights.parquet"
        pq.write_table(flights, path)
        with LocalZerobusProcess.start(folder / "server") as server:
            for milliseconds in (0, 200):
                if milliseconds:
                    server.faults.add(action="delay_ack", seconds=milliseconds / 1000)
                yield _compared(server, python, path, flights, milliseconds, turns=1 if settings.quick else 3)


def _compared(
    server: LocalZerobusProcess, python: Path, path: Path, flights: pa.Table, milliseconds: int, *, turns: int
) -> Figure:
    table = f"main.default.flights_{milliseconds}"
    kinds = {"int64": "BIGINT", "string": "STRING", "timestamp[us, tz=UTC]": "TIMESTAMP"}
    server.create_table(
        f"CREATE TABLE {table} ({', '.join(f'{field.name} {kinds[str(field.type)]}' for field in flights.schema)})"
    )
    ingest(server.workspace, table, str(path))
    theirs: list[float] = []
    ours: list[float] = []
    for _ in range(turns):
        theirs += _run_job(server, python, path, table, flights.schema)
        ours.append(measure(lambda: ingest(server.workspace, table, str(path))).wall)
    rows = flights.num_rows
    return Figure(
        case="dlt",
        name=f"one Parquet file, {milliseconds} ms",
        unit="rows/s",
        values={
            "dlt's load job": Spread.of([rows / each for each in theirs]),
            OURS: Spread.of([rows / each for each in ours]),
        },
        ratio=Spread.of([other / mine for other, mine in zip(theirs, ours, strict=True)]),
    )


def _plain(flights: pa.Table) -> pa.Table:
    """Return the table, cast to the types that dlt uses."""
    kinds = {"timestamp": pa.timestamp("us", "UTC"), "int": pa.int64()}
    fields = [
        field.with_type(next((kind for name, kind in kinds.items() if name in str(field.type)), field.type))
        for field in flights.schema
    ]
    return flights.cast(pa.schema(fields))


def _run_job(server: LocalZerobusProcess, python: Path, path: Path, table: str, schema: pa.Schema) -> list[float]:
    credentials = server.workspace.credentials
    assert isinstance(credentials, ClientCredentials)
    kinds = {"int64": "bigint", "string": "text", "timestamp[us, tz=UTC]": "timestamp"}
    given = {
        "endpoint": server.endpoint,
        "workspace_url": server.workspace_url,
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret,
        "table": table,
        "columns": {
            field.name: {"name": field.name, "data_type": kinds[str(field.type)], "nullable": True} for field in schema
        },
        "path": str(path),
        "turns": 1,
    }
    done = subprocess.run(
        [str(python), str(_JOB)], input=json.dumps(given), capture_output=True, text=True, check=False, timeout=80
    )
    if done.returncode:
        raise CaseSkipped(f"the load job of dlt failed: {done.stderr.strip().splitlines()[-1:]}")
    return [float(seconds) for seconds in json.loads(done.stdout.splitlines()[-1])]


def _install(folder: Path) -> Path:
    """Create a new environment with dlt, and return the path of its Python; raise CaseSkipped if that fails."""
    uv = Path(sys.executable).with_name("uv")
    python = folder / "bin" / "python"
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, folder],
        [uv, "pip", "install", "--quiet", "--python", python, *_REQUIREMENTS],
    ):
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            raise CaseSkipped(f"dlt could not be installed: {said[-1] if said else error}") from error
    return python
