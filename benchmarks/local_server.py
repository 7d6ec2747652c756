"""Measures zerobus_local: rows per second to Delta with the official SDK, and the server's peak memory.

python -m benchmarks.local_server --rows 1000000 --batch 2000

The client runs in this process and the server in another one, so the benchmark needs two processors.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("RUST_LOG", "off")  # the SDK logs to stdout, at the level found when it is imported

import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from zerobus.sdk.shared import RecordType, StreamConfigurationOptions, TableProperties
from zerobus.sdk.sync import ZerobusSdk

from zerobus_core import ClientCredentials
from zerobus_local import LocalZerobusProcess

TABLE = "main.default.t"
COLUMNS = "id BIGINT NOT NULL, name STRING, d DOUBLE, i INT, ok BOOLEAN, at TIMESTAMP, day DATE, note STRING"
_Kind = descriptor_pb2.FieldDescriptorProto
FIELDS = {
    "id": _Kind.TYPE_INT64,
    "name": _Kind.TYPE_STRING,
    "d": _Kind.TYPE_DOUBLE,
    "i": _Kind.TYPE_INT32,
    "ok": _Kind.TYPE_BOOL,
    "at": _Kind.TYPE_INT64,
    "day": _Kind.TYPE_INT32,
    "note": _Kind.TYPE_STRING,
}
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        ("name", pa.large_string()),
        ("d", pa.float64()),
        ("i", pa.int32()),
        ("ok", pa.bool_()),
        ("at", pa.timestamp("us", "UTC")),
        ("day", pa.date32()),
        ("note", pa.large_string()),
    ]
)


def row(number: int) -> dict[str, Any]:
    """Return one row of eight columns, about 80 bytes as protobuf."""
    return {
        "id": number,
        "name": f"name-{number % 1000}",
        "d": number * 0.5,
        "i": number % 100_000,
        "ok": number % 2 == 0,
        "at": 1_700_000_000_000_000 + number,
        "day": 19_000 + number % 300,
        "note": "abcdefghij",
    }


def message_class() -> Any:
    """Return the protobuf class of a row."""
    file = descriptor_pb2.FileDescriptorProto(name="row.proto", package="bench", syntax="proto2")
    message = file.message_type.add(name="Row")
    for number, (name, kind) in enumerate(FIELDS.items(), start=1):
        message.field.add(name=name, number=number, type=kind, label=_Kind.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("bench.Row"))


def sender(server: LocalZerobusProcess, record_format: str, batch: int) -> Callable[[int], None]:
    """Return a function that sends rows over a stream of its own, and returns when all of them are acknowledged."""
    credentials = server.workspace.credentials
    assert isinstance(credentials, ClientCredentials)
    login = (credentials.client_id, credentials.client_secret)
    rows = [row(number) for number in range(batch)]
    row_class = message_class()

    def send(total: int) -> None:
        sdk = ZerobusSdk(server.endpoint, server.workspace_url)
        if record_format == "arrow":
            payload = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
            stream = sdk.create_arrow_stream(TABLE, SCHEMA, *login)
            ingest = stream.ingest_batch
        else:
            is_json = record_format == "json"
            payload = [json.dumps(r) if is_json else row_class(**r).SerializeToString() for r in rows]
            options = StreamConfigurationOptions(record_type=RecordType.JSON if is_json else RecordType.PROTO)
            table = TableProperties(TABLE) if is_json else TableProperties(TABLE, row_class.DESCRIPTOR)
            stream = sdk.create_stream(*login, table, options)
            ingest = stream.ingest_records_offset
        for _ in range(total // batch):
            ingest(payload)
        stream.flush()
        stream.close()

    return send


def measure(record_format: str, rows: int, batch: int, streams: int) -> str:
    """Send ``rows`` rows to a new server, and return one line of the table of results."""
    with tempfile.TemporaryDirectory() as folder, LocalZerobusProcess.start(Path(folder)) as server:
        server.create_table(f"CREATE TABLE {TABLE} ({COLUMNS})")
        send = sender(server, record_format, batch)
        send(batch)
        begin = time.perf_counter()
        threads = [threading.Thread(target=send, args=(rows // streams,)) for _ in range(streams)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - begin
        stored = server.read(TABLE).num_rows - batch
        status = Path(f"/proc/{server.pid}/status")
        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    shown = f"{int(peak[1]) // 1024} MiB" if peak else "unknown"
    return f"{record_format:9}{streams:8}{batch:8}{stored:12,}{seconds:9.2f}{stored / seconds:14,.0f}  {shown}"


def main(arguments: list[str] | None = None) -> None:
    """Print a table of results, one line for each record format and number of streams."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=2_000)
    options = parser.parse_args(arguments)
    print("format    streams   batch        rows  seconds        rows/s  peak of the server")
    for record_format, streams in (("protobuf", 1), ("arrow", 1), ("json", 1), ("protobuf", 64)):
        print(measure(record_format, options.rows, options.batch, streams), flush=True)


if __name__ == "__main__":
    main()
