"""Profiles the calling thread in deliveries of dicts with a checkpoint: which part of the core takes how much time."""

from __future__ import annotations

import cProfile
import pstats
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.encoder import CASES
from benchmarks.measuring import OURS, Figure, Settings, Spread
from zerobus_core import IngestOptions, ingest
from zerobus_local import LocalZerobusProcess

# Each part of the core, and the texts that the paths of its modules contain. The first part that matches counts.
_PARTS = {
    "digest": ("checkpoint/digest", "xxhash"),
    "checkpoint": ("zerobus_core/checkpoint/", "delivery/checkpointing", "zerobus_core/storage/"),
    "ledger": ("streams/ledger",),
    "gate": ("zerobus_core/delivery/", "zerobus_core/process/"),
    "streams": ("zerobus_core/streams/",),
    "encode": ("zerobus_core/encode/", "zerobus_core/records/"),
    "source": ("zerobus_core/sources/",),
}
_WAITING = ("acquire", "_queue.SimpleQueue", "select.")


def figures(settings: Settings) -> Iterator[Figure]:
    """Yield each part's percentage of the wall time.

    Profiling slows Python code down more than C code, so the percentages of Python code are upper bounds.
    """
    case = CASES[0]
    rows = [case.row(i) for i in range(settings.rows(400_000))]
    shares: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, LocalZerobusProcess.start(Path(folder, "server")) as server:
        server.create_table(f"CREATE TABLE main.default.shares ({case.columns})")
        ingest(server.workspace, "main.default.shares", rows[:20_000])
        for turn in range(1 if settings.quick else 5):
            profiler = cProfile.Profile()
            started = time.perf_counter()
            profiler.enable()
            ingest(
                server.workspace,
                "main.default.shares",
                iter(rows),
                options=IngestOptions(source_version=f"turn {turn}"),
                checkpoint=Path(folder, f"checkpoint-{turn}"),
            )
            profiler.disable()
            wall = time.perf_counter() - started
            for part, seconds in _seconds_by_part(pstats.Stats(profiler)).items():
                shares.setdefault(part, []).append(100 * seconds / wall)
    for part in (*_PARTS, "waiting", "other"):
        taken = shares.get(part, [0.0])
        yield Figure(case="shares", name=part, unit="%", values={OURS: Spread.of(taken)})


def _seconds_by_part(stats: pstats.Stats) -> dict[str, float]:
    """Return the time that is spent in the functions of each part; a C function's time is added to its caller's."""
    seconds: dict[str, float] = {}
    for (file, _, name), (_, _, own, _, callers) in stats.stats.items():  # type: ignore[attr-defined]
        if any(word in name for word in _WAITING):
            seconds["waiting"] = seconds.get("waiting", 0.0) + own
        elif file != "~":
            part = _part_of(file)
            seconds[part] = seconds.get(part, 0.0) + own
        else:
            for (caller, _, _), (_, _, spent, _) in callers.items():
                part = _part_of(name) if "xxhash" in name else _part_of(caller)
                seconds[part] = seconds.get(part, 0.0) + spent
    return seconds


def _part_of(file: str) -> str:
    return next((part for part, words in _PARTS.items() if any(word in file for word in words)), "other")
