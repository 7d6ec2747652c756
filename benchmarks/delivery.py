"""Whole deliveries against hand-written SDK code without any checking, pair by pair, in the same run.

    python -m benchmarks.delivery --pairs 15

The server is a process of its own on the same machine, so both sides share the cores with it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

os.environ.setdefault("RUST_LOG", "off")

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from zerobus.sdk.shared.arrow import ArrowStreamConfigurationOptions
from zerobus.sdk.sync import StreamConfigurationOptions, TableProperties, ZerobusSdk

from example_dags.demo import source
from zerobus_core import ClientCredentials, IngestOptions, TableSchema, Workspace, ingest
from zerobus_local import LocalZerobusProcess

BATCH_ROWS = 5_000


def _credentials(workspace: Workspace) -> tuple[str, str]:
    assert isinstance(workspace.credentials, ClientCredentials)
    return workspace.credentials.client_id, workspace.credentials.client_secret


def arrow_by_hand(workspace: Workspace, schema: TableSchema, table: pa.Table) -> None:
    """What a user would write: cast once, send record batches, flush, close."""
    sdk = ZerobusSdk(workspace.endpoint, workspace.workspace_url)
    stream = sdk.create_arrow_stream(
        schema.table, schema.arrow_schema(), *_credentials(workspace), ArrowStreamConfigurationOptions()
    )
    for batch in table.cast(schema.arrow_schema()).to_batches(max_chunksize=BATCH_ROWS):
        stream.ingest_batch(batch)
    stream.flush()
    stream.close()


def protobuf_by_hand(workspace: Workspace, schema: TableSchema, rows: list[dict[str, Any]]) -> None:
    """What a user would write with a compiled message class whose fields need no conversion."""
    file = descriptor_pb2.FileDescriptorProto.FromString(schema.descriptor_proto())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    name = f"{file.package}.{file.message_type[0].name}" if file.package else file.message_type[0].name
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    sdk = ZerobusSdk(workspace.endpoint, workspace.workspace_url)
    stream = sdk.create_stream(
        *_credentials(workspace),
        TableProperties(schema.table, schema.descriptor_proto()),
        StreamConfigurationOptions(),
    )
    for start in range(0, len(rows), BATCH_ROWS):
        stream.ingest_records_offset([message(**row).SerializeToString() for row in rows[start : start + BATCH_ROWS]])
    stream.flush()
    stream.close()


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(name: str, rows: int, by_hand: Callable[[], object], ours: Callable[[], object], pairs: int) -> None:
    """Run both in turn, by hand first, and print the medians and the ratio of each pair."""
    by_hand(), ours()  # connects, imports, fills caches
    times = [(seconds(by_hand), seconds(ours)) for _ in range(pairs)]
    ratios = sorted(hand / mine for hand, mine in times)
    hand, mine = (statistics.median(column) for column in zip(*times, strict=True))
    print(
        f"{name:<28} by hand {rows / hand:>10,.0f} rows/s   ours {rows / mine:>10,.0f} rows/s   "
        f"ours/by hand {statistics.median(ratios):.2f} (min {ratios[0]:.2f}, max {ratios[-1]:.2f}, {pairs} pairs)"
    )


def main(arguments: list[str] | None = None) -> None:
    """Deliver the flights as an Arrow table, and flat rows as dicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--rows", type=int, default=200_000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, LocalZerobusProcess.start(Path(folder)) as server:
        _compare_arrow(server, options.pairs)
        _compare_rows(server, options.rows, options.pairs)


def _compare_arrow(server: LocalZerobusProcess, pairs: int) -> None:
    server.create_table(source.flights_sql("main.default.flights"))
    schema = TableSchema.fetch(server.workspace, "main.default.flights")
    flights = source.flights()
    compare(
        f"{flights.num_rows:,} flights, Arrow",
        flights.num_rows,
        lambda: arrow_by_hand(server.workspace, schema, flights),
        lambda: ingest(server.workspace, schema.table, flights),
        pairs,
    )


def _compare_rows(server: LocalZerobusProcess, count: int, pairs: int) -> None:
    columns = "id BIGINT NOT NULL, a INT, b INT, c BIGINT, name STRING, city STRING, x DOUBLE, y DOUBLE"
    server.create_table(f"CREATE TABLE main.default.flat ({columns})")
    schema = TableSchema.fetch(server.workspace, "main.default.flat")
    rows = [
        {"id": i, "a": i % 7, "b": i % 11, "c": i * 3, "name": f"name {i}", "city": "Newark", "x": i / 2, "y": 0.5}
        for i in range(count)
    ]
    compare(
        f"{count:,} dicts, protobuf",
        count,
        lambda: protobuf_by_hand(server.workspace, schema, rows),
        lambda: ingest(server.workspace, schema.table, rows, options=IngestOptions(batch_rows=BATCH_ROWS)),
        pairs,
    )


if __name__ == "__main__":
    main()
