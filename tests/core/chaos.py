"""Seeded schedules of faults against a server process, and the books of what came of them.

    python -m tests.core.chaos --schedules 1000

Each schedule delivers rows to a table of its own while a handful of faults, drawn from its seed, strike: refused,
slow and silent opens, cut connections at four points, late and withheld ACKs, refusals with retryable statuses,
close signals, token-endpoint failures, a server that stops reading, kill -9 with restart.  The Delta tables are
read only after all schedules have run, so that rows that land late are seen.

``rows_resent`` is held against two facts from outside: it must be no less than the duplicates in the table, and no more
than the rows that the SDK was given again (see ``sdk_tap``): rows that it had taken on a stream that was lost.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.core.sdk_tap import GivenRows, tapped
from zerobus_core import IngestOptions, ingest
from zerobus_core.checkpoint import MemoryCheckpointStore
from zerobus_core.errors import ZerobusIngestError
from zerobus_local import LocalZerobusProcess

# A delivery that is neither green nor red this long after its deadline hangs; the machine may be busy.
GRACE = 10.0
TIMEOUT = 15.0
KILL_SHARE = 0.06
# One of so many schedules has no fault.
CALM_EVERY = 15


def _statuses(draw: random.Random) -> str:
    return draw.choice(["UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED", "ABORTED", "DEADLINE_EXCEEDED", "UNKNOWN"])


def _fault(draw: random.Random, table: str) -> dict[str, Any]:
    kinds: list[dict[str, Any]] = [
        {"action": "refuse_open", "status": _statuses(draw)},
        {"action": "delay_open", "seconds": round(draw.uniform(0.05, 0.5), 3)},
        {"action": "hang_open"},
        {"action": "delay_ack", "seconds": round(draw.uniform(0.02, 0.4), 3)},
        {"action": "withhold_ack"},
        {"action": "cut", "at": draw.choice(["before_commit", "during_commit", "after_commit", "mid_message"])},
        {"action": "fail", "at": draw.choice(["before_commit", "after_commit"]), "status": _statuses(draw)},
        {"action": "fail", "status": "UNAUTHENTICATED", "times": 1},
        {"action": "throttle"},
        {"action": "close_signal", "seconds": round(draw.uniform(0.0, 0.3), 3)},
        {"action": "stop_reading", "seconds": 0},
        {"action": "token_status", "http_status": draw.choice([401, 429, 500, 503]), "times": 1},
        {"action": "token_delay", "seconds": 0.3, "times": 2},
        {"action": "token_garbage", "times": 1},
    ]
    fault = draw.choice(kinds) | {"table": table}
    if draw.random() < 0.5:
        fault.setdefault("times", draw.randint(1, 3))
    else:
        fault |= {"probability": round(draw.uniform(0.05, 0.4), 3), "seed": draw.randrange(2**31)}
    if draw.random() < 0.3 and not fault["action"].startswith("token"):
        fault["stream"] = draw.sample(range(1, 7), 3)
    return fault


@dataclass
class Outcome:
    """What one schedule came to; ``problems`` is empty if every promise held."""

    seed: int
    rows: int
    streams: int
    faults: list[str]
    error: str | None = None
    took: float = 0.0
    resent: int = 0
    acked: int = 0
    durable: list[tuple[int, int]] = field(default_factory=list)
    duplicates: int = 0
    given_again: int = 0
    """Rows that the SDK was given after their first time: as many as the lost streams allow to be admitted."""
    problems: list[str] = field(default_factory=list)

    @property
    def is_calm(self) -> bool:
        """Whether the schedule has no faults."""
        return self.seed % CALM_EVERY == 0

    @property
    def excess(self) -> int:
        """Rows admitted that are not double."""
        return self.resent - self.duplicates

    @property
    def is_content_known(self) -> bool:
        """Whether the checkpoint can hold every row that was acknowledged, and not only whole blocks of them."""
        return self.seed % 2 == 0


def _options(draw: random.Random, seed: int, streams: int, *, patient: bool) -> IngestOptions:
    return IngestOptions(
        record_format=draw.choice(["protobuf", "protobuf", "json", "arrow"]),
        streams=streams,
        batch_rows=draw.randint(10, 150),
        max_unacked_bytes=draw.choice([2_000, 20_000, 64 << 20]),
        ack_timeout=0.8,
        open_timeout=1.0,
        backoff=0.2 if patient else 0.02,
        max_attempts=15 if patient else 5,
        timeout=TIMEOUT,
        max_stream_age=draw.choice([0.3, 600.0]),
        source_version=str(seed),
    )


def _deliver(
    server: LocalZerobusProcess,
    table: str,
    outcome: Outcome,
    options: IngestOptions,
    store: MemoryCheckpointStore,
    draw: random.Random,
) -> None:
    rows = ({"id": i, "note": "x" * draw.randint(0, 40)} for i in range(outcome.rows))
    # The content of a list is known. Rows that are made one after the other are known by digests of whole blocks.
    records = list(rows) if outcome.is_content_known else rows
    started = time.monotonic()
    try:
        receipt = ingest(server.workspace, table, records, options=options, checkpoint=store)
    except ZerobusIngestError as error:
        outcome.error = type(error).__name__
        outcome.acked, outcome.resent = error.counts.rows_acked, error.counts.rows_resent
        if error.table != table:
            outcome.problems.append(f"the error names table {error.table}")
    except BaseException as error:  # noqa: BLE001 - anything else is a finding
        outcome.error = type(error).__name__
        outcome.problems.append(f"an error of no tree of ours: {error!r}")
    else:
        outcome.acked, outcome.resent = receipt.rows_acked, receipt.rows_resent
        if receipt.rows_acked != outcome.rows:
            outcome.problems.append(f"green with {receipt.rows_acked} of {outcome.rows} rows acknowledged")
    outcome.took = time.monotonic() - started
    if outcome.took > TIMEOUT + GRACE:
        outcome.problems.append(f"hung for {outcome.took:.1f} s")


def run_schedule(server: LocalZerobusProcess, seed: int, given: GivenRows) -> Outcome:
    """Run one schedule; the table is checked later, by ``check``.  ``given`` hears what the SDK is given."""
    draw = random.Random(seed)
    table = f"main.default.chaos_{seed}"
    server.create_table(f"CREATE TABLE {table} (id BIGINT NOT NULL, note STRING)")
    outcome = Outcome(seed, draw.randint(200, 2_500), draw.choice([1, 4]), [])
    store = MemoryCheckpointStore()
    for fault in () if outcome.is_calm else [_fault(draw, table) for _ in range(draw.randint(1, 3))]:
        server.faults.add(fault)
        outcome.faults.append(fault["action"])
    killer = None
    if draw.random() < KILL_SHARE and not outcome.is_calm:
        outcome.faults.append("kill -9")
        killer = threading.Timer(draw.uniform(0.02, 0.6), server.restart)
        killer.start()
    # A server that is killed takes seconds to come back.
    options = _options(draw, seed, outcome.streams, patient=killer is not None)
    with tapped(given):
        _deliver(server, table, outcome, options, store, draw)
    if killer is not None:
        killer.join()
    server.faults.clear()
    if checkpoint := store.load():
        outcome.durable = list(checkpoint.durable)
    return outcome


def check(server: LocalZerobusProcess, outcome: Outcome, given: GivenRows) -> None:
    """Hold the outcome against the Delta table, and against what the SDK was given."""
    table = f"main.default.chaos_{outcome.seed}"
    landed = Counter(server.read(table).column("id").to_pylist())
    outcome.duplicates = landed.total() - len(landed)
    outcome.given_again = given.again(table)
    if outcome.error is None and set(landed) != set(range(outcome.rows)):
        outcome.problems.append(f"green, but {outcome.rows - len(landed)} rows are not in the table")
    claimed = {row for start, stop in outcome.durable for row in range(start, stop)}
    if not claimed <= set(landed):
        outcome.problems.append(f"{len(claimed - set(landed))} rows were called durable and are not in the table")
    forgotten = outcome.acked - len(claimed)
    if forgotten < 0 or (forgotten and outcome.is_content_known):
        outcome.problems.append(f"{outcome.acked} rows counted as acknowledged, {len(claimed)} in the checkpoint")
    if outcome.duplicates > outcome.resent:
        outcome.problems.append(f"{outcome.duplicates} duplicates, only {outcome.resent} rows admitted as resent")
    if outcome.is_calm and (outcome.error or outcome.resent):
        outcome.problems.append(f"without faults: {outcome.error}, {outcome.resent} rows admitted as resent")
    if outcome.resent > outcome.given_again:
        outcome.problems.append(
            f"{outcome.resent} rows admitted as resent, and the SDK was given only {outcome.given_again} again"
        )


def run(seeds: Iterable[int], folder: Path) -> list[Outcome]:
    """Run schedules one after the other on one server process of their own."""
    with LocalZerobusProcess.start(folder, commit_delay=0.005) as server:
        outcomes, given = [], GivenRows()
        for seed in seeds:
            outcomes.append(run_schedule(server, seed, given))
            if outcomes[-1].problems:
                print(outcomes[-1], file=sys.stderr, flush=True)
        for outcome in outcomes:
            check(server, outcome, given)
    return outcomes


def table_of(outcomes: list[Outcome]) -> str:
    """The figures, a line for each kind of fault and one for all."""
    lines = [
        f"{'fault':<16}{'runs':>6}{'green':>7}{'red':>6}{'resent':>9}{'dupl.':>8}{'lost':>6}{'hung':>6}{'problems':>10}"
    ]
    kinds = sorted({fault for outcome in outcomes for fault in outcome.faults})
    for kind in [*kinds, "all"]:
        chosen = [outcome for outcome in outcomes if kind == "all" or kind in outcome.faults]
        problems = [problem for outcome in chosen for problem in outcome.problems]
        lines.append(
            f"{kind:<16}{len(chosen):>6}"
            f"{sum(outcome.error is None for outcome in chosen):>7}"
            f"{sum(outcome.error is not None for outcome in chosen):>6}"
            f"{sum(outcome.resent for outcome in chosen):>9}"
            f"{sum(outcome.duplicates for outcome in chosen):>8}"
            f"{sum('not in the table' in problem for problem in problems):>6}"
            f"{sum('hung' in problem for problem in problems):>6}"
            f"{len(problems):>10}"
        )
    errors = Counter(outcome.error for outcome in outcomes if outcome.error)
    lines.append("red by error: " + (", ".join(f"{name} {n}" for name, n in errors.most_common()) or "none"))
    excess = sorted(outcome.excess for outcome in outcomes)
    lines.append(
        f"rows admitted as resent, and not double: least {excess[0]}, median {statistics.median(excess):g}, "
        f"most {excess[-1]}; given to the SDK again: {sum(o.given_again for o in outcomes)}"
    )
    lines.append(f"rows: {sum(o.rows for o in outcomes)}, longest run {max(o.took for o in outcomes):.1f} s")
    return "\n".join(lines)


def _worker(seeds: list[int], folder: str) -> list[Outcome]:
    return run(seeds, Path(folder))


def main() -> int:
    """Run the schedules on two processes and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.schedules)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        shares = [
            (list(seeds[worker :: arguments.workers]), f"{folder}/{worker}") for worker in range(arguments.workers)
        ]
        outcomes = [outcome for share in pool.starmap(_worker, shares) for outcome in share]
    print(table_of(outcomes))
    print(f"{len(outcomes)} schedules in {time.monotonic() - started:.0f} s")
    broken = [outcome for outcome in outcomes if outcome.problems]
    for outcome in broken:
        print(f"seed {outcome.seed}: {'; '.join(outcome.problems)} (faults: {', '.join(outcome.faults)})")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
