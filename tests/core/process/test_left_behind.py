"""What deliveries leave in their process when they are over: threads of the SDK, and what holds a secret."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.core.conftest import environment
from zerobus_local import LocalZerobus

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")

TABLE = "main.default.t"

# A process of its own, where no other thread is one of the SDK's kind.
DELIVERIES = """
import contextlib, gc, sys, time
from pathlib import Path
from zerobus_core import IngestOptions, Workspace, ingest
from zerobus_core.errors import TransportError
from zerobus_core.streams import SdkSession

count, streams, record_format, left = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
options = IngestOptions(streams=streams, record_format=record_format, max_attempts=1, batch_rows=50)

def threads():
    names = []
    for task in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # it may end in this moment
            names.append(task.read_text())
    return sum(name.startswith("tokio") for name in names)

def sessions():
    gc.collect()
    return sum(isinstance(each, SdkSession) for each in gc.get_objects())

for _ in range(count):
    try:
        print("green with", ingest(Workspace.from_env(), "main.default.t", [{"id": i} for i in range(200)],
                                   options=options).streams)
    except TransportError:
        print("failed")
end = time.monotonic() + 60
while (threads() > left or sessions()) and time.monotonic() < end:
    time.sleep(0.2)
print(threads(), "threads and", sessions(), "sessions left")
"""


def deliveries(
    server: LocalZerobus, count: int, *, left: int, streams: int = 1, record_format: str = "protobuf"
) -> list[str]:
    """The outcome of each, and what is left when idle threads of the SDK, which live for ten seconds, have gone."""
    server.create_table(f"CREATE TABLE {TABLE} (id BIGINT NOT NULL)")
    done = subprocess.run(
        [sys.executable, "-c", DELIVERIES, str(count), str(streams), record_format, str(left)],
        env=os.environ | environment(server.workspace) | {"TOKIO_WORKER_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("record_format", ["protobuf", "arrow"])
def test_deliveries_leave_no_thread_of_the_sdk_behind(server: LocalZerobus, record_format: str) -> None:
    assert deliveries(server, 5, left=0, record_format=record_format) == [
        *["green with 1"] * 5,
        "0 threads and 0 sessions left",
    ]


def test_streams_that_open_too_late_to_be_needed_leave_none_either(server: LocalZerobus) -> None:
    server.faults.add(action="delay_open", seconds=5.0, stream=[2, 3])
    assert deliveries(server, 1, left=0, streams=3) == ["green with 1", "0 threads and 0 sessions left"]


@pytest.mark.parametrize("record_format", ["protobuf", "arrow"])
@pytest.mark.parametrize("fault", ["refuse_open", "fail"])
def test_deliveries_that_fail_share_the_threads_that_they_leave(
    server: LocalZerobus, fault: str, record_format: str
) -> None:
    server.faults.add(action=fault, status="UNAVAILABLE")
    assert deliveries(server, 5, left=2, record_format=record_format) == [
        *["failed"] * 5,
        "2 threads and 0 sessions left",
    ]
