"""Compares the peak memory of two processes: one delivers many rows from a generator, the other one few rows.

Linux only: the memory is read from /proc.

python -m benchmarks.memory --few 50000 --many 5000000
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from zerobus_core import ClientCredentials
from zerobus_local import LocalZerobusProcess

CHILD = """
import re, sys
from zerobus_core import Workspace, ingest
rows = ({"id": i, "name": f"row {i}"} for i in range(int(sys.argv[1])))
receipt = ingest(Workspace.from_env(), "main.default.t", rows)
assert receipt.rows_acked == int(sys.argv[1])
# Not ru_maxrss: that starts at what the parent held when it started this process.
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


def peak_mib(server: LocalZerobusProcess, rows: int) -> int:
    """Return the peak resident memory in MiB of a child process that delivers ``rows`` rows."""
    workspace = server.workspace
    assert isinstance(workspace.credentials, ClientCredentials)
    env = os.environ | {
        "ZEROBUS_SERVER_ENDPOINT": workspace.endpoint,
        "DATABRICKS_HOST": workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": workspace.credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": workspace.credentials.client_secret,
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(rows)], env=env, capture_output=True, text=True, check=False, timeout=1800
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stdout)


def main(arguments: list[str] | None = None) -> None:
    """Print the peaks for few and for many rows, and their difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=50_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, LocalZerobusProcess.start(Path(folder)) as server:
        server.create_table("CREATE TABLE main.default.t (id BIGINT NOT NULL, name STRING)")
        few, many = peak_mib(server, options.few), peak_mib(server, options.many)
    print(f"peak memory: {options.few:,} rows {few} MiB, {options.many:,} rows {many} MiB, difference {many - few} MiB")


if __name__ == "__main__":
    main()
