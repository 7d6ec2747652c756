"""Decoders refuse what the table would store as another value; no stream is needed to see it."""

from __future__ import annotations

import io
import json
import math
import struct

import fastavro
import pyarrow as pa
import pytest
from google.protobuf import descriptor_pb2

from zerobus_local.catalog.catalog import Catalog
from zerobus_local.decode.avro import AvroDecoder
from zerobus_local.decode.decoder import TableShape
from zerobus_local.decode.json import JsonDecoder
from zerobus_local.decode.protobuf import ProtobufDecoder
from zerobus_local.decode.refusal import RefusedRecordError
from zerobus_local.decode.variant_columns import with_variant_texts

_Field = descriptor_pb2.FieldDescriptorProto
VARIANT = pa.struct([("metadata", pa.binary()), ("value", pa.binary())])


@pytest.fixture
def shape(tmp_path):
    catalog = Catalog(tmp_path / "data")
    return lambda columns: TableShape.of(catalog.create_table(f"CREATE TABLE main.default.t ({columns})"))


@pytest.mark.parametrize(
    ("record", "path", "reason"),
    [
        (b"\x0a\x09\x0a\x01k\x12\x04\x08\x05\x10\x07", "places.value", "has a field number 2"),
        (b"\x0a\x09\x0a\x01k\x12\x02\x08\x05\x18\x07", "places", "has a field number 3"),
        (b"\x0a\x0a\x0a\x01k\x12\x05\x0d\x00\x00\x00\x00", "places.value.x", "was sent as wire type 5"),
        # The numbers are packed, which saves as many bytes as the unknown field takes.
        (b"\x0a\x03\x0a\x01k", None, "zerobus-local cannot read it"),
        (b"\x1a\x04\x01\x02\x03\x04\x48\x00", None, "has a field number 9"),
    ],
)
def test_a_protobuf_record_that_would_not_be_stored_whole_is_refused(shape, record, path, reason):
    message = descriptor_pb2.DescriptorProto(name="Row")
    message.nested_type.add(name="Place").field.add(name="x", number=1, type=_Field.TYPE_INT32, label=1)
    values = {"PlacesEntry": {"type": _Field.TYPE_MESSAGE, "type_name": "Place"}, "CountsEntry": {"type": 5}}
    for number, (name, value) in enumerate(values.items(), 1):
        entry = message.nested_type.add(name=name)
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=1)
        entry.field.add(name="value", number=2, label=1, **value)
        field = name.removesuffix("Entry").lower()
        message.field.add(name=field, number=number, type=_Field.TYPE_MESSAGE, label=3, type_name=name)
    message.field.add(name="numbers", number=3, type=_Field.TYPE_INT32, label=3)
    columns = shape("places MAP<STRING, STRUCT<x: INT>>, counts MAP<STRING, INT>, numbers ARRAY<INT>")
    decoder = ProtobufDecoder(columns, message.SerializeToString())
    reordered, without_value = b"\x0a\x07\x12\x02\x08\x05\x0a\x01k", b"\x12\x03\x0a\x01k"
    good = [reordered, without_value]
    rows = decoder.decode(good).select(["places", "counts"]).to_pylist()
    assert rows == [{"places": [("k", {"x": 5})], "counts": []}, {"places": [], "counts": [("k", 0)]}]
    with pytest.raises(RefusedRecordError, match=reason) as refused:
        decoder.decode([*good, record])
    assert (refused.value.record, refused.value.field) == (2, path)


@pytest.mark.parametrize("more", ["other INT", "price DECIMAL(5,2)"])
@pytest.mark.parametrize(
    ("kind", "good", "bad", "path"),
    [
        ("FLOAT", "3.4028235e38", "1e300", "f"),
        ("FLOAT", "1.5", "-3.4028236e38", "f"),
        ("ARRAY<FLOAT>", "[1.5]", "[1.5, 1e39]", "f[1]"),
        ("STRUCT<x: FLOAT>", '{"x": 1.5}', '{"x": 1e39}', "f.x"),
        ("FLOAT", "1.5", "1" + "0" * 40, "f"),
    ],
)
def test_a_json_number_too_large_for_float_refuses_its_record(shape, more, kind, good, bad, path):
    decoder = JsonDecoder(shape(f"f {kind}, {more}"))
    records = [f'{{"f": {value}}}'.encode() for value in (good, good, bad)]
    assert decoder.decode(records[:2]).num_rows == 2
    with pytest.raises(RefusedRecordError, match="too large for FLOAT") as refused:
        decoder.decode(records)
    assert (refused.value.record, refused.value.field) == (2, path)


