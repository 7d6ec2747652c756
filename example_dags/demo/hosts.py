"""Airflow and Dagster as child processes of the demo, each with a home folder of its own and no telemetry."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from zerobus_core import ClientCredentials, Workspace

__all__ = ["Airflow", "Child", "dagster_weather", "workspace_environ"]

_HERE = Path(__file__).parent


class Child:
    """A child process whose output goes to a log file; leaving the ``with`` block ends it and its own children."""

    def __init__(self, command: list[str], *, environ: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("a") as output:
            # A session of its own: Ctrl-C reaches the demo alone, which then ends its children in order.
            self._process = subprocess.Popen(  # noqa: S603  # our own modules
                [sys.executable, *command],
                cwd=_HERE.parents[1],
                env=environ,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process; None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Raise a RuntimeError with the end of the log if the process has failed."""
        if self.exit_code:
            end = "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])
            raise RuntimeError(f"{self._process.args[1:]} ended with exit code {self.exit_code}; {self.log}:\n{end}")

    def send(self, message: Any) -> None:
        """Write ``message`` as a line of JSON to the stdin of the process."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def wait(self, until: Callable[[], bool], tick: Callable[[], None]) -> None:
        """Wait until ``until()`` is true or the process has ended; raise a RuntimeError if it has failed.

        Calls ``tick`` a few times a second.
        """
        while self.exit_code is None and not until():
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.2)
            tick()
        self.check()

    def has_said(self, line: str) -> bool:
        """Return whether a line is in the log."""
        return line in self.log.read_text(errors="replace").splitlines()

    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        return self.exit_code is not None

    def kill(self) -> None:
        """Kill the process with ``kill -9``, and wait until it has ended."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
                break


class Airflow:
    """An Airflow for the demo only: it has its own database, one Dag, and a connection to the local server."""

    def __init__(self, home: Path, workspace: Workspace) -> None:
        home.mkdir(parents=True)
        self._home = home
        bundle = {
            "name": "demo",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(_HERE / "dags")},
        }
        assert isinstance(workspace.credentials, ClientCredentials)
        connection = {
            "conn_type": "zerobus",
            "host": workspace.workspace_url,
            "login": workspace.credentials.client_id,
            "password": workspace.credentials.client_secret,
            "extra": {"endpoint": workspace.endpoint},
        }
        self._environ = {
            **_environ(prefix="AIRFLOW"),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
            "AIRFLOW_CONN_ZEROBUS_DEFAULT": json.dumps(connection),
        }

    def runs(self) -> Child:
        """Start a child that makes the metadata database, and then runs the Dag with each configuration sent to it."""
        command = ["-m", "example_dags.demo.airflow_runs"]
        return Child(command, environ=self._environ, log=self._home / "runs.log")

    def run_state(self) -> str | None:
        """Return the state of the latest run, from Airflow's metadata database; None before the first run."""
        found = self._select("SELECT state FROM dag_run ORDER BY id DESC LIMIT 1")
        return found[0][0] if found else None

    def run_count(self) -> int:
        """Return the number of runs in Airflow's metadata database."""
        return int(self._select("SELECT count(*) FROM dag_run")[0][0])

    def tries(self) -> list[str]:
        """Return the state of each attempt of the task ``push`` in the latest run, in order."""
        found = self._select(
            "WITH tries AS (SELECT run_id, task_id, try_number, state FROM task_instance_history"
            " UNION ALL SELECT run_id, task_id, 1000, state FROM task_instance) "
            "SELECT state FROM tries WHERE task_id = 'push'"
            " AND run_id = (SELECT run_id FROM dag_run ORDER BY id DESC LIMIT 1) ORDER BY try_number"
        )
        return [str(state) for (state,) in found]

    def _select(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self._home / 'airflow.db'}?mode=ro", uri=True, timeout=30)) as database:
            return database.execute(query).fetchall()


def dagster_weather(home: Path, workspace: Workspace, receipt: Path) -> Child:
    """Start a child that materializes the asset ``weather``, and writes the asset's metadata to ``receipt``."""
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    environ = {
        **_environ(prefix="DAGSTER"),
        **workspace_environ(workspace),
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }
    return Child(["-m", "example_dags.demo.weather_asset", str(receipt)], environ=environ, log=home / "weather.log")


def workspace_environ(workspace: Workspace) -> dict[str, str]:
    """Return our environment variables, with those that ``Workspace.from_env`` reads set for ``workspace``."""
    assert isinstance(workspace.credentials, ClientCredentials)
    return {
        **_environ(prefix="DATABRICKS"),
        "ZEROBUS_SERVER_ENDPOINT": workspace.endpoint,
        "DATABRICKS_HOST": workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": workspace.credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": workspace.credentials.client_secret,
    }


def _environ(*, prefix: str) -> dict[str, str]:
    """Return our environment variables without those that begin with ``prefix``, and without a proxy for 127.0.0.1.

    The variables with ``prefix`` are the settings of the user's own installation.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.lstrip("_").startswith(prefix)}
    return {**inherited, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
