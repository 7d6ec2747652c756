"""Avro on EphemeralStream (facts 1.6, 2.1): the writer schema at the open, raw datums after it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import grpc
import pytest
from zerobus.sdk.shared import RecordType, StreamConfigurationOptions, TableProperties
from zerobus.sdk.sync import ZerobusSdk

AVRO = 4


def record(*fields: tuple[str, object]) -> str:
    return json.dumps({"type": "record", "name": "Row", "fields": [{"name": n, "type": t} for n, t in fields]})


def nullable(avro: object) -> list[object]:
    return ["null", avro]


def test_dicts_sent_with_the_sdk_arrive(door):
    table = door.create(
        "id BIGINT NOT NULL, name STRING, price DECIMAL(10,2), day DATE, at TIMESTAMP, tags ARRAY<STRING>, "
        "counts MAP<STRING, INT>, place STRUCT<x: INT>, raw BINARY, key STRING"
    )
    schema = record(
        ("id", "long"),
        ("name", nullable("string")),
        ("price", nullable({"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2})),
        ("day", nullable({"type": "int", "logicalType": "date"})),
        ("at", nullable({"type": "long", "logicalType": "timestamp-micros"})),
        ("tags", nullable({"type": "array", "items": "string"})),
        ("counts", nullable({"type": "map", "values": "int"})),
        ("place", nullable({"type": "record", "name": "Place", "fields": [{"name": "x", "type": "int"}]})),
        ("raw", nullable("bytes")),
        ("key", nullable({"type": "string", "logicalType": "uuid"})),
    )
    stream = ZerobusSdk(f"http://127.0.0.1:{door.port}", "http://127.0.0.1:1").create_stream(
        None,
        None,
        TableProperties(table, avro_schema=schema),
        StreamConfigurationOptions(record_type=RecordType.AVRO, recovery=False),
        headers_provider=door.headers(table),
    )
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    row = {
        "id": 1, "name": "a", "price": Decimal("1.25"), "day": date(2026, 1, 2), "at": moment, "tags": ["x"],
        "counts": {"k": 1}, "place": {"x": 5}, "raw": b"\x00\x01", "key": "6b29fc40-ca47-1067-b31d-00dd010662da",
    }  # fmt: skip
    stream.ingest_record_offset(row)
    stream.ingest_records_offset([{"id": 2}, {"id": 3}])
    stream.flush()
    stream.close()
    stored = door.rows(table).sort_by("id").to_pylist()
    assert stored[0] == row | {"counts": [("k", 1)]}
    assert stored[2] == dict.fromkeys(row) | {"id": 3}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ("", "needs avro_schema_json"),
        ("{", "not an Avro schema"),
        ('"string"', "not a record"),
        ('{"type": "record"}', "not an Avro schema"),
        ("[" * 5000, "not an Avro schema"),
        (record(("id", "int"), ("other", "int")), "field other is not a column"),
        (record(("name", "string")), "column id is NOT NULL"),
        (record(("id", "string")), "field id has Avro type string, but the column is LONG"),
        (record(("id", ["null", "long", "string"])), "union of 2 types"),
        (record(("id", "long"), ("price", "double")), "field price has Avro type double"),
        (record(("id", "long"), ("name", {"type": "array", "items": "null"})), "field name has Avro type array"),
    ],
)
def test_a_schema_that_does_not_fit_is_refused(door, schema, reason):
    table = door.create("id BIGINT NOT NULL, name STRING, price DECIMAL(10,2)")
    stream = door.raw(table)
    stream.send(create_stream={"table_name": table, "record_type": AVRO, "avro_schema_json": schema})
    error = stream.refusal()
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason in error.details()


@pytest.mark.parametrize(
    ("datum", "reason"),
    [(b"", "not a datum"), (b"\x02\x00", "bytes left"), (b"\xff", "not a datum"), (b"\x80\x02", "field tiny")],
)
def test_a_datum_that_does_not_fit_refuses_its_batch_and_is_named(door, datum, reason):
    table = door.create("tiny TINYINT")
    stream = door.opened(table, AVRO, avro_schema_json=record(("tiny", "int")))
    stream.send(ingest_record_batch={"offset_id": 0, "avro_batch": {"records": [b"\x02", b"\x04"]}})
    assert stream.acknowledged() == 0
    stream.send(ingest_record_batch={"offset_id": 1, "avro_batch": {"records": [b"\x06", datum]}})
    error = stream.refusal()
    assert "offset 1, record 1" in error.details()
    assert reason in error.details()
    assert sorted(door.rows(table).column("tiny").to_pylist()) == [1, 2]
