"""Decoders refuse what the table would store as another value; no stream is needed to see it."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2

from zerobus_local.catalog.catalog import Catalog
from zerobus_local.decode.decoder import TableShape
from zerobus_local.decode.protobuf import ProtobufDecoder
from zerobus_local.decode.refusal import RefusedRecordError

_Field = descriptor_pb2.FieldDescriptorProto


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
        (b"\x1a\x04\x01\x02\x03\x04\x48\x00", None, "has a field number 9"),
    ],
)
def test_a_protobuf_field_that_would_be_lost_in_a_map_or_by_its_length_refuses_its_record(shape, record, path, reason):
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
