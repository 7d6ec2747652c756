"""Handoffs in three runs, of which one is killed with -9 and re-executed, and one is re-executed when it is done."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.dagster_integration import dagster_handoff_child as child
from zerobus_core.workspace import ClientCredentials
from zerobus_local import LocalZerobus

# A loaded machine takes a minute to import Dagster in a new process.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROWS = 600


@pytest.fixture
def instance(
    tmp_path: Path, server: LocalZerobus, table: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    credentials = server.workspace.credentials
    assert isinstance(credentials, ClientCredentials)
    for name, value in {
        "DAGSTER_HOME": str(tmp_path),
        "TEST_TABLE": table,
        "ZEROBUS_SERVER_ENDPOINT": server.workspace.endpoint,
        "DATABRICKS_HOST": server.workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": credentials.client_secret,
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def grow(folder: Path, source: str, number: int) -> None:
    """Add rows number * ROWS to (number + 1) * ROWS to the source."""
    ids = range(number * ROWS, (number + 1) * ROWS)
    if source == "files":
        (folder / "landing").mkdir(exist_ok=True)
        for part in range(3):
            lines = "".join(f'{{"id": {n}}}\n' for n in ids[part::3])
            (folder / "landing" / f"{number}-{part}.jsonl").write_text(lines)
        return
    connection = sqlite3.connect(folder / "orders.db")
    connection.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER)")
    connection.executemany("INSERT INTO orders VALUES (?)", [(n,) for n in ids])
    connection.commit()
    connection.close()


def receipt(instance: dg.DagsterInstance) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(dg.AssetKey(child.ASSET))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization.metadata["dagster-zerobus/receipt"].value  # type: ignore[return-value]  # JSON


@pytest.mark.parametrize("source", ["files", "rows"])
def test_three_runs_of_which_one_is_killed_deliver_every_row(
    source: str,
    server: LocalZerobus,
    table: str,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEST_SOURCE", source)
    grow(tmp_path, source, 0)
    assert child.run(instance)
    first = instance.get_runs(limit=1)[0]

    grow(tmp_path, source, 1)
    with (tmp_path / "output").open("ab") as output:
        ended = subprocess.run(
            [sys.executable, child.__file__], env={**os.environ, "TEST_TRAP": "1"}, stdout=output, stderr=output,
            check=False, timeout=400,
        )  # fmt: skip
    assert ended.returncode == 1, (tmp_path / "output").read_text()
    killed = instance.get_runs(limit=1)[0]
    assert len(set(server.read(table)["id"].to_pylist())) < 2 * ROWS, "it was killed in mid-slice"
    grow(tmp_path, source, 2)  # while the slice is open: for the next run
    assert child.run(instance, dg.ReexecutionOptions.from_failure(killed.run_id, instance))
    retried = receipt(instance)
    assert retried["rows_read"] == ROWS, "the slice of the killed run, and no more"
    assert sorted(set(server.read(table)["id"].to_pylist())) == list(range(2 * ROWS))

    assert child.run(instance)
    assert receipt(instance)["rows_acked"] == ROWS
    stored = sorted(server.read(table)["id"].to_pylist())
    assert sorted(set(stored)) == list(range(3 * ROWS))
    assert len(stored) - 3 * ROWS <= retried["rows_resent"]

    # A run that is done is executed again: its slice is delivered, and nothing else is.
    grow(tmp_path, source, 3)
    assert child.run(instance, dg.ReexecutionOptions(parent_run_id=first.run_id))
    assert receipt(instance)["rows_read"] == 0
    assert sorted(server.read(table)["id"].to_pylist()) == stored
