"""Shards on dagster-celery with two workers, one of which is killed: only its shards run again."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.dagster_hosts.celery_job import SHARDS
from tests.dagster_hosts.deployment import Program, connection
from zerobus_local import LocalZerobus

pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]

JOB = Path(__file__).with_name("celery_job.py")
ROWS = 300
KEY = dg.AssetKey("flights")


class Hosted:
    """An instance, two Celery workers that execute steps, and the process that runs the job."""

    def __init__(self, home: Path, server: LocalZerobus, table: str, broker: str) -> None:
        self.home, self._server, self._table = home, server, table
        files = home / "files"
        files.mkdir()
        for number in range(SHARDS):
            rows = range(number * ROWS, (number + 1) * ROWS)
            (files / f"{number}.jsonl").write_text("".join(f'{{"id": {row}}}\n' for row in rows))
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        (home / "dagster_celery_config.py").write_text(f"broker_url = result_backend = {broker!r}\n")
        self._environ = {
            **os.environ,
            **connection(server),
            "DAGSTER_HOME": str(home),
            "TEST_TABLE": table,
            "TEST_FILES": str(files),
            "TEST_BROKER": broker,
            "PYTHONPATH": os.pathsep.join([str(home), str(Path(__file__).parents[2])]),
        }
        self._programs: list[Program] = []
        self.workers = [self._start_worker(name) for name in ("first", "second")]
        for worker in self.workers:
            worker.wait_until(lambda worker=worker: " ready." in worker.output, "a worker")  # type: ignore[misc]  # bound

    def _start_worker(self, name: str) -> Program:
        options = [
            "-Q",
            "dagster",
            "-c",
            "2",
            "-n",
            f"{name}@%h",
            "-l",
            "INFO",
            "--without-mingle",
            "--without-gossip",
            "--disable-prefetch",
        ]
        return self._start(name, "celery", "-A", "dagster_celery.app", "worker", *options)

    def _start(self, name: str, *arguments: str) -> Program:
        program = Program(name, self.home, self._environ, *arguments)
        self._programs.append(program)
        return program

    def run(self, name: str, *arguments: str) -> Program:
        """Start a run in a process of its own."""
        return self._start(name, Path(sys.executable).name, str(JOB), *arguments)

    def ids(self) -> list[int]:
        return sorted(self._server.read(self._table).column("id").to_pylist())

    def close(self) -> None:
        for program in self._programs:
            program.close()


@pytest.fixture
def hosted(tmp_path: Path, zerobus: LocalZerobus, table_name: str, redis: Any) -> Iterator[Hosted]:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL)")
    running = Hosted(tmp_path, zerobus, table_name, redis.url(2))
    try:
        yield running
    finally:
        running.close()


def steps_of(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> set[str]:
    events = instance.all_logs(run_id, of_type=kind)
    return {event.step_key for event in events if event.step_key and "__deliver" in event.step_key}


def worker_of(instance: dg.DagsterInstance, run_id: str, step_key: str) -> str:
    """The worker that took a step."""
    for record in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = record.dagster_event
        if record.step_key == step_key and event is not None and "Celery worker" in event.engine_event_data.metadata:
            return str(event.engine_event_data.metadata["Celery worker"].value).partition("@")[0]
    return ""


def test_only_the_shards_of_a_celery_worker_that_is_killed_run_again(
    hosted: Hosted, zerobus: LocalZerobus, table_name: str
) -> None:
    slow = zerobus.faults.add(action="delay_ack", seconds=0.2, table=table_name)
    with dg.DagsterInstance.from_config(str(hosted.home)) as instance:
        running = hosted.run("run", "run")
        run_id = running.wait_until(
            lambda: next((run.run_id for run in instance.get_runs(limit=1)), ""), "the run of the job"
        )

        def is_in_the_middle() -> bool:
            delivered = hosted.ids()
            started = steps_of(instance, run_id, dg.DagsterEventType.STEP_START)
            own = [int(step[-5:-1]) for step in started if worker_of(instance, run_id, step) == "second"]
            return any(sum(row // ROWS == index for row in delivered) >= 150 for index in own)

        running.wait_until(is_in_the_middle, "a shard of the second worker in its middle")
        hosted.workers[1].kill()
        zerobus.faults.remove(slow)
        started = steps_of(instance, run_id, dg.DagsterEventType.STEP_START)
        lost = {step for step in started if worker_of(instance, run_id, step) == "second"}
        lost -= steps_of(instance, run_id, dg.DagsterEventType.STEP_SUCCESS)
        assert 1 <= len(lost) <= 2

        def others_are_done() -> bool:
            return len(steps_of(instance, run_id, dg.DagsterEventType.STEP_SUCCESS)) == SHARDS - len(lost)

        running.wait_until(others_are_done, "the shards of the other worker")
        # Celery never says that a worker is gone: the run waits until someone ends it, or run monitoring does.
        running.close()
        run = instance.get_run_by_id(run_id)
        assert run is not None
        instance.report_run_failed(run)
        again = hosted.run("again", "from-failure", run_id)
        assert again.wait() == 0, again.output[-5_000:]
        second = instance.get_runs(limit=1)[0].run_id
        assert steps_of(instance, second, dg.DagsterEventType.STEP_START) == lost
        event = instance.get_latest_materialization_event(KEY)
        assert event is not None
        assert event.asset_materialization is not None
        receipt: Any = event.asset_materialization.metadata["dagster-zerobus/receipt"].value
    assert (receipt["rows_read"], receipt["shards"]) == (SHARDS * ROWS, SHARDS)
    assert receipt["rows_acked"] + receipt["rows_skipped"] == SHARDS * ROWS
    assert receipt["rows_skipped"] > 0
    delivered = hosted.ids()
    assert set(delivered) == set(range(SHARDS * ROWS))
    assert len(delivered) - SHARDS * ROWS <= receipt["rows_resent"]
