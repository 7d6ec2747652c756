"""The rules of EphemeralStream, one test each; the source of each rule is in brackets (facts, section)."""

from __future__ import annotations

import json
import socket
import threading
import time
from datetime import date
from decimal import Decimal

import grpc
import pytest
from google.protobuf import descriptor_pb2
from zerobus.sdk.shared import NonRetriableException, RecordType

from zerobus_local.decode.decoder import MAX_RECORD_BYTES, check_sizes
from zerobus_local.decode.refusal import RefusedRecordError
from zerobus_local.grpc_door.server import GrpcServer

_Field = descriptor_pb2.FieldDescriptorProto


def code(error: grpc.RpcError) -> grpc.StatusCode:
    return error.code()  # type: ignore[attr-defined]


def batch(offset: int, *records: bytes) -> dict[str, object]:
    return {"offset_id": offset, "json_batch": {"records": list(records)}}


def descriptor(*fields: tuple[str, int], name: str = "Row") -> descriptor_pb2.DescriptorProto:
    message = descriptor_pb2.DescriptorProto(name=name)
    for number, (field, kind) in enumerate(fields, start=1):
        message.field.add(name=field, number=number, type=kind, label=_Field.LABEL_OPTIONAL)
    return message


def test_rows_sent_with_the_sdk_are_in_the_delta_table_when_flush_returns(door):
    table = door.create("id BIGINT NOT NULL, name STRING, price DECIMAL(10,2), at TIMESTAMP")
    stream = door.sdk_stream(table)
    stream.ingest_record_offset({"id": 1, "name": "a", "price": "1.25", "at": 1_700_000_000_000_000})
    stream.ingest_records_offset([{"id": 2}, {"id": 3, "name": None}])
    stream.flush()
    assert sorted(door.rows(table).column("id").to_pylist()) == [1, 2, 3]
    stream.close()


def test_single_and_batched_protobuf_records_are_stored(door):
    table = door.create("id BIGINT NOT NULL, small SMALLINT, day DATE, note BINARY")
    message = descriptor(
        ("id", _Field.TYPE_INT64), ("small", _Field.TYPE_INT32), ("day", _Field.TYPE_INT32), ("note", _Field.TYPE_BYTES)
    )
    stream = door.opened(table, record_type=1, descriptor_proto=message.SerializeToString())
    stream.send(ingest_record={"offset_id": 0, "proto_encoded_record": b"\x08\x07\x10\x05\x18\x01"})
    stream.send(ingest_record_batch={"offset_id": 1, "proto_encoded_batch": {"records": [b"\x08\x08", b"\x08\x09"]}})
    while stream.acknowledged() < 1:
        pass
    rows = sorted(door.rows(table).to_pylist(), key=lambda row: row["id"])
    assert [row["id"] for row in rows] == [7, 8, 9]
    assert (rows[0]["small"], str(rows[0]["day"]), rows[0]["note"]) == (5, "1970-01-02", None)


def test_an_acknowledgement_leaves_only_after_the_commit_that_holds_its_rows(door):
    """[1.3] ACK = durable; here: in the Delta log."""
    table = door.create("id BIGINT")
    stream = door.opened(table)
    for offset in range(20):
        stream.send(ingest_record_batch=batch(offset, b'{"id": %d}' % offset))
    acknowledged = -1
    while acknowledged < 19:
        offset = stream.acknowledged()
        assert offset > acknowledged, "acknowledgements never go back"
        acknowledged = offset
        assert set(range(acknowledged + 1)) <= set(door.rows(table).column("id").to_pylist())


def test_streams_of_one_table_share_commits(door):
    table = door.create("id BIGINT")
    streams = [door.opened(table) for _ in range(8)]
    with door.catalog.locks.commit(door.catalog.table(table).table_id):  # as by a commit that takes long
        for number, stream in enumerate(streams):
            stream.send(ingest_record_batch=batch(0, b'{"id": %d}' % number))
        while not all(record.rows_received for record in door.grpc.streams.statistics()):
            time.sleep(0.01)
    for stream in streams:
        assert stream.acknowledged() == 0
    assert door.rows(table).num_rows == 8
    assert door.version(table) < 8


