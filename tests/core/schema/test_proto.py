"""``.proto`` text: protoc compiles it, it is our descriptor, and the official script's files read the same bytes."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format, unknown_fields
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message
from hypothesis import Phase, given, settings
from zerobus.tools.generate_proto import generate_proto_file

from tests.core import faker
from tests.fast import examples
from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.encode.rows.messages import Messages

SCALARS = {"a": 1, "b": -2, "c": 3, "d": 2**40, "e": 0.5, "f": 1e300, "g": "x", "h": True, "i": b"\x00"}
# Tables that the official script takes, each with a row.
SHARED: dict[str, tuple[str, dict[str, Any]]] = {
    "scalars": (
        "a TINYINT, b SMALLINT, c INT, d BIGINT, e FLOAT, f DOUBLE, g STRING, h BOOLEAN, i BINARY",
        SCALARS,
    ),
    "required": (
        "id BIGINT NOT NULL, name STRING NOT NULL, at TIMESTAMP",
        {"id": 1, "name": "x"},
    ),
    "times": ("d DATE, t TIMESTAMP, n TIMESTAMP_NTZ", {"t": datetime(2024, 1, 1), "n": datetime(1969, 1, 1)}),
    "text": ("v VARCHAR(5), doc VARIANT", {"v": "abc", "doc": {"a": [1]}}),
    "arrays": ("i ARRAY<INT>, s ARRAY<STRING>, d ARRAY<DATE>", {"i": [1, 2], "s": ["a", ""], "d": [date.min]}),
    "maps": (
        "m MAP<STRING, INT>, n MAP<BIGINT, DOUBLE>, o MAP<BOOLEAN, DATE>",
        {"m": {"a": 1}, "n": {-1: 0.5}, "o": {True: 5}},
    ),
    "structs": ("address STRUCT<street: STRING, zip: INT>", {"address": {"street": "x", "zip": 1}}),
    "deep": ("a STRUCT<b: STRUCT<c: STRUCT<d: TIMESTAMP>>>", {"a": {"b": {"c": {"d": datetime(2024, 1, 1)}}}}),
    "items": ("items ARRAY<STRUCT<sku: STRING, marks: ARRAY<INT>>>", {"items": [{"sku": "a", "marks": [1]}, {}]}),
    "lookup": ("by_name MAP<STRING, STRUCT<n: INT, at: DATE>>", {"by_name": {"x": {"n": 1, "at": date(2024, 1, 1)}}}),
    "inside": (
        "s STRUCT<tags: MAP<STRING, STRING>, list: ARRAY<BIGINT>>",
        {"s": {"tags": {"a": "b"}, "list": [7]}},
    ),
    "two_structs": ("first STRUCT<a: INT>, second STRUCT<a: STRING>", {"first": {"a": 1}, "second": {"a": "x"}}),
}
# Tables that it refuses, and we take.
OURS_ALONE = {
    "decimals": "price DECIMAL(10,2)",
    "chars": "code CHAR(3)",
    "nested_decimals": "s STRUCT<price: DECIMAL(10,2), prices: ARRAY<DECIMAL(5,0)>>",
    "keywords": "message STRING, to INT, max INT, string STRING, package INT, syntax INT, enum INT, reserved INT",
    "nested_keywords": "s STRUCT<double: DOUBLE, service: STRING>",
}


def as_dict(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def sql_of(name: str, columns: str) -> str:
    return f"CREATE TABLE main.default.{name} ({columns})"


def compiled(folder: Path) -> dict[str, FileDescriptorProto]:
    """All ``.proto`` files of a folder by protoc, by file name."""
    files = sorted(path.name for path in folder.glob("*.proto"))
    out = folder / "out.binpb"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"--descriptor_set_out={out}", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {file.name: file for file in FileDescriptorSet.FromString(out.read_bytes()).file}


def official_columns(schema: TableSchema) -> list[dict[str, Any]]:
    """Columns as Unity Catalog names them to the script; it knows no NOT NULL inside of structs."""
    return [
        {"name": c.name, "type_text": str(c.type).replace(": ", ":").lower(), "nullable": c.nullable}
        for c in schema.columns
    ]


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileDescriptorProto]:
    folder = tmp_path_factory.mktemp("official")
    for name, (columns, _) in SHARED.items():
        schema = TableSchema.from_sql(sql_of(name, columns))
        generate_proto_file(f"official_{name}", official_columns(schema), str(folder / f"{name}.proto"))
    return compiled(folder)


@pytest.mark.parametrize("name", SHARED)
def test_records_of_the_official_script_and_ours_are_each_others(
    official: dict[str, FileDescriptorProto], name: str
) -> None:
    columns, row = SHARED[name]
    schema = TableSchema.from_sql(sql_of(name, columns))
    encoder = encoder_for(schema, IngestOptions(record_format="protobuf"), is_arrow=False)
    (batch,) = encoder.encode(Chunk(0, [row]))
    ours: bytes = batch.payload[0]
    theirs = Messages(official[f"{name}.proto"]).row
    mine = Messages(FileDescriptorProto.FromString(schema.descriptor_proto())).row
    read_by_them = theirs.FromString(ours)
    assert as_dict(read_by_them) == as_dict(mine.FromString(ours))
    assert len(unknown_fields.UnknownFieldSet(read_by_them)) == 0
    written_by_them = read_by_them.SerializeToString(deterministic=True)
    assert mine.FromString(written_by_them).SerializeToString(deterministic=True) == written_by_them
    assert as_dict(mine.FromString(written_by_them)) == as_dict(read_by_them)


@pytest.mark.parametrize("name", OURS_ALONE)
def test_tables_that_the_official_script_refuses_are_taken(tmp_path: Path, name: str) -> None:
    schema = TableSchema.from_sql(sql_of(name, OURS_ALONE[name]))
    with pytest.raises(ValueError, match="Unknown column type|reserved keyword"):
        generate_proto_file("refused", official_columns(schema), str(tmp_path / "refused.proto"))
    (tmp_path / "ours.proto").write_text(schema.to_proto())
    assert compiled(tmp_path)["ours.proto"].message_type


def without_json_names(file: FileDescriptorProto) -> Any:
    """What decides about bytes: protoc writes lower-camel JSON names, the SDK's conversion and we the plain ones."""
    message = type(file.message_type[0])()
    message.CopyFrom(file.message_type[0])
    pending = [message]
    while pending:
        current = pending.pop()
        for field in current.field:
            field.ClearField("json_name")
        current.nested_type.sort(key=lambda nested: nested.name)
        pending += current.nested_type
    return message


