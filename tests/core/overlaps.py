"""Two attempts at one delivery at the same time, as an orchestrator's lost task and its retry.

    python -m tests.core.overlaps --overlaps 20

An older attempt delivers a slow generator with a checkpoint file; after some rows a newer one begins with the same
checkpoint.  The newer one must be green, the older one superseded, or green if all of its rows are durable; and the
duplicates in the table no more than the newer one admits.  It admits no more than the rows that the SDK was given by
the older one (see ``sdk_tap``) and that were not durable in the checkpoint that it found, plus one reservation: the
most rows that a save of the older one let it send beyond those that it had sent.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.core.sdk_tap import Rows, tapped
from zerobus_core import Checkpoint, FileCheckpointStore, IngestOptions, Receipt, Workspace, ingest
from zerobus_core.errors import DeliverySupersededError
from zerobus_local import LocalZerobusProcess


@dataclass
class Outcome:
    """What one overlap came to; ``problems`` is empty if every promise held."""

    seed: int
    older: str = "none"
    doubled: int = 0
    admitted: int = 0
    allowed: int = 0
    """As many rows as may be admitted."""
    reservation: int = 0
    problems: list[str] = field(default_factory=list)


class ObservedStore(FileCheckpointStore):
    """What was found first, and how far beyond the rows that the SDK was given a save let the attempt send."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.given: set[int] = set()
        self.reservation = 0
        self.found: list[Checkpoint | None] = []

    def load(self) -> Checkpoint | None:
        checkpoint = super().load()
        self.found.append(checkpoint)
        return checkpoint

    def save(self, checkpoint: Checkpoint) -> None:
        self.reservation = max(self.reservation, checkpoint.reached - max(self.given, default=-1) - 1)
        super().save(checkpoint)


def run_overlap(server: LocalZerobusProcess, folder: Path, seed: int) -> Outcome:
    """One older and one newer attempt."""
    draw = random.Random(seed)
    rows = draw.randint(2_000, 6_000)
    table, outcome = f"main.default.overlap_{seed}", Outcome(seed)
    server.create_table(f"CREATE TABLE {table} (id BIGINT NOT NULL)")
    options = IngestOptions(
        source_version="1", record_format="json", streams=draw.choice([1, 2]), batch_rows=draw.choice([20, 50, 200])
    )
    begins_at = draw.randint(rows // 10, rows // 2)
    begun, results = threading.Event(), {}
    stores = {name: ObservedStore(folder / f"{seed}.json") for name in ("older", "newer")}
    workspaces = {name: replace(server.workspace) for name in stores}

    def source(name: str, pace: float) -> Iterator[dict[str, int]]:
        for number in range(rows):
            if number % 50 == 0:
                time.sleep(pace)
            if name == "older" and number == begins_at:
                begun.set()
            yield {"id": number}

    def attempt(name: str, pace: float) -> None:
        try:
            results[name] = ingest(
                workspaces[name], table, source(name, pace), options=options, checkpoint=stores[name]
            )
        except BaseException as error:  # noqa: BLE001 - looked at below
            results[name] = error

    def on_given(workspace: Workspace, _table: str, rows: Rows) -> None:
        name = next(name for name, each in workspaces.items() if each is workspace)
        stores[name].given.update(json.loads(row)["id"] for row in rows if isinstance(row, str))

    older = threading.Thread(target=attempt, args=("older", draw.choice([0.005, 0.02])))
    with tapped(on_given):
        older.start()
        begun.wait(60)
        attempt("newer", draw.choice([0.0, 0.01]))
        older.join()
    found = next(checkpoint for checkpoint in [*stores["newer"].found, None])
    durable = {row for start, stop in found.durable for row in range(start, stop)} if found else set[int]()
    outcome.reservation = stores["older"].reservation
    outcome.allowed = len(stores["older"].given - durable) + outcome.reservation
    _judge(server.read(table).column("id").to_pylist(), rows, results, outcome)
    return outcome


def _judge(ids: list[int], rows: int, results: dict[str, Any], outcome: Outcome) -> None:
    newer, older = results["newer"], results["older"]
    outcome.older = "green" if isinstance(older, Receipt) else type(older).__name__
    if not isinstance(newer, Receipt):
        outcome.problems.append(f"the newer attempt ended in {newer!r}")
        return
    if not isinstance(older, Receipt | DeliverySupersededError):
        outcome.problems.append(f"the older attempt ended in {older!r}")
    outcome.doubled, outcome.admitted = len(ids) - len(set(ids)), newer.rows_resent
    if set(ids) != set(range(rows)):
        outcome.problems.append(f"{rows - len(set(ids))} rows are missing")
    if outcome.doubled > outcome.admitted:
        outcome.problems.append(f"{outcome.doubled} rows are double, {outcome.admitted} admitted")
    if outcome.admitted > outcome.allowed:
        outcome.problems.append(f"{outcome.admitted} rows are admitted, {outcome.allowed} may be")


def run(seeds: Iterable[int], folder: Path) -> list[Outcome]:
    """Run overlaps one after the other on one server process."""
    with LocalZerobusProcess.start(folder / "server", commit_delay=0.005) as server:
        return [run_overlap(server, folder, seed) for seed in seeds]


def figures(outcomes: list[Outcome]) -> str:
    """One line, and one for each problem."""
    excess = [outcome.admitted - outcome.doubled for outcome in outcomes]
    ends = sorted({outcome.older for outcome in outcomes})
    lines = [
        f"{len(outcomes)} overlaps: the older attempt ended "
        + ", ".join(f"{sum(o.older == end for o in outcomes)} times {end}" for end in ends),
        f"double rows: median {statistics.median(o.doubled for o in outcomes):.0f}, "
        f"most {max(o.doubled for o in outcomes)}; admitted - double: least {min(excess)}, "
        f"median {statistics.median(excess):.0f}, most {max(excess)}",
        f"largest reservation: median {statistics.median(o.reservation for o in outcomes):.0f}, most "
        f"{max(o.reservation for o in outcomes)}; allowed - admitted: least "
        f"{min(o.allowed - o.admitted for o in outcomes)}",
    ]
    return "\n".join(lines + [f"seed {o.seed}: {'; '.join(o.problems)}" for o in outcomes if o.problems])


def main() -> int:
    """Run the overlaps and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--overlaps", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.overlaps)
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run(seeds, Path(folder))
    print(figures(outcomes))
    return 1 if any(outcome.problems for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