def test_a_stream_that_is_half_closed_ends_with_ok_after_its_last_acknowledgement(door):
    """[2.1] the client has sent all."""
    table = door.create("id BIGINT")
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, b'{"id": 1}'))
    stream.half_close()
    assert stream.acknowledged() == 0
    assert list(stream.responses) == []
    assert stream.responses.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("offsets", [(1,), (0, 2), (0, 0), (-1,)])
def test_an_offset_that_is_not_the_next_one_ends_the_stream_with_4002(door, offsets):
    """[2.1] offsets are 0-based and strictly +1 per connection."""
    table = door.create("id BIGINT")
    stream = door.opened(table)
    for offset in offsets:
        stream.send(ingest_record_batch=batch(offset, b'{"id": 1}'))
    error = stream.refusal()
    assert code(error) is grpc.StatusCode.INVALID_ARGUMENT
    assert "Error Code: 4002" in error.details()
    assert door.rows(table).num_rows == len(offsets) - 1


BAD_DECIMALS = [
    (b'{"id": 1, "price": "1.234"}', "price", "not a value of DECIMAL(5,2)"),
    (b'{"id": 1, "price": "1000"}', "price", "not a value of DECIMAL(5,2)"),
    (b'{"id": 1, "price": "cheap"}', "price", "not a value of DECIMAL(5,2)"),
]
BAD_RECORDS = [
    (b'{"name": "x"}', "id", "NOT NULL"),
    (b'{"id": null}', "id", "NOT NULL"),
    (b'{"id": 1, "colour": 2}', "colour", "not a column"),
    (b'{"id": "1"}', "id", "is a string, but the column is LONG"),
    (b'{"id": 1.5}', "id", "is a number, but the column is LONG"),
    (b'{"id": true}', "id", "is a boolean"),
    (b'{"id": 1, "tiny": 128}', "tiny", "out of range"),
    (b'{"id": 1, "small": -32769}', "small", "out of range"),
    (b'{"id": 9223372036854775808}', "id", "out of range"),
    (b'{"id": 1, "name": 5}', "name", "is a number, but the column is STRING"),
    (b'{"id": 1, "ok": 1}', "ok", "is a number, but the column is BOOLEAN"),
    (b'{"id": 1, "tags": "abc"}', "tags", "is a string, but the column is ARRAY"),
    (b'{"id": 1, "at": "2026-01-01T00:00:00Z"}', "at", "is a string, but the column is TIMESTAMP"),
    (b'{"id": 1, "tags": {"a": "b"}}', "tags", "is an object, but the column is ARRAY"),
    (b'{"id": 1, "tags": [1]}', "tags[0]", "is a number, but the column is STRING"),
    (b'{"id": 1, "place": [1]}', "place", "is an array, but the column is STRUCT"),
    (b'{"id": 1, "small": 1.0}', "small", "is a number, but the column is SHORT"),
    (b'{"id": 1, "place": {"x": 1, "z": 2}}', "place.z", "not in the column's type"),
    (b'{"id": 1', None, "is not valid JSON"),
    (b"[1]", None, "is an array; a record is one JSON object"),
    (b"null", None, "is null"),
    (b'{"id": 1}{"id": 2}', None, "is not valid JSON"),
    (b'{"id": 1, "name": "\xff"}', None, "is not valid JSON"),
]
# A table with a DECIMAL has its records looked at one by one, another has its columns inferred.
WALKED, INFERRED = "price DECIMAL(5,2)", "other INT"


