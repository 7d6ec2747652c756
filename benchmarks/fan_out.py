"""Compares shards in several processes with one task, while the server limits each stream as the service does.

    python -m benchmarks.fan_out --postgres                 # starts its own PostgreSQL, from Debian's package
    python -m benchmarks.fan_out --shards 8 --limit 100000 --postgres "dbname=bench host=/run/postgresql"
    python -m benchmarks.fan_out --rows 20000               # a few seconds, to see that it runs

Each command delivers the demo's flights as Parquet files. With ``--postgres`` it also delivers as many rows from a
table in PostgreSQL. It fails if the Delta table and the receipts have different numbers of rows. The time of a
measurement runs from the start of the first delivery to the end of the last one. The worker processes have imported
everything before that, as Celery's workers have. The server runs on the same processors.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("RUST_LOG", "off")

import pyarrow as pa
import pyarrow.parquet as pq

from example_dags.demo import source
from zerobus_core import Receipt, SqlQuery, Workspace, ingest, merge_receipts, read_shard, split_source
from zerobus_local import LocalZerobusProcess

OWN = "a server of its own"
QUERY = "SELECT * FROM zerobus_bench"
_COLUMNS = "id BIGINT PRIMARY KEY, carrier TEXT, origin TEXT, dest TEXT, distance DOUBLE PRECISION"
_NAMES = ("id", "carrier", "origin", "dest", "distance")
_FILES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The parameters of one delivery, which are passed to a worker process."""

    workspace: Workspace
    table: str
    shard: dict[str, Any] | None
    place: str
    is_sql: bool


def connect(place: str) -> Any:
    """Open a connection to PostgreSQL."""
    import psycopg

    return psycopg.connect(place)


def deliver(work: Work) -> Receipt:
    """Deliver one shard, or the whole source."""
    if not work.is_sql:
        return ingest(work.workspace, work.table, work.shard or work.place)
    query = SqlQuery(partial(connect, work.place), QUERY)
    shard = work.shard or split_source(query, 1, by="id")[0]
    return ingest(work.workspace, work.table, read_shard(query, shard))


def ready(_: int) -> int:
    """Wait half a second, so that every process of the pool gets a call and starts; return the process id."""
    time.sleep(0.5)
    return os.getpid()


def measure(name: str, pool: ProcessPoolExecutor, works: list[Work], count: Callable[[], int]) -> None:
    """Run all deliveries in the pool, and print one line; exit if rows are missing or duplicated."""
    before = count()
    started = time.perf_counter()
    merged = merge_receipts(pool.map(deliver, works))
    took = time.perf_counter() - started
    rows = count() - before
    is_exact = rows == merged.rows_acked == merged.rows_read
    exact = "exact" if is_exact else f"NOT EXACT: {merged.rows_acked} acknowledged"
    print(
        f"{name:<28} {merged.shards:>2} workers {rows:>9,} rows {took:>7.2f} s {rows / took:>10,.0f} rows/s   {exact}",
        flush=True,
    )
    if not is_exact:
        sys.exit(1)


def write_files(folder: Path, flights: pa.Table) -> str:
    """Write the flights as Parquet files with several row groups each, and return their folder."""
    folder.mkdir()
    step = -(-flights.num_rows // _FILES)
    for number in range(_FILES):
        pq.write_table(flights.slice(number * step, step), folder / f"{number:02d}.parquet", row_group_size=5_000)
    return str(folder)


def fill(place: str, flights: pa.Table) -> None:
    """Create a table in PostgreSQL, with one row for each flight."""
    columns = [flights.column(name).to_pylist() for name in _NAMES[1:]]
    with connect(place) as connection:
        connection.execute("DROP TABLE IF EXISTS zerobus_bench")
        connection.execute(f"CREATE TABLE zerobus_bench ({_COLUMNS})")
        with connection.cursor().copy(f"COPY zerobus_bench ({', '.join(_NAMES)}) FROM STDIN") as copy:
            for number, row in enumerate(zip(*columns, strict=True)):
                copy.write_row((number, *row))


def compare(server: LocalZerobusProcess, pool: ProcessPoolExecutor, one: Work, shards: list[dict[str, Any]]) -> None:
    """Measure a delivery with one task and then one with shards; do both twice."""

    def count() -> int:
        return server.read(one.table).num_rows

    kind = "PostgreSQL" if one.is_sql else "flights, Parquet"
    for _ in range(2):
        measure(f"{kind}: one task", pool, [one], count)
        works = [
            Work(workspace=one.workspace, table=one.table, shard=shard, place=one.place, is_sql=one.is_sql)
            for shard in shards
        ]
        measure(f"{kind}: shards", pool, works, count)


def main(arguments: list[str] | None = None) -> None:
    """Print a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rows", type=int, help="number of flights to deliver; a few show that it runs (default: all)")
    parser.add_argument("--limit", type=float, default=100_000, help="rows per second and stream")
    parser.add_argument(
        "--postgres",
        nargs="?",
        const=OWN,
        help="also deliver from PostgreSQL: the connection string of a database in which the table zerobus_bench is "
        "replaced; without a string, a server is started",
    )
    options = parser.parse_args(arguments)
    flights = source.flights().slice(0, options.rows)
    context = get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalZerobusProcess.start(Path(folder, "server"), rows_per_second=options.limit) as server,
        ProcessPoolExecutor(options.shards, mp_context=context) as pool,
    ):
        list(pool.map(ready, range(options.shards)))
        print(f"limit: {options.limit:,.0f} rows/s for each stream")
        place = write_files(Path(folder, "flights"), flights)
        server.create_table(source.flights_sql("main.default.flights"))
        one = Work(workspace=server.workspace, table="main.default.flights", shard=None, place=place, is_sql=False)
        compare(server, pool, one, split_source(place, options.shards))
        if options.postgres is None:
            return
        with database(options.postgres) as dsn:
            compare_query(server, pool, dsn, flights, options.shards)


@contextmanager
def database(given: str) -> Iterator[str]:
    """Yield the given connection string, or that of a PostgreSQL server that runs only inside the ``with`` block."""
    if given != OWN:
        yield given
        return
    from tests.services.databases import running_postgres

    with running_postgres() as postgres:
        yield postgres.dsn


def compare_query(server: LocalZerobusProcess, pool: ProcessPoolExecutor, dsn: str, flights: pa.Table, n: int) -> None:
    """Copy the flights to PostgreSQL, and compare one task with shards that deliver them from there."""
    fill(dsn, flights)
    columns = "id BIGINT NOT NULL, carrier STRING, origin STRING, dest STRING, distance DOUBLE"
    server.create_table(f"CREATE TABLE main.default.copied ({columns})")
    shards = split_source(SqlQuery(partial(connect, dsn), QUERY), n, by="id")
    one = Work(workspace=server.workspace, table="main.default.copied", shard=None, place=dsn, is_sql=True)
    compare(server, pool, one, shards)


if __name__ == "__main__":
    main()
