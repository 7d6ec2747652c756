"""A delivery that is killed with -9 again and again, and taken up by the next try each time.

    python -m tests.core.kills --rows 1000000 --kills 10
    python -m tests.core.kills --rows 400000 --kills 5          # over four streams, with 28,000 double rows or fewer
    python -m tests.core.kills --rows 60000 --kills 1 --deliveries 20

A child process delivers a Parquet file on four streams with a checkpoint file.  It is killed at random moments, judged
by how many rows its table holds; the last try is left to finish.  Then the Delta table is held against the source.

``rows_resent`` is held against facts from outside: it is at least the duplicates in the table.  And it is at most,
for each kill, the rows that the SDK was given (see ``sdk_tap``) and that are not durable in the checkpoint that
the kill left, plus one reservation: the most rows that a save let the attempt send beyond those that it had sent.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import sqlglot
from deltalake import DeltaTable
from sqlglot import exp

from zerobus_core import ClientCredentials
from zerobus_core.dedup import dedup_view_sql
from zerobus_local import LocalZerobusProcess
from zerobus_local.catalog.catalog import Catalog

TABLE = "main.default.t"
ROOT = Path(__file__).parents[2]
# What is in flight when the process dies may be there twice: little in flight, little to repeat.
CHILD = """
import json, os, sys
from tests.core.sdk_tap import tapped
from zerobus_core import FileCheckpointStore, IngestOptions, Workspace, ingest

log = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def note(*what):
    os.write(log, (json.dumps(what) + "\\n").encode())  # at once, so that it outlives a kill

class LoggedStore(FileCheckpointStore):
    def save(self, checkpoint):
        note("save", 0, checkpoint.reached)
        super().save(checkpoint)

with tapped(lambda workspace, table, ids: note("given", min(ids), max(ids) + 1)):
    receipt = ingest(
        Workspace.from_env(), "main.default.t", sys.argv[1],
        options=IngestOptions(
            streams=4, batch_rows=200, max_unacked_bytes=60_000, record_format="arrow",
            delivery_columns={"delivery_id": "delivery", "row_number": "row"},
        ),
        checkpoint=LoggedStore(sys.argv[2]),
    )
print(json.dumps(receipt.as_dict()))
"""


@dataclass
class Story:
    """What was seen: a line for each try, and the table at the end."""

    lines: list[str] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    admitted: int = 0
    duplicates: int = 0
    missing: int = 0
    rows_after_dedup: int = 0
    allowed: int = 0
    """As many rows as the kills allow to be admitted."""

    @property
    def excess(self) -> int:
        """Rows admitted that are not double."""
        return self.admitted - self.duplicates

    @property
    def problems(self) -> list[str]:
        """Every promise that was broken."""
        found = []
        if self.missing:
            found.append(f"{self.missing:,} rows are missing")
        if self.excess < 0:
            found.append(f"{self.duplicates:,} rows are double, and {self.admitted:,} admitted")
        if self.admitted > self.allowed:
            found.append(f"{self.admitted:,} rows are admitted, and the kills allow {self.allowed:,}")
        return found


class Observer:
    """What the tries noted, and what each kill allows to be admitted.  Sets of rows, and no account of the product."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.reservation = 0  # the most rows beyond those given so far that a save let a try send
        self._reached = self._furthest = 0

    def rows_allowed(self, checkpoint: dict[str, Any]) -> int:
        """After a kill that left ``checkpoint``; empties the log."""
        given: set[int] = set()
        for line in self.log.read_text().splitlines():
            kind, first, stop = json.loads(line)
            if kind == "given":
                given.update(range(first, stop))
                self._furthest = max(self._furthest, stop)
            elif stop > self._reached:
                self._reached = stop
                self.reservation = max(self.reservation, stop - self._furthest)
        self.log.unlink()
        for start, stop in checkpoint["durable"]:
            given.difference_update(range(start, stop))
        return len(given) + self.reservation


