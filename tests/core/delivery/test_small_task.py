"""What one row costs a fresh process: each mapped task of an orchestrator pays it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

from benchmarks.small_task import TASK, run_task
from tests.core.conftest import environment
from zerobus_local import LocalZerobus

# Each of them takes a tenth of a second or more to import, and none of them is needed for a row.
SLOW = ("databricks.sdk", "requests", "pyarrow", "numpy", "pandas", "sqlglot", "fsspec", "rich")
# These take that long together where there are no bytecode files.
SLOW += ("difflib", "html", "importlib.metadata", "opentelemetry", "zipfile")
SLOW += ("concurrent.futures", "gzip", "pathlib", "zerobus_core.bad_rows.dead_letter", "zerobus_core.file_formats")
SLOW += ("zerobus_core.schema.inference", "zerobus_core.sources.files.source", "zerobus_core.sources.rows.cursor")
SLOW += ("zerobus_core.sources.shards.read", "zerobus_core.sources.sql.query", "zerobus_core.storage.atomic_file")


def imported_by_task(zerobus: LocalZerobus, **variables: str) -> list[str]:
    """Which slow packages a task of one row imports, in a process with these variables."""
    zerobus.create_table("CREATE TABLE IF NOT EXISTS main.default.small (id BIGINT, name STRING)")
    # What is there before is of this installation's .pth files, and not ours.
    script = f"import sys\nbefore = set(sys.modules)\n{TASK}\nnew = sys.modules.keys() - before\n"
    script += f"print([name for name in {SLOW!r} if name in new])"
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | environment(zerobus.workspace) | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    names: list[str] = ast.literal_eval(ended.stdout.splitlines()[1])
    return names


def test_a_task_of_one_row_imports_no_slow_package(zerobus: LocalZerobus) -> None:
    assert imported_by_task(zerobus) == []


def test_a_provider_that_a_variable_names_is_told_of_a_task_of_one_row(zerobus: LocalZerobus) -> None:
    assert "opentelemetry" in imported_by_task(zerobus, OTEL_PYTHON_TRACER_PROVIDER="sdk_tracer_provider")


def test_a_task_of_one_row_takes_a_third_of_a_cpu_second(zerobus: LocalZerobus) -> None:
    zerobus.create_table("CREATE TABLE IF NOT EXISTS main.default.small (id BIGINT, name STRING)")
    run_task(zerobus.workspace, {"PYTHONDONTWRITEBYTECODE": ""})  # which writes the bytecode files
    runs = [run_task(zerobus.workspace, {"PYTHONDONTWRITEBYTECODE": ""})[0] for _ in range(3)]
    assert min(runs) < 0.35, runs