@pytest.mark.parametrize(
    ("more", "record", "field", "reason"),
    [(WALKED, *bad) for bad in BAD_DECIMALS + BAD_RECORDS] + [(INFERRED, *bad) for bad in BAD_RECORDS],
)
def test_one_bad_record_refuses_its_whole_batch_and_is_named(door, more, record, field, reason):
    """[1.5] a record that does not fit refuses the batch; what came before it is stored and acknowledged."""
    table = door.create(
        "id BIGINT NOT NULL, name STRING, tiny TINYINT, small SMALLINT, ok BOOLEAN, tags ARRAY<STRING>, at TIMESTAMP, "
        f"place STRUCT<x: INT>, {more}"
    )
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, b'{"id": 1}', b'{"id": 2}'))
    stream.send(ingest_record_batch=batch(1, b'{"id": 3}', b'{"id": 4}', record, b'{"id": 5}'))
    assert stream.acknowledged() == 0
    error = stream.refusal()
    assert code(error) is grpc.StatusCode.INVALID_ARGUMENT
    assert "offset 1, record 2" in error.details()
    assert reason in error.details()
    if field:
        assert f"field {field}:" in error.details()
    assert sorted(door.rows(table).column("id").to_pylist()) == [1, 2]


@pytest.mark.parametrize(
    ("columns", "fields", "reason"),
    [
        (
            "id BIGINT",
            (("id", _Field.TYPE_INT32),),
            "field id has type int32, but the column is LONG, which accepts int64",
        ),
        ("id BIGINT", (("ident", _Field.TYPE_INT64),), "field ident of Row is not a column"),
        ("id BIGINT NOT NULL, x INT", (("x", _Field.TYPE_INT32),), "column id is NOT NULL"),
        ("d DECIMAL(5,2)", (("d", _Field.TYPE_DOUBLE),), "accepts string"),
        ("t TIMESTAMP", (("t", _Field.TYPE_STRING),), "accepts int64"),
        ("a ARRAY<INT>", (("a", _Field.TYPE_INT32),), "field a is single, but the column is ARRAY"),
        ("s STRUCT<x: INT>", (("s", _Field.TYPE_STRING),), "needs a message"),
        ("id BIGINT", (), "has no fields"),
    ],
)
def test_a_descriptor_that_does_not_fit_the_table_is_refused_with_8001(door, columns, fields, reason):
    """[1.5, 1.6, 2.4]"""
    table = door.create(columns)
    stream = door.raw(table)
    stream.send(
        create_stream={
            "table_name": table,
            "record_type": 1,
            "descriptor_proto": descriptor(*fields).SerializeToString(),
        }
    )
    error = stream.refusal()
    assert code(error) is grpc.StatusCode.INVALID_ARGUMENT
    assert reason in error.details()
    assert "Error Code: 8001" in error.details()


