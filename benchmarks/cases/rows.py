"""Compares deliveries of rows, Arrow data and one Parquet file with loops that users would write with the SDK alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.by_hand import arrow_by_hand, json_by_hand, parquet_by_hand, protobuf_by_hand
from benchmarks.encoder import CASES
from benchmarks.measuring import OURS, Figure, Settings, Target, compare, figure_of
from example_dags.demo import source
from zerobus_core import IngestOptions, TableSchema, ingest
from zerobus_local import LocalZerobusProcess

# The local server commits in cycles of about 0.1 s, and a delivery ends with a cycle. So deliveries shorter than 0.5 s
# are compared coarsely: one that is a little later can end a whole cycle later.
_SHAPES = {
    # name: (the case of benchmarks.encoder, rows, target)
    "flat dicts": (0, 400_000, 1.0),
    "dicts with TIMESTAMP, DATE, DECIMAL": (1, 400_000, 1.0),
    "nested dicts": (2, 20_000, 0.8),
}
_YEARS = 4  # of flights; one year is delivered in 0.25 s
# Seconds for each comparison of a full run.
_SECONDS = 10.0


def figures(settings: Settings) -> Iterator[Figure]:
    """Yield nine comparisons; for dicts with times, the loop by hand gets numbers and text instead."""
    with tempfile.TemporaryDirectory() as folder, LocalZerobusProcess.start(Path(folder, "server")) as server:
        for name, (number, count, limit) in _SHAPES.items():
            yield from _dicts(server, settings, name, number, settings.rows(count), limit)
        yield _json(server, settings)
        yield from _flights(server, settings, Path(folder))


def _new_table(server: LocalZerobusProcess, name: str, columns: str) -> TableSchema:
    server.create_table(f"CREATE TABLE main.default.{name} ({columns})")
    return TableSchema.fetch(server.workspace, f"main.default.{name}")


def _dicts(
    server: LocalZerobusProcess, settings: Settings, name: str, number: int, count: int, limit: float
) -> Iterator[Figure]:
    """Yield two comparisons with the same loop: ours sends protobuf, which is the default, and then Arrow data."""
    case = CASES[number]
    schema = _new_table(server, f"dicts_{number}", case.columns)
    rows = [case.row(i) for i in range(count)]
    wire = [case.wire(row) for row in rows]
    for record_format, suffix in (("auto", ""), ("arrow", ", sent as Arrow")):
        options = IngestOptions(record_format=record_format)
        ways = {
            "by hand": lambda: protobuf_by_hand(server.workspace, schema, wire),
            OURS: lambda: ingest(server.workspace, schema.table, rows, options=options),  # noqa: B023
        }
        yield _compared(ways, settings, count, name + suffix, limit)


def _json(server: LocalZerobusProcess, settings: Settings) -> Figure:
    case = CASES[0]
    schema = _new_table(server, "json_rows", case.columns)
    rows = [case.row(i) for i in range(settings.rows(200_000))]
    options = IngestOptions(record_format="json")
    ways = {
        "by hand": lambda: json_by_hand(server.workspace, schema, rows),
        OURS: lambda: ingest(server.workspace, schema.table, rows, options=options),
    }
    return _compared(ways, settings, len(rows), "flat dicts as JSON", 1.0)


def _flights(server: LocalZerobusProcess, settings: Settings, folder: Path) -> Iterator[Figure]:
    flights = source.flights(100_000) if settings.quick else pa.concat_tables([source.flights(None)] * _YEARS)
    path = folder / "flights.parquet"
    pq.write_table(flights, path)
    server.create_table(source.flights_sql("main.default.flights"))
    schema = TableSchema.fetch(server.workspace, "main.default.flights")
    table = {
        "by hand": lambda: arrow_by_hand(server.workspace, schema, flights),
        OURS: lambda: ingest(server.workspace, schema.table, flights),
    }
    yield _compared(table, settings, flights.num_rows, "flights, Arrow table", 1.0)
    file = {
        "by hand": lambda: parquet_by_hand(server.workspace, schema, path),
        OURS: lambda: ingest(server.workspace, schema.table, str(path)),
    }
    yield _compared(file, settings, flights.num_rows, "flights, one Parquet file", 1.0)


def _compared(ways: dict[str, Callable[[], object]], settings: Settings, rows: int, name: str, limit: float) -> Figure:
    samples = compare(ways, settings, seconds=_SECONDS)
    return figure_of(samples, rows, case="rows", name=name, target=Target(limit))
