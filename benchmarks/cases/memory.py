"""Measures the peak memory of fresh processes that deliver more and more rows from a generator (Linux)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import OURS, Figure, Settings, Spread, Target
from benchmarks.memory import peak_mib
from zerobus_local import LocalZerobusProcess


def figures(settings: Settings) -> Iterator[Figure]:
    """Yield peaks of resident memory in MiB; the target limits the ratio of each peak to the first one."""
    counts = [100_000, 1_000_000] if settings.quick else [1_000_000, 10_000_000]
    if settings.hundred_million:
        counts.append(100_000_000)
    with tempfile.TemporaryDirectory() as folder, LocalZerobusProcess.start(Path(folder)) as server:
        server.create_table("CREATE TABLE main.default.t (id BIGINT NOT NULL, name STRING)")
        first = 0
        for count in counts:
            peak = peak_mib(server, count)
            yield Figure(
                case="memory",
                name=f"generator of {count:,} rows",
                unit="MiB",
                values={OURS: Spread.of([peak])},
                ratio=Spread.of([peak / first]) if first else None,
                target=Target(1.25, is_least=False) if first else None,
            )
            first = first or peak
