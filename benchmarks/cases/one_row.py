"""Delivers one row in a fresh process: the cost of a small task, including imports (Linux)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import OURS, Figure, Settings, Spread, Target
from benchmarks.small_task import run_task
from zerobus_local import LocalZerobusProcess


def figures(settings: Settings) -> Iterator[Figure]:
    """Yield CPU seconds and peak memory of a process that can use bytecode files."""
    with tempfile.TemporaryDirectory() as folder, LocalZerobusProcess.start(Path(folder)) as server:
        server.create_table("CREATE TABLE main.default.small (id BIGINT, name STRING)")
        variables = {"PYTHONDONTWRITEBYTECODE": ""}
        run_task(server.workspace, variables)
        runs = [run_task(server.workspace, variables) for _ in range(3 if settings.quick else 9)]
    name = "one row in a fresh process"
    cpu = Spread.of([seconds for seconds, _ in runs])
    peak = Spread.of([float(mebibytes) for _, mebibytes in runs])
    yield Figure(case="one_row", name=f"{name}, CPU", unit="s", values={OURS: cpu}, target=Target(0.5, is_least=False))
    yield Figure(
        case="one_row", name=f"{name}, peak", unit="MiB", values={OURS: peak}, target=Target(64, is_least=False)
    )
