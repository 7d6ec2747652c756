"""Measures what a task of one row costs: CPU seconds and memory of a fresh process, with and without bytecode files.

Run it with ``python -m benchmarks.small_task``. Each process that is measured asks a local server for a token and a
schema, opens a stream, and waits for one acknowledgement. The server runs in another process. Linux only: the memory is
read from /proc.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from zerobus_core import ClientCredentials, Workspace
from zerobus_local import LocalZerobus

TASK = """
import re, resource
from zerobus_core import Workspace, ingest
receipt = ingest(Workspace.from_env(), "main.default.small", [{"id": 1, "name": "x"}])
assert receipt.rows_acked == 1
used = resource.getrusage(resource.RUSAGE_SELF)
# Not ru_maxrss: that starts at what the parent held when it started this process.
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())
print(used.ru_utime + used.ru_stime, int(peak[1]) // 1024)
"""
_RUNS = 5
_MODES = {
    "with bytecode files": {"PYTHONDONTWRITEBYTECODE": ""},
    "without": {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": "/nonexistent"},
}


def run_task(workspace: Workspace, variables: dict[str, str]) -> tuple[float, int]:
    """Return the CPU seconds and the peak memory in MiB of a process that delivers one row."""
    assert isinstance(workspace.credentials, ClientCredentials)
    known = {
        "ZEROBUS_SERVER_ENDPOINT": workspace.endpoint,
        "DATABRICKS_HOST": workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": workspace.credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": workspace.credentials.client_secret,
    }
    ended = subprocess.run(
        [sys.executable, "-c", TASK], env=os.environ | known | variables, capture_output=True, text=True, check=True
    )
    seconds, megabytes = ended.stdout.split()
    return float(seconds), int(megabytes)


def main(_arguments: list[str] | None = None) -> None:
    """Print a line with bytecode files, and a line without them: the CPU seconds of each run, and the peak memory."""
    with tempfile.TemporaryDirectory() as folder, LocalZerobus.start(Path(folder) / "data") as server:
        server.create_table("CREATE TABLE main.default.small (id BIGINT, name STRING)")
        for mode, variables in _MODES.items():
            run_task(server.workspace, variables)
            runs = [run_task(server.workspace, variables) for _ in range(_RUNS)]
            seconds = " ".join(f"{run[0]:.2f}" for run in runs)
            print(f"{mode}: {seconds} CPU s, {max(run[1] for run in runs)} MiB")


if __name__ == "__main__":
    main()
