"""Runs in processes of their own, as a deployment has them: kills, terminations, and what comes after."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from zerobus_core.checkpoint.digest import BLOCK_ROWS
from zerobus_core.workspace import ClientCredentials
from zerobus_local import LocalZerobus

# A loaded machine takes a minute to import Dagster in a new process.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CHILD = Path(__file__).with_name("dagster_child.py")
ROWS, BATCH = 2_000, 50  # as in dagster_child.py


class Deployment:
    """A Dagster instance in a folder, and the child processes that run jobs on it."""

    def __init__(self, home: Path, server: LocalZerobus, table: str) -> None:
        credentials = server.workspace.credentials
        assert isinstance(credentials, ClientCredentials)
        self.home = home
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        self.instance = dg.DagsterInstance.from_config(str(home))
        self._environment = {
            **os.environ,
            "DAGSTER_HOME": str(home),
            "TEST_TABLE": table,
            "ZEROBUS_SERVER_ENDPOINT": server.workspace.endpoint,
            "DATABRICKS_HOST": server.workspace.workspace_url,
            "DATABRICKS_CLIENT_ID": credentials.client_id,
            "DATABRICKS_CLIENT_SECRET": credentials.client_secret,
        }

    def start(self, *arguments: str, fault: str = "") -> subprocess.Popen[bytes]:
        with (self.home / "output").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, str(CHILD), *arguments],
                env={**self._environment, "TEST_FAULT": fault},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def run(self, *arguments: str, fault: str = "") -> int:
        with self.start(*arguments, fault=fault) as child:
            return child.wait(timeout=240)

    def last_run(self) -> dg.DagsterRun:
        return self.instance.get_runs(limit=1)[0]

    def receipt(self) -> dict[str, int]:
        event = self.instance.get_latest_materialization_event(dg.AssetKey("flights"))
        assert event is not None
        assert event.asset_materialization is not None
        return event.asset_materialization.metadata["dagster-zerobus/receipt"].value  # type: ignore[return-value]  # JSON

    def is_materialized(self) -> bool:
        return self.instance.get_latest_materialization_event(dg.AssetKey("flights")) is not None


@pytest.fixture
def deployment(tmp_path: Path, server: LocalZerobus, table: str) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path, server, table)
    with deployment.instance:
        yield deployment


def waiting(seconds: float, what: object) -> None:
    deadline = time.monotonic() + seconds
    while not what():  # type: ignore[operator]  # a function
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def ids(server: LocalZerobus, table: str) -> list[int]:
    return sorted(server.read(table)["id"].to_pylist())


def test_a_step_killed_by_kill_9_is_taken_up_where_it_was_by_a_re_execution_from_failure(
    server: LocalZerobus, table: str, deployment: Deployment
) -> None:
    assert deployment.run("run", fault="kill") == 1
    assert not deployment.is_materialized()
    killed = deployment.last_run()

    assert deployment.run("from-failure", killed.run_id) == 0
    receipt = deployment.receipt()
    assert deployment.last_run().parent_run_id == killed.run_id
    assert receipt["rows_skipped"] > 0
    assert receipt["rows_skipped"] + receipt["rows_acked"] == receipt["rows_read"] == ROWS
    delivered = ids(server, table)
    assert sorted(set(delivered)) == list(range(ROWS))
    assert len(delivered) - ROWS <= receipt["rows_resent"]


def test_terminating_a_run_stops_a_step_whose_source_gives_nothing_and_keeps_its_checkpoint(
    server: LocalZerobus, table: str, deployment: Deployment
) -> None:
    child = deployment.start("run", fault="wait")
    try:
        waiting(240, (deployment.home / "is_waiting").exists)
        signalled_at = time.time()
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=240) != 0
    finally:
        child.kill()
        child.wait(timeout=10)
    interrupted_at = float((deployment.home / "interrupted_at").read_text())
    # The source gives no row ever again, and the SDK would wait for minutes; it is a second where nothing else runs.
    assert interrupted_at - signalled_at < 20.0
    assert not deployment.is_materialized()
    terminated = deployment.last_run()

    assert deployment.run("from-failure", terminated.run_id) == 0
    receipt = deployment.receipt()
    assert receipt["rows_skipped"] > 0
    delivered = ids(server, table)
    assert sorted(set(delivered)) == list(range(ROWS))
    # A batch that was on its way, without an acknowledgement, and the rows of a block that was not whole, which nothing
    # shows to be the same rows, can be there twice.
    assert len(delivered) - ROWS <= receipt["rows_resent"]
    assert len(delivered) - ROWS <= BATCH + BLOCK_ROWS