def test_nested_messages_arrays_and_maps_are_stored_as_structs_arrays_and_maps(door):
    """[1.6] the type table."""
    table = door.create(
        "id BIGINT, place STRUCT<x: INT, at: TIMESTAMP>, tags ARRAY<STRING>, counts MAP<STRING, BIGINT>"
    )
    message = descriptor(("id", _Field.TYPE_INT64))
    place = message.nested_type.add(name="Place")
    place.field.add(name="x", number=1, type=_Field.TYPE_INT32, label=1)
    place.field.add(name="at", number=2, type=_Field.TYPE_INT64, label=1)
    entry = message.nested_type.add(name="CountsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=1)
    entry.field.add(name="value", number=2, type=_Field.TYPE_INT64, label=1)
    message.field.add(name="place", number=2, type=11, label=1, type_name=".their.pkg.Row.Place")
    message.field.add(name="tags", number=3, type=_Field.TYPE_STRING, label=3)
    message.field.add(name="counts", number=4, type=11, label=3, type_name="Row.CountsEntry")
    stream = door.opened(table, record_type=1, descriptor_proto=message.SerializeToString())
    record = b"\x08\x01" + b"\x12\x04\x08\x05\x10\x07" + b"\x1a\x01a\x1a\x01b" + b"\x22\x05\x0a\x01k\x10\x09"
    stream.send(ingest_record={"offset_id": 0, "proto_encoded_record": record})
    assert stream.acknowledged() == 0
    row = door.rows(table).to_pylist()[0]
    assert row["place"]["x"] == 5
    assert row["place"]["at"].microsecond == 7
    assert row["tags"] == ["a", "b"]
    assert row["counts"] == [("k", 9)]


def test_json_carries_every_type(door):
    """[1.6]; DECIMAL as a number and BINARY as base64 are modelled without a source."""
    table = door.create(
        "b TINYINT, s SMALLINT, i INT, l BIGINT, f FLOAT, d DOUBLE, ok BOOLEAN, t STRING, n BINARY, day DATE, "
        "at TIMESTAMP, ntz TIMESTAMP_NTZ, price DECIMAL(10,2), v VARIANT, a ARRAY<INT>, m MAP<STRING, INT>, "
        "p STRUCT<x: INT, y: ARRAY<STRING>>"
    )
    stream = door.sdk_stream(table)
    stream.ingest_record_offset(
        {
            "b": 1, "s": 2, "i": 3, "l": 4, "f": 1.5, "d": 2, "ok": True, "t": "x", "n": "AAE=", "day": 1, "at": 1,
            "ntz": 2, "price": 19.99, "v": '{"a": 1}', "a": [1, None], "m": {"k": 1}, "p": {"x": 1, "y": ["z"]},
        }
    )  # fmt: skip
    stream.ingest_record_offset({})
    stream.flush()
    stream.close()
    row = next(row for row in door.rows(table).to_pylist() if row["b"] is not None)
    assert row["n"] == b"\x00\x01"
    assert (str(row["price"]), row["d"], row["v"]) == ("19.99", 2.0, '{"a": 1}')
    assert (row["a"], row["m"], row["p"]) == ([1, None], [("k", 1)], {"x": 1, "y": ["z"]})


def test_headers_and_token_are_checked_before_a_stream_opens(door):
    """[2.2, 1.8]"""
    table = door.create("id BIGINT")
    other = door.create("id BIGINT", "main.default.other")
    name = ("x-databricks-zerobus-table-name", table)
    good = ("authorization", f"Bearer {door.token(table)}")
    cases = [
        ([good], grpc.StatusCode.INVALID_ARGUMENT, "x-databricks-zerobus-table-name"),
        ([good, (name[0], "t")], grpc.StatusCode.INVALID_ARGUMENT, "catalog.schema.table"),
        ([good, (name[0], "../../etc.x.y")], grpc.StatusCode.INVALID_ARGUMENT, "table"),
        ([name], grpc.StatusCode.UNAUTHENTICATED, "authorization"),
        ([name, ("authorization", "Basic abc")], grpc.StatusCode.UNAUTHENTICATED, "bearer"),
        ([name, ("authorization", "Bearer nonsense")], grpc.StatusCode.UNAUTHENTICATED, "not valid"),
        ([name, ("authorization", f"Bearer {door.token(other)}")], grpc.StatusCode.PERMISSION_DENIED, "4024"),
    ]
    for headers, expected, text in cases:
        stream = door.raw(table, headers=headers)
        stream.send(create_stream={"table_name": table, "record_type": 2})
        error = stream.refusal()
        assert code(error) is expected, headers
        assert text in error.details()


def test_an_unknown_table_is_not_found(door):
    """[2.4]"""
    stream = door.raw("main.default.missing")
    stream.send(create_stream={"table_name": "main.default.missing", "record_type": 2})
    error = stream.refusal()
    assert code(error) is grpc.StatusCode.NOT_FOUND
    assert "main.default.missing" in error.details()


def test_requests_that_break_the_protocol_are_refused_and_store_nothing(door):
    table = door.create("id BIGINT")
    first_messages = [
        ({"ingest_record": {"offset_id": 0, "json_record": b"{}"}}, "create_stream"),
        ({"create_stream": {"table_name": "main.default.other", "record_type": 2}}, "main.default.other"),
        ({"create_stream": {"table_name": table}}, "record_type"),
        ({"create_stream": {"table_name": table, "record_type": 9}}, "record_type 9"),
        ({"create_stream": {"table_name": table, "record_type": 1}}, "descriptor_proto"),
        (
            {"create_stream": {"table_name": table, "record_type": 1, "descriptor_proto": b"\xff\xff"}},
            "descriptor_proto",
        ),
    ]
    for payload, text in first_messages:
        stream = door.raw(table)
        stream.send(**payload)
        error = stream.refusal()
        assert code(error) is grpc.StatusCode.INVALID_ARGUMENT
        assert text in error.details()
    next_messages = [
        ({"create_stream": {"table_name": table, "record_type": 2}}, "can be sent only once"),
        ({"ingest_record": {"offset_id": 0, "proto_encoded_record": b""}}, "takes json_record"),
        ({"ingest_record": {"json_record": b"{}"}}, "offset_id"),
        ({"ingest_record_batch": {"offset_id": 0, "json_batch": {}}}, "no records"),
        ({}, "the request is empty"),
    ]
    for payload, text in next_messages:
        stream = door.opened(table)
        stream.send(**payload)
        error = stream.refusal()
        assert code(error) is grpc.StatusCode.INVALID_ARGUMENT
        assert text in error.details()
    stream = door.raw(table)
    stream.send_raw(b"\xff\xff\xff")
    assert code(stream.refusal()) is grpc.StatusCode.INVALID_ARGUMENT
    assert door.rows(table).num_rows == 0


def test_the_sdk_sees_a_refused_record_as_not_retryable(door):
    """[2.8]"""
    table = door.create("id BIGINT NOT NULL")
    stream = door.sdk_stream(table, record_type=RecordType.JSON)
    stream.ingest_records_offset([{"id": 1}, {}])
    with pytest.raises(NonRetriableException, match="record 1, field id"):
        stream.flush()
    stream.close()
    assert len(list(stream.get_unacked_batches())) == 1


def test_two_servers_cannot_share_a_port(door):
    second = GrpcServer(door.catalog, door.tokens, door.storage, door.faults, port=door.port)
    with pytest.raises(OSError, match=str(door.port)):
        second.start()


def test_a_column_added_while_a_stream_is_open_is_null_in_its_rows(door):
    """[1.5] adding a nullable column is safe for running producers."""
    table = door.create("id BIGINT")
    stream = door.opened(table)
    door.catalog.execute(f"ALTER TABLE {table} ADD COLUMN note STRING")
    stream.send(ingest_record_batch=batch(0, b'{"id": 1}'))
    assert stream.acknowledged() == 0
    assert door.rows(table).to_pylist() == [{"id": 1, "note": None}]


def test_a_table_dropped_under_a_stream_ends_it_with_not_found(door):
    table = door.create("id BIGINT")
    stream = door.opened(table)
    door.catalog.execute(f"DROP TABLE {table}")
    stream.send(ingest_record_batch=batch(0, b'{"id": 1}'))
    assert code(stream.refusal()) is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("columns", "record", "stored"),
    [
        ("d DATE", b'{"d": 1}', {"d": date(1970, 1, 2)}),
        ("d STRUCT<x: DATE>", b'{"d": {"x": 1}}', {"d": {"x": date(1970, 1, 2)}}),
        ("d ARRAY<DATE>", b'{"d": [1, null]}', {"d": [date(1970, 1, 2), None]}),
        ("d MAP<STRING, DATE>", b'{"d": {"k": 1}}', {"d": [("k", date(1970, 1, 2))]}),
        ("d ARRAY<STRUCT<x: SMALLINT, y: TIMESTAMP_NTZ>>", b'{"d": [{"x": 1}]}', {"d": [{"x": 1, "y": None}]}),
        ("d DOUBLE", b'{"d": 1}', {"d": 1.0}),
        ("d FLOAT", b'{"d": null}', {"d": None}),
        ("d STRUCT<x: INT NOT NULL>", b'{"d": {"x": 1}}', {"d": {"x": 1}}),
        ("d MAP<INT, STRING>", b'{"d": {"1": "x"}}', {"d": [(1, "x")]}),
        ("d ARRAY<DECIMAL(5,1)>", b'{"d": ["1.5"]}', {"d": [Decimal("1.5")]}),
    ],
)
def test_a_json_value_is_stored_as_its_column_says(door, columns, record, stored):
    table = door.create(columns)
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, record))
    assert stream.acknowledged() == 0
    assert door.rows(table).to_pylist() == [stored]


