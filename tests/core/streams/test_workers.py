"""Threads that stay for the next job: none is lost, none is run twice, and none waits behind another."""

from __future__ import annotations

import os
import random
import threading
import time
from queue import SimpleQueue

import pytest

from zerobus_core.streams.workers import Workers


def ran_in(workers: Workers, name: str = "job") -> tuple[int, str]:
    results: SimpleQueue[tuple[int, str]] = SimpleQueue()
    workers.run(lambda: results.put((threading.get_ident(), threading.current_thread().name)), name=name)
    return results.get(timeout=10.0)


def wait_for_idle(workers: Workers, count: int) -> None:
    end = time.monotonic() + 10.0
    while f"{count} idle" not in repr(workers):
        assert time.monotonic() < end, workers
        time.sleep(0.001)


def test_a_thread_that_is_done_takes_the_next_job_under_its_name() -> None:
    workers = Workers()
    first, _ = ran_in(workers)
    wait_for_idle(workers, 1)
    assert ran_in(workers, "zerobus-stream-2") == (first, "zerobus-stream-2")


def test_a_job_never_waits_behind_another() -> None:
    workers = Workers()
    hold = threading.Event()
    workers.run(lambda: hold.wait(10.0) and None, name="slow")
    assert ran_in(workers)[1] == "job"
    hold.set()
    wait_for_idle(workers, 2)


def test_a_job_that_comes_while_a_thread_gives_up_waiting_is_run_once() -> None:
    workers = Workers(idle=0.001)
    draw = random.Random(4)
    results: SimpleQueue[int] = SimpleQueue()
    for number in range(1_000):
        workers.run(lambda number=number: results.put(number), name="job")  # type: ignore[misc]
        time.sleep(draw.choice([0.0, 0.0009, 0.001, 0.0011, 0.002]))
    assert sorted(results.get(timeout=10.0) for _ in range(1_000)) == list(range(1_000))
    wait_for_idle(workers, 0)
    assert results.empty()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_child_of_a_fork_starts_threads_of_its_own() -> None:
    workers = Workers()
    ran_in(workers)
    wait_for_idle(workers, 1)
    child = os.fork()
    if child == 0:
        done = threading.Event()
        workers.run(done.set, name="job")
        os._exit(0 if done.wait(10.0) else 1)
    assert os.waitpid(child, 0)[1] == 0