def encoded(value: bytes) -> dict[str, bytes]:
    return {"metadata": b"\x01\x00\x00", "value": value}


@pytest.mark.parametrize("value", [b"\x1c" + struct.pack("<d", math.nan), b"\x38" + struct.pack("<f", -math.inf)])
def test_a_variant_with_a_number_that_json_lacks_is_refused(value):
    column = pa.array([encoded(b"\x0c\x01"), encoded(value)], VARIANT)
    with pytest.raises(RefusedRecordError, match="stores a VARIANT as JSON text") as refused:
        with_variant_texts(column, pa.string(), "v")
    assert refused.value.record == 1


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (pa.list_(VARIANT), pa.list_(pa.string())),
        (pa.large_list(VARIANT), pa.list_(pa.string())),
        (pa.list_(pa.large_list(VARIANT)), pa.list_(pa.list_(pa.string()))),
        (pa.map_(pa.string(), VARIANT), pa.map_(pa.string(), pa.string())),
    ],
)
def test_a_bad_variant_in_an_array_or_map_is_refused_with_its_row(sent, stored):
    good, bad = encoded(b"\x0c\x01"), encoded(b"")

    def row(*values: object) -> list[object]:
        if pa.types.is_map(sent):
            return [(str(index), value) for index, value in enumerate(values)]
        return [list(values)] if pa.types.is_nested(sent.value_type) and sent.value_type != VARIANT else list(values)

    rows = [row(good, good), None, row(good), row(), row(good, good)]
    texts = [row("1", "1"), None, row("1"), row(), row("1", "1")]
    assert with_variant_texts(pa.array(rows, sent), stored, "v").to_pylist() == texts
    with pytest.raises(RefusedRecordError, match="is not a VARIANT") as refused:
        with_variant_texts(pa.array([*rows, row(good, bad)], sent), stored, "v")
    assert refused.value.record == 5


def test_elements_that_a_null_list_keeps_do_not_change_the_row_that_is_named():
    elements = pa.array([encoded(b"\x0c\x01"), encoded(b"\x0c\x01"), encoded(b""), encoded(b"\x0c\x01")], VARIANT)
    offsets = pa.py_buffer(struct.pack("<3i", 0, 2, 4))
    only_the_second = pa.py_buffer(b"\x02")
    lists = pa.Array.from_buffers(pa.list_(VARIANT), 2, [only_the_second, offsets], children=[elements])
    assert lists.is_null().to_pylist() == [True, False]
    with pytest.raises(RefusedRecordError, match="is not a VARIANT") as refused:
        with_variant_texts(lists, pa.list_(pa.string()), "v")
    assert refused.value.record == 1


@pytest.mark.parametrize("text", ["{no", "NaN", ""])
def test_a_variant_that_is_not_json_text_is_refused_in_protobuf_and_avro(shape, text):
    columns = shape("v VARIANT, a ARRAY<VARIANT>, m MAP<STRING, STRUCT<v: VARIANT>>")
    message = descriptor_pb2.DescriptorProto(name="Row")
    message.field.add(name="v", number=1, type=_Field.TYPE_STRING, label=1)
    message.field.add(name="a", number=2, type=_Field.TYPE_STRING, label=3)
    size = bytes([len(text)]) + text.encode()
    protobuf = ProtobufDecoder(columns, message.SerializeToString())
    assert protobuf.decode([b"\x0a\x051e400", b"\x12\x011\x12\x012"]).num_rows == 2
    for field in (b"\x0a", b"\x12\x011\x12"):
        with pytest.raises(RefusedRecordError, match="is not JSON text") as refused:
            protobuf.decode([b"\x12\x011\x12\x012", field + size])
        assert (refused.value.record, refused.value.field) == (1, "v" if field == b"\x0a" else "a")
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "v", "type": "string"}]}
    fields = [{"name": "m", "type": {"type": "map", "values": inner}}]
    schema = {"type": "record", "name": "Row", "fields": fields}
    records = []
    for value in ("1", text):
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, schema, {"m": {"a": {"v": "[1]"}, "b": {"v": value}}})
        records.append(buffer.getvalue())
    avro = AvroDecoder(columns, json.dumps(schema))
    assert avro.decode(records[:1]).num_rows == 1
    with pytest.raises(RefusedRecordError, match="is not JSON text") as refused:
        avro.decode(records)
    assert (refused.value.record, refused.value.field) == (1, "m")
