"""Sources that change between two attempts: no row of the last attempt's source may be missing when it is green.

    python -m tests.core.changes --schedules 200

Each schedule delivers a generator with a ``source_version`` or the result of a query, is broken off, changes the source
as its seed says (rows lost, gained, moved, changed, or none at all), and tries again until an attempt is green.  Then
the table is held against what the source has.  A source that did not change must be resumed: its durable rows are
skipped, less than a block for each range of them.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zerobus_core import IngestOptions, Receipt, ingest
from zerobus_core.checkpoint import MemoryCheckpointStore
from zerobus_core.errors import SourceChangedError, ZerobusIngestError
from zerobus_local import LocalZerobusProcess

BLOCK = 1_024
CHANGES = ("lost", "gained", "moved", "changed", "none")


class BrokenOffError(Exception):
    """What a source raises in the middle."""


@dataclass
class Outcome:
    """What one schedule came to; ``problems`` is empty if every promise held."""

    seed: int
    kind: str
    change: str
    attempts: int = 0
    noticed: bool = False
    durable: int = 0
    ranges: int = 0
    skipped: int = 0
    problems: list[str] = field(default_factory=list)


def changed(ids: list[int], change: str, draw: random.Random) -> list[int]:
    """Another content of the source."""
    ids = list(ids)
    at = [draw.randrange(len(ids)) for _ in range(draw.randint(1, 10))]
    if change == "lost":
        ids = [number for place, number in enumerate(ids) if place not in at]
    elif change == "gained":
        for place in at:
            ids.insert(place, -1 - place)
    elif change == "moved":
        for place in at:
            other = draw.randrange(len(ids))
            ids[place], ids[other] = ids[other], ids[place]
    elif change == "changed":
        for place in at:
            ids[place] = -1_000_000 - place
    return ids


def generated(ids: list[int], breaks_at: int | None) -> Iterator[dict[str, int]]:
    for place, number in enumerate(ids):
        if place == breaks_at:
            raise BrokenOffError
        yield {"id": number, "v": number}


class Cursor:
    """A cursor of a query, which loses its connection after so many rows."""

    def __init__(self, cursor: Any, breaks_at: int | None) -> None:
        self._cursor, self._left = cursor, breaks_at
        self.description = cursor.description

    def fetchmany(self, size: int) -> list[Any]:
        if self._left is not None:
            if self._left <= 0:
                raise BrokenOffError
            size = min(size, self._left)
            self._left -= size
        return list(self._cursor.fetchmany(size))


def queried(ids: list[int], breaks_at: int | None) -> Cursor:
    """The rows of a database in the order of a column of their own, as far as ids are unique."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (place INTEGER PRIMARY KEY, id INTEGER, v INTEGER)")
    database.executemany("INSERT INTO t VALUES (?, ?, ?)", [(place, n, n) for place, n in enumerate(ids)])
    return Cursor(database.execute("SELECT id, v FROM t ORDER BY place"), breaks_at)


def run_schedule(server: LocalZerobusProcess, seed: int, *, change: str | None = None, **fixed: Any) -> Outcome:
    """Run one schedule, and look into its table."""
    draw = random.Random(seed)
    outcome = Outcome(seed, draw.choice(["generator", "query"]), change or draw.choice(CHANGES))
    table = f"main.default.changes_{seed}"
    server.create_table(f"CREATE TABLE {table} (id BIGINT NOT NULL, v BIGINT)")
    settings = {
        "record_format": draw.choice(["protobuf", "json", "arrow"]),
        "streams": draw.choice([1, 4]),
        "batch_rows": draw.choice([100, 333, 1_000, 5_000]),
        "source_version": str(seed),
        **fixed,
    }
    ids = list(range(draw.randint(2_000, 9_000)))
    store = MemoryCheckpointStore()
    source = {"generator": generated, "query": queried}[outcome.kind]

    def attempt(content: list[int], breaks_at: int | None) -> Receipt:
        outcome.attempts += 1
        options = IngestOptions(**{**settings, "batch_rows": draw.choice([100, 333, 1_000])})
        return ingest(server.workspace, table, source(content, breaks_at), options=options, checkpoint=store)

    for _ in range(draw.randint(1, 2)):
        try:
            attempt(ids, draw.randint(len(ids) // 4, len(ids)))
        except BrokenOffError:
            continue
        outcome.problems.append("green although the source broke off")
    checkpoint = store.load()
    assert checkpoint is not None
    outcome.durable, outcome.ranges = checkpoint.durable.rows, len(checkpoint.durable)
    ids = changed(ids, outcome.change, draw)
    receipt = None
    while receipt is None and outcome.attempts < 6:
        try:
            receipt = attempt(ids, None)
        except SourceChangedError:
            outcome.noticed = True
        except ZerobusIngestError as error:
            outcome.problems.append(f"{type(error).__name__}: {error}")
            return outcome
    _judge(server, table, outcome, ids, receipt)
    return outcome


def _judge(server: LocalZerobusProcess, table: str, outcome: Outcome, ids: list[int], receipt: Receipt | None) -> None:
    if receipt is None:
        outcome.problems.append("never green")
        return
    outcome.skipped = receipt.rows_skipped
    found = server.read(table).column("id").to_pylist()
    if missing := set(ids) - set(found):
        outcome.problems.append(f"green, and {len(missing)} rows of the source are not in the table")
    doubled = len(found) - len(set(found))
    if doubled > receipt.rows_resent:
        outcome.problems.append(f"{doubled} duplicates, {receipt.rows_resent} admitted")
    if outcome.change == "none":
        if outcome.noticed or (receipt.started_over and outcome.durable):
            outcome.problems.append(f"started over for nothing: {receipt.started_over}")
        lost = outcome.durable - receipt.rows_skipped
        if not 0 <= lost < max(1, BLOCK * outcome.ranges):
            outcome.problems.append(f"skipped {receipt.rows_skipped} of {outcome.durable} durable rows")


def run(seeds: range, folder: Path, **fixed: Any) -> list[Outcome]:
    """Run schedules one after the other on one server process."""
    with LocalZerobusProcess.start(folder, commit_delay=0.005) as server:
        return [run_schedule(server, seed, **fixed) for seed in seeds]


def figures(outcomes: list[Outcome]) -> str:
    """A line for each kind of change."""
    lines = [f"{'change':<10}{'schedules':>10}{'noticed':>9}{'attempts':>10}{'skipped/durable':>17}{'problems':>10}"]
    for change in (*CHANGES, "all"):
        chosen = [outcome for outcome in outcomes if change in (outcome.change, "all")]
        if chosen:
            share = statistics.mean(o.skipped / o.durable if o.durable else 1.0 for o in chosen)
            lines.append(
                f"{change:<10}{len(chosen):>10}{sum(o.noticed for o in chosen):>9}{sum(o.attempts for o in chosen):>10}"
                f"{share:>17.3f}{sum(bool(o.problems) for o in chosen):>10}"
            )
    lines += [f"seed {o.seed} ({o.kind}, {o.change}): {'; '.join(o.problems)}" for o in outcomes if o.problems]
    return "\n".join(lines)


def main() -> int:
    """Run the schedules and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--change", choices=CHANGES)
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.schedules)
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run(seeds, Path(folder), change=arguments.change)
    print(figures(outcomes))
    return 1 if any(outcome.problems for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
