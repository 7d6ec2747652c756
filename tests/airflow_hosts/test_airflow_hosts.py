"""A whole Airflow: scheduler, API server, Dag processor and a Celery worker as processes, PostgreSQL behind them.

Tasks are marked failed, sent SIGTERM, run out of time, lose their worker and are cleared. Each ends as it should, and
the table has exactly the rows that it should, or no more than the receipt admits.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

HERE = Path(__file__).parent
ROWS = 1_000
# Seconds from a signal to the end of the task's process.
# On a quiet machine a process ends within 2 s of the signal; one that waits for its source would take minutes.
AT_ONCE = 20.0
# Seconds for what Airflow does in its own time, on a busy machine.
PATIENCE = 120.0


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(condition, what, timeout=PATIENCE, every=0.2):
    """What ``condition`` answers once that is true."""
    end = time.monotonic() + timeout
    while not (answer := condition()):
        assert time.monotonic() < end, f"{what}: not within {timeout} s"
        time.sleep(every)
    return answer


class Deployment:
    """The processes of one Airflow, and its REST API."""

    def __init__(self, home, environ):
        self.home = home
        self._environ = environ
        self._port = free_port()
        self._processes = {}
        self._url = f"http://127.0.0.1:{self._port}"
        environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"{self._url}/execution/"
        environ["AIRFLOW__API__BASE_URL"] = self._url
        self._run("db", "migrate")
        self.start("api-server", "api-server", "--host", "127.0.0.1", "--port", str(self._port), "--workers", "1")
        wait_for(self._is_up, "the API server", every=1.0)
        token = httpx.get(f"{self._url}/auth/token", timeout=60).json()["access_token"]
        self._client = httpx.Client(
            base_url=f"{self._url}/api/v2", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )
        self.start("scheduler", "scheduler", "--skip-serve-logs")
        self.start("dag-processor", "dag-processor")
        self.start_worker()
        wait_for(lambda: self.ask("GET", "/dags").get("total_entries") == 4, "the Dags", every=1.0)

    def start_worker(self):
        self.start("worker", "celery", "worker", "--concurrency", "2", "--skip-serve-logs", "--without-mingle")

    def start(self, name, *arguments):
        with (self.home / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [Path(sys.executable).with_name("airflow"), *arguments],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _run(self, *arguments):
        command = [Path(sys.executable).with_name("airflow"), *arguments]
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr

    def _is_up(self):
        try:
            return httpx.get(f"{self._url}/api/v2/monitor/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, method, path, **body):
        answer = self._client.request(method, path, json=body or None)
        assert answer.is_success, (path, answer.status_code, answer.text)
        return answer.json() if answer.content else {}

    def trigger(self, dag_id, **conf):
        self.ask("PATCH", f"/dags/{dag_id}", is_paused=False)
        return self.ask("POST", f"/dags/{dag_id}/dagRuns", logical_date=None, conf=conf)["dag_run_id"]

    def instance(self, dag_id, run_id):
        return self.ask("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/push")

    def receipt(self, dag_id, run_id):
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/push/xcomEntries/return_value"
        return self.ask("GET", f"{path}?deserialize=true")["value"]

    def wait_for_state(self, dag_id, run_id, *states):
        def reached():
            instance = self.instance(dag_id, run_id)
            return instance if instance["state"] in states else None

        return wait_for(reached, f"{dag_id} in {states}", every=0.5)

    def kill_worker(self):
        """End the worker and all that it started, as a machine that is gone."""
        worker = psutil.Process(self._processes["worker"].pid)
        for process in [*worker.children(recursive=True), worker]:
            process.kill()
        self._processes["worker"].wait()

    def close(self):
        for process in self._processes.values():
            if process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()
            process.wait()
        if hasattr(self, "_client"):
            self._client.close()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory, postgres, redis, zerobus):
    home = tmp_path_factory.mktemp("airflow")
    database = postgres.new_database()
    credentials = zerobus.workspace.credentials
    connection = {
        "conn_type": "zerobus",
        "host": zerobus.workspace.workspace_url,
        "login": credentials.client_id,
        "password": credentials.client_secret,
        "extra": {"endpoint": zerobus.workspace.endpoint},
    }
    dags = home / "dags"
    dags.mkdir()
    (dags / "hosted.py").write_text((HERE / "hosted.py").read_text())
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("_AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_ZEROBUS_DEFAULT": json.dumps(connection),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a-secret-of-the-tests-that-is-long-enough-for-HS512-signatures-and-more",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres.url(database, driver="psycopg2"),
        "AIRFLOW__CELERY__BROKER_URL": redis.url(1),
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{postgres.url(database, driver='psycopg2')}",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    running = None
    try:
        running = Deployment(home, environ)
        yield running
    finally:
        if running is not None:
            running.close()


class Push:
    """A run whose first attempt is slow from its half on."""

    def __init__(self, deployment, zerobus, table, folder, dag_id):
        self.dag_id, self.table, self._zerobus, self._folder = dag_id, table, zerobus, folder
        zerobus.create_table(f"CREATE TABLE {table} (id BIGINT NOT NULL, note STRING)")
        self.run_id = deployment.trigger(dag_id, table=table, folder=str(folder))
        wait_for((folder / "pid").exists, f"a task of {dag_id} that has sent half of its rows")
        self.process = psutil.Process(int((folder / "pid").read_text()))
        # The checkpoint follows within a second, while rows come.
        wait_for(lambda: len(self.ids) > ROWS // 2 + 5, "rows in the table")

    @property
    def ids(self):
        return sorted(self._zerobus.read(self.table).column("id").to_pylist())

    def ends_at_once(self):
        """Whether the process is gone in time after the signal."""
        signalled = float(wait_for(lambda: self._read("signalled"), "a signal", timeout=60.0, every=0.02))
        self.process.wait(timeout=60.0)
        took = time.time() - signalled
        print(f"the process ended {took:.2f} s after the signal")
        assert took < AT_ONCE

    def _read(self, name):
        file = self._folder / name
        return file.read_text() if file.exists() else ""


@pytest.fixture
def push(deployment, zerobus, table_name, tmp_path):
    return lambda dag_id: Push(deployment, zerobus, table_name, tmp_path, dag_id)


def check_resumed(deployment, push):
    """The retry sent what was missing, and no more than the receipt admits."""
    instance = deployment.wait_for_state(push.dag_id, push.run_id, "success", "failed")
    assert (instance["state"], instance["try_number"]) == ("success", 2)
    receipt = deployment.receipt(push.dag_id, push.run_id)
    assert receipt["rows_read"] == ROWS
    assert receipt["rows_skipped"] > 100
    ids = push.ids
    assert set(ids) == set(range(ROWS))
    assert len(ids) - ROWS <= receipt["rows_resent"]
    return receipt


def test_a_running_task_that_is_marked_failed_ends_at_once(deployment, push):
    running = push("stopped")
    path = f"/dags/stopped/dagRuns/{running.run_id}/taskInstances/push"
    deployment.ask("PATCH", path, new_state="failed")
    running.ends_at_once()
    assert deployment.instance("stopped", running.run_id)["state"] == "failed"


def test_a_task_that_gets_sigterm_ends_at_once_and_its_retry_resumes(deployment, push):
    running = push("retried")
    running.process.send_signal(signal.SIGTERM)
    running.ends_at_once()
    check_resumed(deployment, running)


def test_a_task_that_runs_out_of_time_ends_at_once_and_its_retry_resumes(deployment, push):
    running = push("too_slow")
    running.ends_at_once()
    check_resumed(deployment, running)


def test_the_tasks_of_a_worker_that_is_killed_are_retried_and_resume(deployment, push):
    running = push("retried")
    deployment.kill_worker()
    deployment.start_worker()
    check_resumed(deployment, running)


def test_a_finished_task_that_is_cleared_sends_all_rows_again(deployment, zerobus, table_name):
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, note STRING)")
    run_id = deployment.trigger("finished", table=table_name)
    deployment.wait_for_state("finished", run_id, "success")
    deployment.ask(
        "POST",
        "/dags/finished/clearTaskInstances",
        dry_run=False,
        dag_run_id=run_id,
        task_ids=["push"],
        only_failed=False,
        reset_dag_runs=True,
    )
    wait_for(lambda: deployment.instance("finished", run_id)["try_number"] == 2, "the second attempt", every=0.5)
    deployment.wait_for_state("finished", run_id, "success")
    ids = sorted(zerobus.read(table_name).column("id").to_pylist())
    assert ids == sorted([*range(ROWS), *range(ROWS)])
