"""The rules of Arrow Flight DoPut; the source of each rule is in brackets (facts, section)."""

from __future__ import annotations

import json

import grpc
import pyarrow as pa
import pytest
from google.rpc import error_details_pb2, status_pb2
from zerobus.sdk.shared import ZerobusException
from zerobus.sdk.shared.arrow import ArrowStreamConfigurationOptions, IPCCompression
from zerobus.sdk.sync import ZerobusSdk

from zerobus_local.grpc_door.flight import FLIGHT_SERVICE
from zerobus_local.grpc_door.messages import FlightData, PutResult

_DO_PUT = f"/{FLIGHT_SERVICE}/DoPut"


def frames(schema: pa.Schema, *batches: pa.RecordBatch) -> list[tuple[bytes, bytes]]:
    """Header and body of each IPC message of a stream, as a Flight client sends them."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    messages = []
    for message in pa.ipc.MessageReader.open_stream(sink.getvalue()):
        body = message.body.to_pybytes() if message.body else b""
        messages.append((message.metadata.to_pybytes(), body))
    return messages


class FlightStream:
    def __init__(self, door, table: str, schema: pa.Schema) -> None:
        self._schema = schema
        self.raw = door.raw(table, method=_DO_PUT)
        self.raw.send_raw(FlightData(data_header=frames(schema)[0][0]).SerializeToString())

    def send(self, offset: int, rows: list[dict[str, object]]) -> None:
        batch = pa.RecordBatch.from_pylist(rows, schema=self._schema)
        header, body = frames(self._schema, batch)[1]
        self.send_frame({"offset_id": offset}, header, body)

    def send_frame(self, metadata: object, header: bytes, body: bytes) -> None:
        message = FlightData(data_header=header, data_body=body, app_metadata=json.dumps(metadata).encode())
        self.raw.send_raw(message.SerializeToString())

    def receive(self) -> dict[str, int]:
        return json.loads(PutResult.FromString(next(self.raw.responses)).app_metadata)


def test_the_first_answer_is_the_ready_signal_and_acknowledgements_count_rows(door):
    """[2.5] offset -1 and records 0, then cumulative offsets and rows."""
    table = door.create("id BIGINT")
    stream = FlightStream(door, table, pa.schema([("id", pa.int64())]))
    assert stream.receive() == {"ack_up_to_offset": -1, "ack_up_to_records": 0}
    stream.send(0, [{"id": 1}, {"id": 2}])
    assert stream.receive() == {"ack_up_to_offset": 0, "ack_up_to_records": 2}
    assert sorted(door.rows(table).column("id").to_pylist()) == [1, 2]
    stream.send(1, [{"id": 3}])
    assert stream.receive() == {"ack_up_to_offset": 1, "ack_up_to_records": 3}


def test_an_offset_that_is_not_the_next_one_ends_the_stream(door):
    """[2.5] +1 per physical frame."""
    table = door.create("id BIGINT")
    stream = FlightStream(door, table, pa.schema([("id", pa.int64())]))
    stream.send(1, [{"id": 1}])
    error = stream.raw.refusal()
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "4002" in error.details()


def test_empty_batches_and_foreign_frames_are_refused(door):
    """[2.5] empty batches refused; dictionaries are expanded by the client."""
    table = door.create("id BIGINT")
    schema = pa.schema([("id", pa.int64())])
    header, body = frames(schema, pa.RecordBatch.from_pylist([{"id": 1}], schema=schema))[1]
    cases = [
        (({"offset_id": 0}, *frames(schema, pa.RecordBatch.from_pylist([], schema=schema))[1]), "no rows"),
        (({"offset_id": 0}, frames(schema)[0][0], b""), "schema"),
        (({"offset_id": 0}, b"", b""), "record batch"),
        (({"offset_id": 0}, b"\x01\x02\x03", b""), "record batch"),
        (({"offset_id": 0}, header, b""), "record batch"),
        (({"offset_id": "0"}, header, body), "whole number"),
        (({}, header, body), "offset_id"),
        (([], header, body), "offset_id"),
    ]
    for arguments, text in cases:
        stream = FlightStream(door, table, schema)
        stream.receive()
        stream.send_frame(*arguments)
        error = stream.raw.refusal()
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, text
        assert text in error.details()
    assert door.rows(table).num_rows == 0


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ([("id", pa.int64(), False), ("other", pa.int64(), True)], "FIELD_NOT_IN_TABLE"),
        ([("note", pa.large_string(), True)], "MISSING_REQUIRED_COLUMN"),
        ([("note", pa.large_string(), True), ("id", pa.int64(), False)], "FIELD_OUT_OF_ORDER"),
        ([("id", pa.int32(), False)], "TYPE_INCOMPATIBLE"),
        ([("id", pa.int64(), True)], "TYPE_INCOMPATIBLE"),
        ([("id", pa.int64(), False), ("price", pa.decimal128(10, 2), True)], "TYPE_INCOMPATIBLE"),
        ([("id", pa.int64(), False), ("at", pa.timestamp("ns", "UTC"), True)], "TYPE_INCOMPATIBLE"),
        ([("id", pa.int64(), False), ("id", pa.int64(), False)], "FIELD_COUNT_MISMATCH"),
    ],
)
def test_a_schema_that_does_not_fit_is_refused_with_its_causes_in_an_error_info(door, fields, cause):
    """[2.4, 1.5, 1.6]"""
    table = door.create("id BIGINT NOT NULL, note STRING, price DECIMAL(10,2), at TIMESTAMP")
    stream = FlightStream(door, table, pa.schema([pa.field(*field) for field in fields]))
    error = stream.raw.refusal()
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith("Arrow schema does not match the target table: ")
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("SCHEMA_VALIDATION_FAILED", "zerobus.databricks.com")
    assert cause in info.metadata["causes"].split(",")
    assert info.metadata["error_code"] == "8001"


def test_a_value_that_does_not_fit_refuses_its_batch_and_is_named(door):
    table = door.create("id BIGINT NOT NULL, price DECIMAL(5,2)")
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False), ("price", pa.large_string())])
    stream = FlightStream(door, table, schema)
    stream.receive()
    stream.send(0, [{"id": 1, "price": "1.25"}])
    assert stream.receive()["ack_up_to_records"] == 1
    stream.send(1, [{"id": 2, "price": "2"}, {"id": 3, "price": "1000.00"}])
    error = stream.raw.refusal()
    assert "offset 1, record 1, field price" in error.details()
    assert door.rows(table).column("id").to_pylist() == [1]


def test_the_close_signal_repeats_the_last_acknowledgement(door):
    """[2.5] close_stream_duration_ms."""
    table = door.create("id BIGINT")
    door.faults.add(action="close_signal", message=1, seconds=2)
    stream = FlightStream(door, table, pa.schema([("id", pa.int64())]))
    stream.receive()
    stream.send(0, [{"id": 1}])
    assert stream.receive()["ack_up_to_records"] == 1
    stream.send(1, [{"id": 2}])
    signal = stream.receive()
    assert (signal["ack_up_to_offset"], signal["ack_up_to_records"]) == (0, 1)
    assert 0 < signal["close_stream_duration_ms"] <= 2000
    error = stream.raw.refusal()
    assert (error.code(), "6002" in error.details()) == (grpc.StatusCode.UNAVAILABLE, True)


@pytest.mark.parametrize("compression", [IPCCompression.NONE, IPCCompression.LZ4_FRAME, IPCCompression.ZSTD])
def test_batches_of_the_sdk_arrive_whatever_the_compression(door, sdk_arrow_stream, compression):
    """[2.5]"""
    table = door.create(
        "id BIGINT, name STRING, tags ARRAY<STRING>, place STRUCT<x: INT>, m MAP<STRING, INT>, v VARIANT"
    )
    variant = pa.struct([pa.field("metadata", pa.large_binary(), False), pa.field("value", pa.large_binary(), False)])
    schema = pa.schema(
        [
            ("id", pa.int64()),
            ("name", pa.large_string()),
            ("tags", pa.list_(pa.large_string())),
            ("place", pa.struct([("x", pa.int32())])),
            ("m", pa.map_(pa.large_string(), pa.int32())),
            ("v", variant),
        ]
    )
    # {"a": [1, "b", true]} in Parquet's variant encoding
    value = {
        "metadata": b"\x01\x01\x00\x01a",
        "value": b"\x02\x01\x00\x00\x0a\x03\x03\x00\x02\x04\x05\x0c\x01\x05b\x04",
    }
    rows = [
        {"id": i, "name": f"n{i}", "tags": ["a", None], "place": {"x": i}, "m": {"k": i}, "v": value}
        for i in range(5000)
    ]
    stream = sdk_arrow_stream(table, schema, ipc_compression=compression)
    stream.ingest_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
    stream.flush()
    stream.close()
    stored = door.rows(table).sort_by("id").to_pylist()
    assert len(stored) == 5000
    assert stored[7] == {
        "id": 7, "name": "n7", "tags": ["a", None], "place": {"x": 7}, "m": [("k", 7)], "v": '{"a":[1,"b",true]}',
    }  # fmt: skip


def test_the_sdk_learns_why_its_schema_is_refused(door, sdk_arrow_stream):
    table = door.create("id BIGINT")
    with pytest.raises(ZerobusException, match="does not match the target table"):
        sdk_arrow_stream(table, pa.schema([("ident", pa.int64())]))


@pytest.fixture
def sdk_arrow_stream(door):
    def open_stream(table: str, schema: pa.Schema, **options):
        sdk = ZerobusSdk(f"http://127.0.0.1:{door.port}", "http://127.0.0.1:1")
        return sdk.create_arrow_stream_with_headers_provider(
            table, schema, door.headers(table), ArrowStreamConfigurationOptions(recovery=False, **options)
        )

    return open_stream
