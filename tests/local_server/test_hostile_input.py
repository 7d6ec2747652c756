# ruff: noqa: PT017  # refused or understood: both are right, and each has its promise
"""Whatever comes in: an answer by the protocol or a clean close, and other streams go on."""

from __future__ import annotations

import json
import socket
import struct
import threading

import grpc
import pyarrow as pa
import pytest
from google.protobuf import descriptor_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zerobus_local.decode.avro import AvroDecoder
from zerobus_local.decode.decoder import TableShape
from zerobus_local.decode.json import JsonDecoder
from zerobus_local.decode.protobuf import ProtobufDecoder
from zerobus_local.decode.refusal import RefusedRecordError
from zerobus_local.decode.variant import variant_texts
from zerobus_local.grpc_door.ephemeral import EphemeralOpener, EphemeralProtocol
from zerobus_local.grpc_door.flight import FlightOpener, FlightProtocol
from zerobus_local.grpc_door.messages import FlightData
from zerobus_local.status import StatusError

_COLUMNS = (
    "id BIGINT, name STRING, price DECIMAL(5,2), day DATE, tags ARRAY<STRING>, place STRUCT<x: INT>, "
    "counts MAP<STRING, INT>, v VARIANT, raw BINARY"
)
_FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)


@pytest.fixture
def table(door):
    return door.catalog.table(door.create(_COLUMNS))


def good_batch(number: int) -> dict[str, object]:
    return {"offset_id": number, "json_batch": {"records": [b'{"id": 1}']}}


@given(message=st.binary(max_size=300))
@_FUZZ
def test_any_bytes_as_a_first_message_are_refused(table, message):
    with pytest.raises(StatusError):
        EphemeralOpener().open(message, table, "id")


@given(message=st.binary(max_size=300))
@_FUZZ
def test_any_bytes_as_a_request_are_refused_or_understood(table, message):
    protocol = EphemeralProtocol(2, JsonDecoder(TableShape.of(table)))
    try:
        assert protocol.parse(message).rows > 0
    except StatusError as error:
        assert error.code is grpc.StatusCode.INVALID_ARGUMENT


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "name", "price", "tags", "place", "counts", "x", "raw"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(records=st.lists(_JSON, min_size=1, max_size=4))
@_FUZZ
def test_any_json_is_refused_by_name_or_becomes_as_many_rows(table, records):

    texts = [json.dumps(record).encode() for record in records]
    try:
        batch = JsonDecoder(TableShape.of(table)).decode(texts)
    except RefusedRecordError as error:
        assert 0 <= error.record < len(records)
    else:
        batch.validate(full=True)
        assert batch.num_rows == len(records)


@given(records=st.lists(st.binary(max_size=60), min_size=1, max_size=4))
@_FUZZ
def test_any_bytes_as_json_text_are_refused_or_become_rows(table, records):
    with_rows_or_refused(JsonDecoder(TableShape.of(table)), records)


def with_rows_or_refused(decoder, records) -> None:
    try:
        batch = decoder.decode(records)
    except RefusedRecordError as error:
        assert 0 <= error.record < len(records)
    else:
        batch.validate(full=True)
        assert batch.num_rows == len(records)


