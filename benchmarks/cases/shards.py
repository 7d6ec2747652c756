"""Compares 8 shards in 2 worker processes with one task, while the server limits the rows per second of a stream."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.fan_out import Work, deliver, ready, write_files
from benchmarks.measuring import OURS, Figure, Settings, Spread, measure
from example_dags.demo import source
from zerobus_core import merge_receipts, split_source
from zerobus_local import LocalZerobusProcess

_LIMIT = 100_000
_SHARDS, _PROCESSES = 8, 2


def figures(settings: Settings) -> Iterator[Figure]:
    """Yield one figure: the rows/s of the shards and of one task, and the ratio of the two."""
    flights = source.flights(100_000 if settings.quick else None)
    table = "main.default.flights"
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalZerobusProcess.start(Path(folder, "server"), rows_per_second=_LIMIT) as server,
        ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as pool,
    ):
        list(pool.map(ready, range(_PROCESSES)))
        place = write_files(Path(folder, "flights"), flights)
        server.create_table(source.flights_sql(table))

        def work(shard: dict[str, object] | None) -> Work:
            return Work(workspace=server.workspace, table=table, shard=shard, place=place, is_sql=False)

        ways = {"one task": [work(None)], OURS: [work(shard) for shard in split_source(place, _SHARDS)]}
        rates: dict[str, list[float]] = {way: [] for way in ways}
        list(pool.map(deliver, ways[OURS]))
        for _ in range(1 if settings.quick else 3):
            for way, works in ways.items():
                receipts = []
                taken = measure(lambda: receipts.append(merge_receipts(pool.map(deliver, works))))  # noqa: B023
                if receipts[0].rows_acked != flights.num_rows:
                    raise SystemExit(f"{way}: {receipts[0].rows_acked} rows of {flights.num_rows} were acknowledged")
                rates[way].append(flights.num_rows / taken.wall)
    times = [ours / one for ours, one in zip(rates[OURS], rates["one task"], strict=True)]
    yield Figure(
        case="shards",
        name=f"{_SHARDS} shards in {_PROCESSES} processes, {_LIMIT:,} rows/s a stream",
        unit="rows/s",
        values={way: Spread.of(taken) for way, taken in rates.items()},
        ratio=Spread.of(times),
    )
