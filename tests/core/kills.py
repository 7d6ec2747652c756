"""A delivery that is killed with -9 again and again, and taken up by the next try each time.

    python -m tests.core.kills --rows 1000000 --kills 10

A child process delivers a Parquet file on four streams with a checkpoint file.  It is killed at random moments, judged
by how many rows its table holds; the last try is left to finish.  Then the Delta table is held against the source, and
the duplicates against what the tries admitted in ``rows_resent``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

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
# What is in flight when the process dies may be there twice: little in flight, little to repeat.
CHILD = """
import json, sys
from zerobus_core import FileCheckpointStore, IngestOptions, Workspace, ingest
receipt = ingest(
    Workspace.from_env(), "main.default.t", sys.argv[1],
    options=IngestOptions(
        streams=4, batch_rows=200, max_unacked_bytes=60_000,
        delivery_columns={"delivery_id": "delivery", "row_number": "row"},
    ),
    checkpoint=FileCheckpointStore(sys.argv[2]),
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


def kill_again_and_again(folder: Path, *, rows: int, kills: int, seed: int = 0) -> Story:
    """Run the tries; returns what was seen."""
    draw = random.Random(seed)
    source, checkpoint = folder / "rows.parquet", folder / "checkpoint.json"
    ids = pa.array(range(rows), pa.int64())
    pq.write_table(pa.table({"id": ids, "note": ids.cast(pa.string())}), source, row_group_size=50_000)
    story = Story()
    with LocalZerobusProcess.start(folder / "server", commit_delay=0.005) as server:
        server.create_table(
            f"CREATE TABLE {TABLE} (id BIGINT NOT NULL, note STRING, delivery STRING NOT NULL, row BIGINT NOT NULL)"
        )
        command = [sys.executable, "-c", CHILD, str(source), str(checkpoint)]
        for number in range(kills):
            _killed_try(server, command, draw.randint(1, rows // (kills + 2)))
            state = json.loads(checkpoint.read_text())
            _note(story, f"try {number + 1}, killed", state["counts"])
        done = subprocess.run(command, env=_environment(server), capture_output=True, text=True, check=True)
        _note(story, f"try {kills + 1}, finished", json.loads(done.stdout))
        _judge(story, server.read(TABLE), rows)
    return story


def _killed_try(server: LocalZerobusProcess, command: list[str], after_rows: int) -> None:
    held = _rows_in(server)
    child = subprocess.Popen(command, env=_environment(server), stdout=subprocess.DEVNULL)
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
        f"({story.duplicates / rows:.2%}), {story.admitted:,} admitted, {clean.num_rows:,} after the deduplicating view"
    )


def main() -> None:
    """Print the story."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        story = kill_again_and_again(Path(folder), rows=arguments.rows, kills=arguments.kills, seed=arguments.seed)
    print("\n".join(story.lines))


if __name__ == "__main__":
    main()