def _descriptor() -> bytes:
    field = descriptor_pb2.FieldDescriptorProto
    message = descriptor_pb2.DescriptorProto(name="Row")
    kinds = {"id": field.TYPE_INT64, "name": field.TYPE_STRING, "price": field.TYPE_STRING, "day": field.TYPE_INT32}
    for number, (name, kind) in enumerate(kinds.items(), start=1):
        message.field.add(name=name, number=number, type=kind, label=field.LABEL_OPTIONAL)
    message.field.add(name="tags", number=5, type=field.TYPE_STRING, label=field.LABEL_REPEATED)
    place = message.nested_type.add(name="Place")
    place.field.add(name="x", number=1, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    message.field.add(name="place", number=6, type=field.TYPE_MESSAGE, label=1, type_name=".p.Row.Place")
    return message.SerializeToString()


@given(records=st.lists(st.binary(max_size=60), min_size=1, max_size=4))
@_FUZZ
def test_any_bytes_as_protobuf_records_are_refused_or_become_rows(table, records):
    with_rows_or_refused(ProtobufDecoder(TableShape.of(table), _descriptor()), records)


@given(data=st.data())
@_FUZZ
def test_a_damaged_descriptor_is_refused_or_decodes(table, data):
    descriptor = bytearray(_descriptor())
    for _ in range(data.draw(st.integers(1, 4))):
        descriptor[data.draw(st.integers(0, len(descriptor) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoder = ProtobufDecoder(TableShape.of(table), bytes(descriptor))
    except StatusError as error:
        assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    else:
        with_rows_or_refused(decoder, [b"\x08\x01", b""])


def test_a_descriptor_whose_names_are_not_utf_8_is_refused(table):
    """Found by the test above: protobuf hands such a name over as bytes."""
    for name in (b".p.Row.Place", b"place", b"id", b"Row"):
        assert name in _descriptor()
        damaged = _descriptor().replace(name, b"\xff" + name[1:])
        with pytest.raises(StatusError, match=r"descriptor_proto|not a column"):
            ProtobufDecoder(TableShape.of(table), damaged)


_AVRO = (
    '{"type": "record", "name": "R", "fields": [{"name": "id", "type": ["null", "long"]}, '
    '{"name": "tags", "type": {"type": "array", "items": "string"}}, '
    '{"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}}, '
    '{"name": "counts", "type": {"type": "map", "values": "int"}}]}'
)


@given(records=st.lists(st.binary(max_size=40), min_size=1, max_size=4))
@_FUZZ
def test_any_bytes_as_avro_datums_are_refused_or_become_rows(table, records):
    with_rows_or_refused(AvroDecoder(TableShape.of(table), _AVRO), records)


@given(data=st.data())
@_FUZZ
def test_a_damaged_arrow_frame_is_refused_or_decodes(table, data):
    schema = pa.schema([("id", pa.int64()), ("name", pa.large_string()), ("tags", pa.list_(pa.large_string()))])
    batch = pa.RecordBatch.from_pylist([{"id": 1, "name": "abc", "tags": ["x", None]}] * 3, schema=schema)
    message = pa.ipc.read_message(batch.serialize())
    header, body = bytearray(message.metadata.to_pybytes()), bytearray(message.body.to_pybytes())
    for _ in range(data.draw(st.integers(1, 3))):
        part = data.draw(st.sampled_from([header, body]))
        part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
    frame = FlightData(data_header=bytes(header), data_body=bytes(body), app_metadata=b'{"offset_id": 0}')
    protocol = FlightProtocol(schema, TableShape.of(table))
    try:
        request = protocol.parse(frame.SerializeToString())
        assert protocol.decode(request.records).num_rows == request.rows
    except StatusError as error:
        assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    except RefusedRecordError as error:
        assert error.record >= 0


@given(data=st.data())
@_FUZZ
def test_any_frame_as_the_first_of_a_flight_is_refused_or_is_a_schema(table, data):
    schema = pa.schema([("id", pa.int64()), ("name", pa.large_string())])
    batch = pa.RecordBatch.from_pylist([{"id": 1, "name": "abc"}], schema=schema)
    messages = [pa.ipc.read_message(schema.serialize()), pa.ipc.read_message(batch.serialize())]
    header = bytearray(data.draw(st.sampled_from(messages)).metadata.to_pybytes())
    for _ in range(data.draw(st.integers(0, 3))):
        header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
    try:
        FlightOpener().open(FlightData(data_header=bytes(header)).SerializeToString(), table, "id")
    except StatusError as error:
        assert error.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "schema", [pa.schema([("name", pa.int64())]), pa.schema([("place", pa.struct([("name", pa.int32())]))])]
)
def test_a_flight_whose_names_are_not_utf_8_is_refused(table, schema):
    """Found by fuzzing: pyarrow decodes names when they are asked for."""
    header = pa.ipc.read_message(schema.serialize()).metadata.to_pybytes().replace(b"name", b"nam\xce")
    with pytest.raises(StatusError, match="first frame must hold an Arrow schema"):
        FlightOpener().open(FlightData(data_header=header).SerializeToString(), table, "id")


def test_a_record_batch_as_the_first_frame_of_a_flight_is_refused(table):
    """Found by fuzzing: pyarrow's read_schema takes any message for a schema, and may crash."""
    batch = pa.RecordBatch.from_pydict({"id": [1]})
    header = pa.ipc.read_message(batch.serialize()).metadata.to_pybytes()
    with pytest.raises(StatusError, match="first frame must hold an Arrow schema"):
        FlightOpener().open(FlightData(data_header=header).SerializeToString(), table, "id")


@given(metadata=st.binary(max_size=30), value=st.binary(max_size=60))
@_FUZZ
def test_any_bytes_as_a_variant_are_refused_or_become_text(metadata, value):
    kind = pa.struct([("metadata", pa.binary()), ("value", pa.binary())])
    try:
        texts = variant_texts(pa.array([{"metadata": metadata, "value": value}], kind), "v")
    except RefusedRecordError as error:
        assert error.record == 0
    else:
        assert len(texts) == 1


def test_bad_streams_do_not_disturb_a_good_one(door, table):
    good = door.opened(table.full_name)
    for offset in range(10):
        bad = door.raw(table.full_name)
        bad.send_raw(b"\xff" * offset)
        bad.refusal()
        broken = door.opened(table.full_name)
        broken.send(ingest_record_batch={"offset_id": 0, "json_batch": {"records": [b"{"] * 100}})
        broken.refusal()
        good.send(ingest_record_batch=good_batch(offset))
        assert good.acknowledged() == offset
    assert door.rows(table.full_name).num_rows == 10


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01" + bytes(100),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + struct.pack(">I", 0xFFFFFF00) + b"\x00" * 5,
    ],
)
def test_a_connection_that_speaks_no_grpc_harms_nobody(door, table, payload):
    good = door.opened(table.full_name)
    with socket.create_connection(("127.0.0.1", door.port), timeout=5) as connection:
        connection.sendall(payload)
        good.send(ingest_record_batch=good_batch(0))
        assert good.acknowledged() == 0


def test_a_message_over_the_limit_ends_its_stream_with_resource_exhausted(door, table):
    stream = door.opened(table.full_name)
    stream.send_raw(bytes(65 * 1024 * 1024))
    assert stream.refusal().code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    door.opened(table.full_name)


def test_an_unknown_method_is_unimplemented(door, table):
    for method in ("PersistentStream", "Nothing"):
        stream = door.raw(table.full_name, method=f"/databricks.zerobus.Zerobus/{method}")
        assert stream.refusal().code() is grpc.StatusCode.UNIMPLEMENTED


def test_sixty_four_streams_at_once_store_what_each_was_given(door, table):
    failures: list[Exception] = []

    def send(number: int) -> None:
        try:
            stream = door.sdk_stream(table.full_name)
            for _ in range(5):
                stream.ingest_records_offset([{"id": number}] * 20)
            stream.flush()
            stream.close()
        except Exception as error:  # noqa: BLE001  # told to the test below
            failures.append(error)

    senders = [threading.Thread(target=send, args=(number,)) for number in range(64)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert failures == []
    counts = door.rows(table.full_name).column("id").value_counts()
    assert {row["values"]: row["counts"] for row in counts.to_pylist()} == dict.fromkeys(range(64), 100)
