"""The loops that ``make bench`` compares with: what users would write with the SDK alone, without checks.

Do not change these loops: figures of different years can be compared only if the loops are the same. If a change is
necessary, make it in a commit of its own that gives the reason, and measure the figures of docs/benchmarks.md again.

Some cases convert values that the wire format does not have (datetimes, dates, decimals) before the measurement. Each
function opens a stream, sends all rows, waits until they are acknowledged, and closes the stream.
"""

from __future__ import annotations

import csv
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("RUST_LOG", "off")  # the SDK logs to stdout, at the level found when it is imported

import pyarrow as pa
import pyarrow.parquet as pq
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from zerobus.sdk.shared import RecordType
from zerobus.sdk.shared.arrow import ArrowStreamConfigurationOptions
from zerobus.sdk.sync import StreamConfigurationOptions, TableProperties, ZerobusSdk

from zerobus_core import ClientCredentials, TableSchema, Workspace

BATCH_ROWS = 5_000


def _credentials(workspace: Workspace) -> tuple[str, str]:
    assert isinstance(workspace.credentials, ClientCredentials)
    return workspace.credentials.client_id, workspace.credentials.client_secret


def arrow_by_hand(workspace: Workspace, schema: TableSchema, table: pa.Table) -> None:
    """Cast a table once, and send its record batches."""
    sdk = ZerobusSdk(workspace.endpoint, workspace.workspace_url)
    stream = sdk.create_arrow_stream(
        schema.table, schema.arrow_schema(), *_credentials(workspace), ArrowStreamConfigurationOptions()
    )
    for batch in table.cast(schema.arrow_schema()).to_batches(max_chunksize=BATCH_ROWS):
        stream.ingest_batch(batch)
    stream.flush()
    stream.close()


def protobuf_by_hand(workspace: Workspace, schema: TableSchema, rows: list[dict[str, Any]]) -> None:
    """Send rows with a compiled message class whose fields need no conversion."""
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


def json_by_hand(workspace: Workspace, schema: TableSchema, rows: list[dict[str, Any]]) -> None:
    """Send rows with one call of ``json.dumps`` per row."""
    sdk = ZerobusSdk(workspace.endpoint, workspace.workspace_url)
    stream = sdk.create_stream(
        *_credentials(workspace), TableProperties(schema.table), StreamConfigurationOptions(record_type=RecordType.JSON)
    )
    for start in range(0, len(rows), BATCH_ROWS):
        stream.ingest_records_offset([json.dumps(row) for row in rows[start : start + BATCH_ROWS]])
    stream.flush()
    stream.close()


def parquet_by_hand(workspace: Workspace, schema: TableSchema, path: Path) -> None:
    """Read a Parquet file batch by batch, cast each batch, and send it."""
    sdk = ZerobusSdk(workspace.endpoint, workspace.workspace_url)
    wanted = schema.arrow_schema()
    stream = sdk.create_arrow_stream(schema.table, wanted, *_credentials(workspace), ArrowStreamConfigurationOptions())
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            stream.ingest_batch(batch.cast(wanted))
    stream.flush()
    stream.close()


def frame_by_hand(workspace: Workspace, schema: TableSchema, frame: Any) -> None:
    """Convert a pandas frame to an Arrow table, and send it."""
    arrow_by_hand(workspace, schema, pa.Table.from_pandas(frame, preserve_index=False))


def csv_by_hand(workspace: Workspace, schema: TableSchema, path: Path, types: dict[str, Callable[[str], Any]]) -> None:
    """Read a file with ``csv.DictReader``, convert the values of each column with its function, and send the rows."""
    with path.open(newline="") as file:
        rows = ({name: types[name](text) for name, text in row.items()} for row in csv.DictReader(file))
        _stream_rows(workspace, schema, rows)


def json_lines_by_hand(workspace: Workspace, schema: TableSchema, path: Path) -> None:
    """Read a file with one call of ``json.loads`` per line, and send the rows."""
    with path.open() as file:
        _stream_rows(workspace, schema, map(json.loads, file))


def sqlite_by_hand(workspace: Workspace, schema: TableSchema, path: Path, query: str) -> None:
    """Run a query on an SQLite file, and send its rows as dicts."""
    connection = sqlite3.connect(path)
    try:
        cursor = connection.execute(query)
        names = [column[0] for column in cursor.description]
        _stream_rows(workspace, schema, (dict(zip(names, row, strict=True)) for row in cursor))
    finally:
        connection.close()


def one_record_per_call(workspace: Workspace, schema: TableSchema, rows: list[dict[str, Any]], *, wait: bool) -> None:
    """Send one record per call, as the SDK's README does; with ``wait``, wait for each record's acknowledgement."""
    sdk = ZerobusSdk(workspace.endpoint, workspace.workspace_url)
    stream = sdk.create_stream(
        *_credentials(workspace), TableProperties(schema.table), StreamConfigurationOptions(record_type=RecordType.JSON)
    )
    for row in rows:
        offset = stream.ingest_record_offset(json.dumps(row))
        if wait:
            stream.wait_for_offset(offset)
    stream.flush()
    stream.close()


def _stream_rows(workspace: Workspace, schema: TableSchema, rows: Iterable[dict[str, Any]]) -> None:
    """Send rows like ``protobuf_by_hand``, but without holding all of them in memory."""
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
    coming: Iterator[dict[str, Any]] = iter(rows)
    while block := [message(**row).SerializeToString() for row in islice(coming, BATCH_ROWS)]:
        stream.ingest_records_offset(block)
    stream.flush()
    stream.close()