@pytest.mark.parametrize("name", [*SHARED, *OURS_ALONE])
def test_the_text_compiles_to_our_own_descriptor(tmp_path: Path, name: str) -> None:
    columns = SHARED[name][0] if name in SHARED else OURS_ALONE[name]
    schema = TableSchema.from_sql(sql_of(name, columns))
    (tmp_path / "ours.proto").write_text(schema.to_proto())
    ours = FileDescriptorProto.FromString(schema.descriptor_proto())
    assert without_json_names(compiled(tmp_path)["ours.proto"]) == without_json_names(ours)


@given(schema=faker.schemas("protobuf"))
@settings(max_examples=examples(10), deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink])
def test_the_text_of_any_schema_compiles_and_carries_the_same_fields(
    tmp_path_factory: pytest.TempPathFactory, schema: TableSchema
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "ours.proto").write_text(schema.to_proto())
    (message,) = compiled(folder)["ours.proto"].message_type
    ours = FileDescriptorProto.FromString(schema.descriptor_proto()).message_type[0]
    assert [(f.name, f.number, f.type, f.label) for f in message.field] == [
        (f.name, f.number, f.type, f.label) for f in ours.field
    ]


def test_comments_and_units_are_in_the_text() -> None:
    schema = TableSchema.from_sql(
        "CREATE TABLE main.default.t (at TIMESTAMP COMMENT 'when\\nit was', price DECIMAL(5,2), v VARIANT)"
    )
    assert [line.strip() for line in schema.to_proto().splitlines()[4:-1]] == [
        "optional int64 at = 1;  // TIMESTAMP; microseconds since 1970-01-01 UTC; when it was",
        "optional string price = 2;  // DECIMAL(5,2)",
        "optional string v = 3;  // VARIANT; JSON text",
    ]


def test_a_decimal_travels_as_text() -> None:
    schema = TableSchema.from_sql(sql_of("t", "price DECIMAL(10,2)"))
    encoder = encoder_for(schema, IngestOptions(), is_arrow=False)
    (batch,) = encoder.encode(Chunk(0, [{"price": Decimal("19.99")}]))
    assert batch.payload == [b"\x0a\x0519.99"]
