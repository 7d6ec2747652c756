"""Compares with the loop of the SDK's README: one record per call, with a wait after each record or at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from benchmarks.by_hand import one_record_per_call
from benchmarks.encoder import CASES
from benchmarks.measuring import OURS, Figure, Settings, Spread, measure
from zerobus_core import TableSchema, ingest
from zerobus_local import LocalZerobusProcess


def figures(settings: Settings) -> Iterator[Figure]:
    """Yield rates; each way sends as many rows as it can send in a second or two.

    The server commits after 10 ms, so that a wait for each record takes as long as with a fast service.
    """
    case = CASES[0]
    rows = [case.row(i) for i in range(100_000)]
    few, some = rows[: 25 if settings.quick else 50], rows[: 2_000 if settings.quick else 10_000]
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalZerobusProcess.start(folder, commit_delay=0.01) as server,
    ):
        server.create_table(f"CREATE TABLE main.default.readme ({case.columns})")
        schema = TableSchema.fetch(server.workspace, "main.default.readme")
        turns = 2 if settings.quick else 5
        ways = {
            "waits for each record": (few, lambda: one_record_per_call(server.workspace, schema, few, wait=True)),
            "flushes at the end": (some, lambda: one_record_per_call(server.workspace, schema, some, wait=False)),
            OURS: (rows, lambda: ingest(server.workspace, schema.table, rows)),
        }
        ingest(server.workspace, schema.table, rows)
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(turns):
            for way, (given, work) in ways.items():
                rates[way].append(len(given) / measure(work).wall)
        for way in list(ways)[:2]:
            times = [ours / theirs for ours, theirs in zip(rates[OURS], rates[way], strict=True)]
            yield Figure(
                case="readme",
                name=f"one record per call, {way}",
                unit="rows/s",
                values={way: Spread.of(rates[way]), OURS: Spread.of(rates[OURS])},
                ratio=Spread.of(times),
            )
