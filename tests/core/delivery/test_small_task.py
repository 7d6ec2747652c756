"""What one row costs a fresh process: each mapped task of an orchestrator pays it."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.small_task import TASK, run_task
from tests.core.conftest import environment
from zerobus_local import LocalZerobus

# Each of them takes a tenth of a second or more to import, and none of them is needed for a row.
SLOW = ("databricks.sdk", "requests", "pyarrow", "numpy", "pandas", "sqlglot", "fsspec", "rich")


def test_a_task_of_one_row_imports_no_slow_package(zerobus: LocalZerobus) -> None:
    zerobus.create_table("CREATE TABLE IF NOT EXISTS main.default.small (id BIGINT, name STRING)")
    script = f"{TASK}\nimport sys\nprint([name for name in {SLOW!r} if name in sys.modules])"
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | environment(zerobus.workspace),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.splitlines()[1:] == ["[]"], ended.stderr


def test_a_task_of_one_row_takes_a_third_of_a_cpu_second(zerobus: LocalZerobus) -> None:
    zerobus.create_table("CREATE TABLE IF NOT EXISTS main.default.small (id BIGINT, name STRING)")
    run_task(zerobus.workspace, {"PYTHONDONTWRITEBYTECODE": ""})  # which writes the bytecode files
    runs = [run_task(zerobus.workspace, {"PYTHONDONTWRITEBYTECODE": ""})[0] for _ in range(3)]
    assert min(runs) < 0.35, runs
