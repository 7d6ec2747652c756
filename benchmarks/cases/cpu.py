"""Measures CPU seconds per million rows for each kind of source, because they determine what a worker costs."""

from __future__ import annotations

import csv
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import by_hand
from benchmarks.measuring import OURS, Figure, Settings, Spread, Target, compare
from zerobus_core import TableSchema, ingest
from zerobus_local import LocalZerobusProcess

TABLE = "main.default.cpu"
COLUMNS = {
    "id": ("BIGINT NOT NULL", int),
    "name": ("STRING", str),
    "device": ("STRING", str),
    "temp": ("DOUBLE", float),
    "humidity": ("DOUBLE", float),
    "n": ("INT", int),
    "code": ("BIGINT", int),
}
QUERY = f"SELECT {', '.join(COLUMNS)} FROM t ORDER BY id"


def row(i: int) -> dict[str, Any]:
    """Return row ``i``, which is the same in all sources."""
    return {
        "id": i, "name": f"name-{i}", "device": f"dev-{i % 50}", "temp": 20.5 + i, "humidity": 0.4, "n": i % 1000,
        "code": i % 100,
    }  # fmt: skip


def write_sources(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write the same rows to a file of each kind."""
    with (folder / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(COLUMNS))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "t.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    pq.write_table(pa.Table.from_pylist(rows), folder / "t.parquet")
    with sqlite3.connect(folder / "t.db") as connection:
        declared = "id BIGINT, name TEXT, device TEXT, temp DOUBLE, humidity DOUBLE, n INT, code BIGINT"
        connection.execute(f"CREATE TABLE t ({declared})")
        connection.executemany(
            f"INSERT INTO t VALUES ({','.join('?' * len(COLUMNS))})", [tuple(each.values()) for each in rows]
        )
    connection.close()


def figures(settings: Settings) -> Iterator[Figure]:
    """Yield a figure for each of six kinds of source, compared by CPU time with a loop by hand."""
    rows = [row(i) for i in range(settings.rows(200_000))]
    frame = pd.DataFrame(rows)
    with tempfile.TemporaryDirectory() as name, LocalZerobusProcess.start(Path(name, "server")) as server:
        folder = Path(name)
        write_sources(folder, rows)
        declared = ", ".join(f"{column} {kind}" for column, (kind, _) in COLUMNS.items())
        server.create_table(f"CREATE TABLE {TABLE} ({declared})")
        schema = TableSchema.fetch(server.workspace, TABLE)
        for kind, ways in _ways(server, schema, folder, rows, frame).items():
            samples = compare(ways, settings, seconds=8.0, least=2)
            million = 1_000_000 / len(rows)
            pairs = zip(samples["by hand"], samples[OURS], strict=True)
            yield Figure(
                case="cpu",
                name=kind,
                unit="CPU s per million rows",
                values={way: Spread.of([each.cpu * million for each in taken]) for way, taken in samples.items()},
                ratio=Spread.of([other.cpu / ours.cpu for other, ours in pairs]),
                target=Target(1.0),
            )


def _ways(
    server: LocalZerobusProcess, schema: TableSchema, folder: Path, rows: list[dict[str, Any]], frame: pd.DataFrame
) -> dict[str, dict[str, Callable[[], object]]]:
    workspace, types = server.workspace, {column: kind for column, (_, kind) in COLUMNS.items()}

    def ours(records: Any) -> Callable[[], object]:
        return lambda: ingest(workspace, TABLE, records)

    def from_sqlite() -> None:
        connection = sqlite3.connect(folder / "t.db", check_same_thread=False)
        try:
            ingest(workspace, TABLE, connection.execute(QUERY))
        finally:
            connection.close()

    def hand(loop: Callable[..., None], *given: Any) -> Callable[[], object]:
        return lambda: loop(workspace, schema, *given)

    return {
        "rows (dicts)": {"by hand": hand(by_hand.protobuf_by_hand, rows), OURS: ours(rows)},
        "pandas frame": {"by hand": hand(by_hand.frame_by_hand, frame), OURS: ours(frame)},
        "Parquet": {
            "by hand": hand(by_hand.parquet_by_hand, folder / "t.parquet"),
            OURS: ours(str(folder / "t.parquet")),
        },
        "CSV": {"by hand": hand(by_hand.csv_by_hand, folder / "t.csv", types), OURS: ours(str(folder / "t.csv"))},
        "JSON Lines": {
            "by hand": hand(by_hand.json_lines_by_hand, folder / "t.jsonl"),
            OURS: ours(str(folder / "t.jsonl")),
        },
        "SQL (sqlite)": {"by hand": hand(by_hand.sqlite_by_hand, folder / "t.db", QUERY), OURS: from_sqlite},
    }