@pytest.mark.parametrize(
    ("columns", "first", "record", "reason"),
    [
        ("d DATE", b"{}", b'{"d": 2147483648}', "record 1, field d"),
        ("d STRUCT<x: TINYINT>", b"{}", b'{"d": {"x": 300}}', "record 1, field d"),
        ("d STRUCT<x: INT NOT NULL>", b'{"d": {"x": 1}}', b'{"d": {"x": null}}', "record 1, field d.x: is NOT NULL"),
        ("d STRUCT<x: INT NOT NULL>", b'{"d": {"x": 1}}', b"{}", "record 1, field d.x: is NOT NULL"),
        ("d ARRAY<INT>", b"{}", b'{"d": [1, "a"]}', "record 1, field d[1]: is a string"),
    ],
)
def test_a_json_value_inside_a_nested_column_is_checked_too(door, columns, first, record, reason):
    table = door.create(columns)
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, first, record))
    assert reason in stream.refusal().details()
    assert door.rows(table).num_rows == 0


@pytest.mark.parametrize("broken", [b'{"id": 4, "price": -1}', b'{"id": 4}'])
def test_a_row_that_breaks_a_check_constraint_refuses_its_batch(door, broken):
    """Modelled without a source: the documents say nothing about CHECK constraints."""
    table = door.create("id BIGINT, price DOUBLE, CONSTRAINT positive CHECK (price > 0)")
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, b'{"id": 1, "price": 1.5}', b'{"id": 2, "price": 2}'))
    assert stream.acknowledged() == 0
    stream.send(ingest_record_batch=batch(1, b'{"id": 3, "price": 1}', broken))
    error = stream.refusal()
    assert code(error) is grpc.StatusCode.INVALID_ARGUMENT
    assert "offset 1, record 1: violates the constraint positive" in error.details()
    assert sorted(door.rows(table).column("id").to_pylist()) == [1, 2]


