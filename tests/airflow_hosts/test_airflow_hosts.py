"""A whole Airflow: scheduler, API server, Dag processor and a Celery worker as processes, PostgreSQL behind them.

Tasks are marked failed, sent SIGTERM, run out of time, lose their worker and are cleared. Each ends as it should, and
the table has exactly the rows that it should, or no more than the receipt admits.
"""

from __future__ import annotations

import signal
import time

import psutil
import pytest

from tests.airflow_hosts.deployment import wait_for

ROWS = 1_000
# Seconds from a signal in the task's process until the delivery has given way to Airflow.
AT_ONCE = 2.0
# Seconds after that in which Airflow reports the failure to its API server and ends the process.
HOST_TIME = 30.0


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
        """The delivery gives way in time after the signal, and its process ends."""
        signalled = float(wait_for(lambda: self._read("signalled"), "a signal", timeout=60.0, every=0.02))
        left = float(wait_for(lambda: self._read("left"), "the end of the delivery", timeout=60.0, every=0.02))
        self.process.wait(timeout=HOST_TIME)
        ours, airflows = left - signalled, time.time() - left
        print(f"the delivery ended {ours:.2f} s after the signal, the process {airflows:.2f} s later")
        assert 0 < ours < AT_ONCE

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
    # No row twice, none left out on the way, and as many as the checkpoint admits: at least the durable ones, and at
    # most those that may have been sent.
    ids = running.ids
    assert ids == list(range(len(ids)))
    checkpoint = deployment.checkpoint("stopped", running.run_id)
    durable = sum(end - begin for begin, end in checkpoint["durable"])
    assert ROWS // 2 < durable <= len(ids) <= checkpoint["reached"]


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
