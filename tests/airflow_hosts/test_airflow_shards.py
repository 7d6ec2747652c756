"""Shards on a whole Airflow one of whose workers is killed: only its shards run again.

With two Celery workers, and with the LocalExecutor, whose workers are processes of the scheduler.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.airflow_hosts.deployment import wait_for

SHARDS, SHARD_ROWS = 8, 500


class Shards:
    """A run of eight mapped shards, and the workers of which one can be killed."""

    def __init__(self, deployment, folder, table, workers):
        self._deployment = deployment
        self._workers = workers
        for number in range(SHARDS):
            rows = range(number * SHARD_ROWS, (number + 1) * SHARD_ROWS)
            (folder / f"{number}.jsonl").write_text("".join(f'{{"id": {row}, "note": "row {row}"}}\n' for row in rows))
        dag = Path(__file__).with_name("sharded.py").read_text()
        (deployment.home / "dags" / "sharded.py").write_text(dag)
        wait_for(lambda: "sharded" in {one["dag_id"] for one in deployment.ask("GET", "/dags")["dags"]}, "the Dag")
        self.run_id = deployment.trigger("sharded", table=table, folder=str(folder))

    def instances(self):
        """The mapped tasks by their index."""
        path = f"/dags/sharded/dagRuns/{self.run_id}/taskInstances?limit=100"
        every = self._deployment.ask("GET", path)["task_instances"]
        return {one["map_index"]: one for one in every if one["task_id"] == "push" and one["map_index"] >= 0}

    def of(self, pids):
        """The shards whose processes are among these."""
        return {index for index, one in self.instances().items() if one["state"] == "running" and one["pid"] in pids}

    def worker_in_the_middle(self, ids):
        """Stop a worker while one of its shards is being delivered, and return it; None if no worker does that now.

        ``ids`` returns the ids that are in the table. The worker is stopped first and looked at then: a worker that has
        finished its shard waits for the next one and holds a lock, and if it is killed then, no worker of Airflow's
        LocalExecutor gets a task again.
        """
        for worker in self._workers():
            processes = processes_of(worker)
            signal_all(processes, signal.SIGSTOP)
            own, delivered = self.of({process.pid for process in processes}), ids()
            counts = [sum(row // SHARD_ROWS == index for row in delivered) for index in own]
            if any(200 <= count < SHARD_ROWS for count in counts):
                return worker
            signal_all(processes, signal.SIGCONT)
        return None

    def kill(self, worker):
        """End the worker and all that it started, as a machine that is gone; returns the shards that it had."""
        processes = processes_of(worker)
        for process in processes:
            process.kill()
        return self.of({process.pid for process in processes})

    def end(self):
        """Wait until the run has ended; returns its state."""

        def ended():
            state = self._deployment.ask("GET", f"/dags/sharded/dagRuns/{self.run_id}")["state"]
            return state if state in {"success", "failed"} else None

        return wait_for(ended, "the end of the run", timeout=400.0, every=1.0)

    def receipt(self):
        """What the last task returned."""
        path = f"/dags/sharded/dagRuns/{self.run_id}/taskInstances/merge_receipts/xcomEntries/return_value"
        return self._deployment.ask("GET", f"{path}?deserialize=true")["value"]


def signal_all(processes, number):
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def processes_of(worker):
    """A worker and all that it started."""
    try:
        return [*worker.children(recursive=True), worker]
    except psutil.NoSuchProcess:
        return []


def check_only_its_shards_run_again(zerobus, table_name, deployment, folder, workers):
    """Kill a worker in the middle of a shard; returns how many shards it had."""
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, note STRING)")
    slow = zerobus.faults.add(action="delay_ack", seconds=0.2, table=table_name)
    shards = Shards(deployment, folder, table_name, workers)

    def ids():
        return zerobus.read(table_name).column("id").to_pylist()

    worker = wait_for(lambda: shards.worker_in_the_middle(ids), "a shard of a worker in its middle", every=0.5)
    lost = shards.kill(worker)
    zerobus.faults.remove(slow)
    assert shards.end() == "success"
    assert {index for index, one in shards.instances().items() if one["try_number"] == 2} == lost
    receipt = shards.receipt()
    assert (receipt["rows_read"], receipt["shards"]) == (SHARDS * SHARD_ROWS, SHARDS)
    assert receipt["rows_acked"] + receipt["rows_skipped"] == SHARDS * SHARD_ROWS
    assert receipt["rows_skipped"] > 0
    delivered = ids()
    assert set(delivered) == set(range(SHARDS * SHARD_ROWS))
    assert len(delivered) - SHARDS * SHARD_ROWS <= receipt["rows_resent"]
    return len(lost)


@pytest.mark.timeout(900)
def test_only_the_shards_of_a_celery_worker_that_is_killed_run_again(deployment, zerobus, table_name, tmp_path):
    options = ("--concurrency", "2", "--skip-serve-logs", "--without-mingle", "--celery-hostname", "second@%h")
    deployment.start("second", "celery", "worker", *options)
    second = deployment.process("second")
    lost = check_only_its_shards_run_again(zerobus, table_name, deployment, tmp_path, lambda: [second])
    assert 0 < lost <= 2


@pytest.mark.timeout(900)
def test_only_the_shard_of_a_local_worker_that_is_killed_runs_again(local_deployment, zerobus, table_name, tmp_path):
    scheduler = local_deployment.process("scheduler")
    folder = tmp_path / "files"
    folder.mkdir()
    lost = check_only_its_shards_run_again(zerobus, table_name, local_deployment, folder, scheduler.children)
    assert lost == 1