def test_a_record_over_ten_megabytes_is_refused_and_one_just_below_is_stored(door):
    """[1.2] record size 10 MB."""
    table = door.create("t STRING")
    stream = door.opened(table)
    overhead = len(b'{"t": ""}')
    stream.send(ingest_record={"offset_id": 0, "json_record": b'{"t": "%s"}' % (b"x" * (10 * 1024 * 1024 - overhead))})
    assert stream.acknowledged() == 0
    stream.send(ingest_record={"offset_id": 1, "json_record": b'{"t": "%s"}' % (b"x" * (10 * 1024 * 1024))})
    assert "at most 10485760 bytes" in stream.refusal().details()
    assert door.rows(table).num_rows == 1


def test_the_first_record_that_is_too_large_is_named_with_its_own_size() -> None:
    records = [b"", b"x" * (MAX_RECORD_BYTES + 1), b"x" * (MAX_RECORD_BYTES + 2)]
    with pytest.raises(RefusedRecordError, match=f"{MAX_RECORD_BYTES + 1} bytes; .* at most") as refused:
        check_sizes(records)
    assert refused.value.record == 1


def test_a_request_of_a_hundred_thousand_rows_is_taken_and_one_more_is_not(door):
    """[1.2] third party."""
    table = door.create("id BIGINT")
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, *[b"{}"] * 100_000))
    assert stream.acknowledged() == 0
    stream.send(ingest_record_batch=batch(1, *[b"{}"] * 100_001))
    assert "at most 100000" in stream.refusal().details()
    assert door.rows(table).num_rows == 100_000


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=100).close()
    except ConnectionError:
        return False
    return True


