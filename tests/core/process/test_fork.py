"""The child of a fork delivers, whatever the threads of its parent were about at that moment."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from zerobus_core import IngestOptions, ingest
from zerobus_core.schema.unity_catalog import fetch
from zerobus_core.streams import open_rate_of, sdk
from zerobus_local import LocalZerobus

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def ends_well_in_a_child(work: Callable[[], bool]) -> bool:
    """Whether ``work`` is true in the child of a fork, within a minute."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)
        is_well = False
        try:
            is_well = work()
        finally:
            os._exit(0 if is_well else 1)
    return os.waitpid(child, 0)[1] == 0


@contextmanager
def held_elsewhere(lock: AbstractContextManager[object]) -> Iterator[None]:
    """Another thread has the lock, which no thread of a child can ever release."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_child_opens_streams_while_a_thread_of_the_parent_counts_its_own() -> None:
    rate = open_rate_of("http://127.0.0.1:1", "main.default.t")
    with held_elsewhere(rate._lock):
        assert ends_well_in_a_child(lambda: open_rate_of("http://127.0.0.1:1", "main.default.t").take(0.0) == 0.0)


@pytest.mark.parametrize("lock", ["cached tables", "shared SDKs"])
def test_a_child_delivers_whatever_lock_a_thread_of_the_parent_holds(server: LocalZerobus, lock: str) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")

    def delivers() -> bool:
        quick = IngestOptions(timeout=50.0)
        return ingest(server.workspace, "main.default.t", [{"id": 1}], options=quick).rows_acked == 1

    assert delivers()
    with held_elsewhere({"cached tables": fetch._lock, "shared SDKs": sdk._lock}[lock]):
        assert ends_well_in_a_child(delivers)
    assert delivers()