def kill_again_and_again(folder: Path, *, rows: int, kills: int, seed: int = 0) -> Story:
    """Run the tries; returns what was seen."""
    draw = random.Random(seed)
    source, checkpoint = folder / "rows.parquet", folder / "checkpoint.json"
    ids = pa.array(range(rows), pa.int64())
    pq.write_table(pa.table({"id": ids, "note": ids.cast(pa.string())}), source, row_group_size=50_000)
    story, observer = Story(), Observer(folder / "log")
    with LocalZerobusProcess.start(folder / "server", commit_delay=0.005) as server:
        server.create_table(
            f"CREATE TABLE {TABLE} (id BIGINT NOT NULL, note STRING, delivery STRING NOT NULL, row BIGINT NOT NULL)"
        )
        command = [sys.executable, "-c", CHILD, str(source), str(checkpoint), str(observer.log)]
        for number in range(kills):
            _killed_try(server, command, draw.randint(1, rows // (kills + 2)))
            state = json.loads(checkpoint.read_text())
            story.allowed += observer.rows_allowed(state)
            _note(story, f"try {number + 1}, killed", state["counts"])
        done = subprocess.run(command, env=_environment(server), cwd=ROOT, capture_output=True, text=True, check=True)
        _note(story, f"try {kills + 1}, finished", json.loads(done.stdout))
        _judge(story, server.read(TABLE), rows)
    return story


def _killed_try(server: LocalZerobusProcess, command: list[str], after_rows: int) -> None:
    held = _rows_in(server)
    child = subprocess.Popen(command, env=_environment(server), cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while _rows_in(server) < held + after_rows and child.poll() is None:
        assert time.monotonic() < deadline, "the child does not get on"
        time.sleep(0.01)
    child.kill()
    child.wait()


def _rows_in(server: LocalZerobusProcess) -> int:
    """From the table's log, without reading the rows."""
    path = Catalog(server.data).table(TABLE).path
    return sum(pa.table(DeltaTable(path).get_add_actions(flatten=True)).column("num_records").to_pylist())


def _environment(server: LocalZerobusProcess) -> dict[str, str]:
    workspace = server.workspace
    assert isinstance(workspace.credentials, ClientCredentials)
    return os.environ | {
        "ZEROBUS_SERVER_ENDPOINT": workspace.endpoint,
        "DATABRICKS_HOST": workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": workspace.credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": workspace.credentials.client_secret,
    }


def _note(story: Story, name: str, counts: dict[str, int]) -> None:
    story.skipped.append(counts["rows_skipped"])
    story.admitted = counts["rows_resent"]  # each try's account holds those that it resumed
    story.lines.append(
        f"{name:<18} read {counts['rows_read']:>9,}  acknowledged {counts['rows_acked']:>9,}  "
        f"skipped {counts['rows_skipped']:>9,}  resent {counts['rows_resent']:>7,}"
    )


def _judge(story: Story, table: pa.Table, rows: int) -> None:
    distinct = set(table.column("id").to_pylist())
    story.missing = rows - len(distinct)
    story.duplicates = table.num_rows - len(distinct)
    # The printed view, on the Delta table's Arrow data.
    view = sqlglot.parse_one(dedup_view_sql(TABLE, ["delivery", "row"]), read="databricks")
    query = view.expression.transform(lambda node: exp.to_table("stored") if isinstance(node, exp.Table) else node).sql(
        "duckdb"
    )
    with duckdb.connect() as connection:
        connection.register("stored", table)
        clean = connection.sql(query).to_arrow_table()
    assert sorted(clean.column("id").to_pylist()) == sorted(distinct), "the view does not show each row once"
    story.rows_after_dedup = clean.num_rows
    story.lines.append(
        f"table: {table.num_rows:,} rows, {story.missing:,} missing, {story.duplicates:,} duplicates "
        f"({story.duplicates / rows:.2%}), {story.admitted:,} admitted, "
        f"{story.allowed:,} allowed, {clean.num_rows:,} after the deduplicating view"
    )


def figures(stories: list[Story]) -> str:
    """One line on all deliveries, and one for each problem."""
    excess = [story.excess for story in stories]
    lines = [
        f"{len(stories)} deliveries: double rows {sum(story.duplicates for story in stories):,}; admitted - double: "
        f"least {min(excess):,}, median {statistics.median(excess):,g}, most {max(excess):,}; least that the kills "
        f"allow beyond what was admitted: {min(story.allowed - story.admitted for story in stories):,}"
    ]
    return "\n".join(lines + [f"delivery {n}: {'; '.join(s.problems)}" for n, s in enumerate(stories) if s.problems])


def main() -> int:
    """Print the stories and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=10, help="of each delivery")
    parser.add_argument("--deliveries", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the first delivery")
    arguments = parser.parse_args()
    stories = []
    for seed in range(arguments.seed, arguments.seed + arguments.deliveries):
        with tempfile.TemporaryDirectory() as folder:
            story = kill_again_and_again(Path(folder), rows=arguments.rows, kills=arguments.kills, seed=seed)
        print("\n".join(story.lines), flush=True)
        stories.append(story)
    print(figures(stories))
    return 1 if any(story.problems for story in stories) else 0


if __name__ == "__main__":
    sys.exit(main())