def test_a_server_that_stops_acknowledges_what_it_has_taken(door):
    table = door.create("id BIGINT")
    stream = door.opened(table)
    stopping = threading.Thread(target=door.grpc.stop, args=[100])
    with door.catalog.locks.commit(door.catalog.table(table).table_id):  # as by a commit that takes long
        stream.send(ingest_record_batch=batch(0, b'{"id": 1}'))
        while not door.grpc.streams.statistics()[0].rows_received:
            time.sleep(0.01)
        stopping.start()
        while listens(door.port):
            time.sleep(0.01)
    assert stream.acknowledged() == 0
    error = stream.refusal()
    assert (code(error), error.details()) == (grpc.StatusCode.UNAVAILABLE, "zerobus-local is stopping")
    stopping.join()
    assert door.rows(table).num_rows == 1


@pytest.mark.parametrize("text", ["9" * 1_000_000, "€" * 100_000])
def test_a_refusal_that_quotes_a_long_value_is_cut_to_what_a_status_can_carry(door, text):
    table = door.create("id BIGINT, price DECIMAL(5,2)")
    stream = door.opened(table)
    stream.send(ingest_record_batch=batch(0, b"{}", json.dumps({"price": text}, ensure_ascii=False).encode()))
    error = stream.refusal()
    assert code(error) is grpc.StatusCode.INVALID_ARGUMENT
    assert "record 1, field price" in error.details()
    assert "None of the request's 2 records are stored" in error.details()
    assert len(error.details()) < 1000


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"\x10\x05", "record 1, field name: was sent as wire type 0"),
        (b"\x0d\x01\x02\x03\x04", "record 1, field id: was sent as wire type 5"),
        (b"\x08\x01\x48\x05", "record 1: has a field number 9"),
        (b"\x1a\x02\x10\x01", "record 1, field place: has a field number 2"),
    ],
)
def test_a_protobuf_field_that_would_be_lost_refuses_its_batch(door, record, reason):
    """[1.5] unknown fields are rejected."""
    table = door.create("id BIGINT, name STRING, place STRUCT<x: INT>, numbers ARRAY<INT>")
    message = descriptor(("id", _Field.TYPE_INT64), ("name", _Field.TYPE_STRING))
    place = message.nested_type.add(name="Place")
    place.field.add(name="x", number=1, type=_Field.TYPE_INT32, label=1)
    message.field.add(name="place", number=3, type=_Field.TYPE_MESSAGE, label=1, type_name="Place")
    message.field.add(name="numbers", number=4, type=_Field.TYPE_INT32, label=_Field.LABEL_REPEATED)
    stream = door.opened(table, record_type=1, descriptor_proto=message.SerializeToString())
    packed, reordered = b"\x22\x02\x01\x02", b"\x12\x01a\x08\x00"
    stream.send(ingest_record_batch={"offset_id": 0, "proto_encoded_batch": {"records": [packed, reordered]}})
    assert stream.acknowledged() == 0
    stream.send(ingest_record_batch={"offset_id": 1, "proto_encoded_batch": {"records": [b"\x08\x01", record]}})
    assert reason in stream.refusal().details()
    assert door.rows(table).column("numbers").to_pylist().count([1, 2]) == 1
    assert door.rows(table).num_rows == 2
