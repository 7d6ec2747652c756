"""The child of a fork delivers, whatever the threads of its parent were about at that moment."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

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


def test_a_fork_waits_for_a_module_that_another_thread_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_module.py").write_text(
        "import threading, time\nimport slow_events\nslow_events.began.set()\ntime.sleep(1.0)\nvalue = 1\n"
    )
    (tmp_path / "slow_events.py").write_text("import threading\nbegan = threading.Event()\n")
    monkeypatch.syspath_prepend(tmp_path)
    events = importlib.import_module("slow_events")
    importing = threading.Thread(target=importlib.import_module, args=("slow_module",))
    importing.start()
    events.began.wait(60.0)
    assert ends_well_in_a_child(lambda: bool(importlib.import_module("slow_module").value == 1))
    importing.join()
    # The parent also goes on importing.
    (tmp_path / "other_module.py").write_text("value = 2\n")
    assert importlib.import_module("other_module").value == 2


def environment(server: LocalZerobus) -> dict[str, str]:
    described = server.describe()
    return {
        "ZEROBUS_SERVER_ENDPOINT": described["endpoint"],
        "DATABRICKS_HOST": described["workspace_url"],
        "DATABRICKS_CLIENT_ID": described["client_id"],
        "DATABRICKS_CLIENT_SECRET": described["client_secret"],
    }


PREFORK = """
import os, signal, sys, threading, time
from zerobus_core import Workspace, ingest

def deliver():
    return ingest(Workspace.from_env(), "main.default.t", [{"id": 1}]).rows_acked == 1

first = threading.Thread(target=deliver)
first.start()
children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        is_well = False
        try:
            is_well = deliver()
        finally:
            os._exit(0 if is_well else 1)
    children.append(child)
    time.sleep(0.05)
first.join()
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


def test_children_that_are_forked_during_the_first_delivery_of_a_process_deliver(server: LocalZerobus) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PREFORK],
        env=os.environ | environment(server),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(server.read("main.default.t")) == 9
