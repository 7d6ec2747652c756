"""Rows of flat tables become the same protobuf bytes by columns as by dicts, and only where that is installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core import faker
from tests.fast import examples
from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import BadRow, Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.encode.filled import FilledColumns
from zerobus_core.encode.rows.arrays import RowArrays
from zerobus_core.encode.rows.columnar import columnar_records
from zerobus_core.encode.rows.fast_columns import RowsConverter
from zerobus_core.encode.rows.messages import Messages
from zerobus_core.encode.rows.protobuf import ProtobufEncoder
from zerobus_core.encode.values.rules import ConversionRules
from zerobus_core.schema import ArrayType, MapType, StructType

COLUMNS = "id BIGINT NOT NULL, name STRING, at TIMESTAMP, price DECIMAL(10,2)"


def records(schema: TableSchema, rows: list[Any], *, columnar: bool) -> list[bytes]:
    options = IngestOptions(record_format="protobuf")
    encoder = ProtobufEncoder(schema, options, reason="asked for", filled=FilledColumns(), columnar=columnar)
    return [record for batch in encoder.encode(Chunk(0, rows)) for record in batch.payload]


@given(data=st.data())
@settings(max_examples=examples(60), deadline=None)
def test_both_ways_write_the_same_bytes(data: st.DataObject) -> None:
    """Else a retry in an environment without ptars would take unchanged rows for changed ones."""
    schema = data.draw(faker.schemas("protobuf").filter(is_flat))
    rows = data.draw(st.lists(faker.rows(schema.columns, "protobuf"), min_size=1, max_size=5))
    assert records(schema, rows, columnar=True) == records(schema, rows, columnar=False)


def is_flat(schema: TableSchema) -> bool:
    return not any(isinstance(column.type, ArrayType | MapType | StructType) for column in schema.columns)


def test_ptars_serializes_the_rows_of_a_flat_table() -> None:
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t ({COLUMNS})")
    messages = Messages(FileDescriptorProto.FromString(schema.descriptor_proto()))
    assert columnar_records(schema.columns, ConversionRules(refuse_unknown=True), messages) is not None


def test_a_serializer_that_writes_other_bytes_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t ({COLUMNS})")
    # A column of the rows that the message does not have is what ptars skips in silence.
    lacking = TableSchema.from_sql("CREATE TABLE main.default.t (id BIGINT NOT NULL, name STRING, at TIMESTAMP)")
    messages = Messages(FileDescriptorProto.FromString(lacking.descriptor_proto()))
    assert columnar_records(schema.columns, ConversionRules(refuse_unknown=True), messages) is None
    assert "differently from protobuf" in caplog.text


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("STRUCT<a: INT, b: STRING>", [None, None]),
        ("STRUCT<a: INT NOT NULL, b: DECIMAL(5,2)>", [None, None]),
        ("STRUCT<a: STRUCT<b: DATE>>", [{"a": None}, None]),
        ("ARRAY<STRUCT<a: INT, b: TIMESTAMP>>", [[], [], None]),
        ("MAP<STRING, STRUCT<a: INT>>", [{}, None]),
    ],
)
def test_a_block_without_any_struct_needs_no_exact_walk(kind: str, values: list[Any], as_json: bool) -> None:
    columns = TableSchema.from_sql(f"CREATE TABLE main.default.t (id INT, v {kind})").columns
    rules = ConversionRules(as_json=as_json, inner_nulls=as_json, refuse_unknown=as_json)
    for rows in ([{"id": 1, "v": value} for value in values], [{"id": 1}]):
        assert RowsConverter(columns, rules)(rows) == rows
    arrays = RowArrays(columns, rules)
    assert arrays.quick_batch([{"id": 1, "v": value} for value in values]) is not None


@pytest.mark.parametrize(("rows", "is_loaded"), [(100, False), (12_000, True)])
def test_few_rows_do_not_load_pyarrow(rows: int, is_loaded: bool) -> None:
    code = f"""
import sys
from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import Chunk
from zerobus_core.encode import encoder_for
schema = TableSchema.from_sql("CREATE TABLE main.default.t (id BIGINT NOT NULL)")
encoder = encoder_for(schema, IngestOptions(), is_arrow=False)
assert sum(batch.rows for batch in encoder.encode(Chunk(0, [{{"id": i}} for i in range({rows})]))) == {rows}
assert ("pyarrow" in sys.modules) is {is_loaded}
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


class ReadCounted(Mapping[str, Any]):
    """A row that counts how often its names are read."""

    def __init__(self, number: int | str) -> None:
        self._members = {"id": number}
        self.reads = 0

    def __getitem__(self, name: str) -> Any:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        self.reads += 1
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def test_a_bad_row_sends_only_the_rows_around_it_through_the_exact_walk() -> None:
    schema = TableSchema.from_sql("CREATE TABLE main.default.t (id BIGINT NOT NULL)")
    encoder = encoder_for(schema, IngestOptions(), is_arrow=False)
    rows = [ReadCounted("bad" if number == 3_000 else number) for number in range(5_000)]
    bad: list[BadRow] = []
    assert sum(batch.rows for batch in encoder.encode(Chunk(0, rows), on_bad_row=bad.append)) == 4_999
    assert [each.row for each in bad] == [3_000]
    most = max(row.reads for row in rows)
    walked = [number for number, row in enumerate(rows) if row.reads == most]
    assert len(walked) == 500
    assert 3_000 in walked
