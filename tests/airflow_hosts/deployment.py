"""A whole Airflow as processes, driven by its REST API: scheduler, API server, Dag processor, and a Celery worker.

With the LocalExecutor, the scheduler's own child processes are the workers.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil

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

    def __init__(self, home, environ, *, has_celery=True):
        self.home = home
        self._environ = environ
        self._port = free_port()
        self._processes = {}
        self.url = f"http://127.0.0.1:{self._port}"
        environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"{self.url}/execution/"
        environ["AIRFLOW__API__BASE_URL"] = self.url
        self._run("db", "migrate")
        self.start("api-server", "api-server", "--host", "127.0.0.1", "--port", str(self._port), "--workers", "1")
        wait_for(self._is_up, "the API server", every=1.0)
        token = httpx.get(f"{self.url}/auth/token", timeout=60).json()["access_token"]
        self._client = httpx.Client(
            base_url=f"{self.url}/api/v2", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )
        self.start("scheduler", "scheduler", "--skip-serve-logs")
        self.start("dag-processor", "dag-processor")
        if has_celery:
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
            return httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5).status_code == 200
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

    def checkpoint(self, dag_id, run_id):
        """What the state of the task push says of the rows that are durable."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/push/state-store/zerobus/checkpoint"
        return self.ask("GET", path)["value"]

    def wait_for_state(self, dag_id, run_id, *states):
        def reached():
            instance = self.instance(dag_id, run_id)
            return instance if instance["state"] in states else None

        return wait_for(reached, f"{dag_id} in {states}", every=0.5)

    def process(self, name):
        """What ``start`` started by this name."""
        return psutil.Process(self._processes[name].pid)

    def kill_worker(self):
        """End the worker and all that it started, as a machine that is gone."""
        worker = self.process("worker")
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
