"""Rows → bytes → the real SDK → the local service → a Delta table → equal values, in every record format."""

from __future__ import annotations

import itertools
import os
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.core import faker
from zerobus_core import IngestOptions, TableSchema, ingest
from zerobus_core.schema import ArrayType, DataType, Field, Kind, MapType, PrimitiveType, StructType

if TYPE_CHECKING:
    from zerobus_local import LocalZerobus

FORMATS: list[faker.Format] = ["protobuf", "json", "arrow"]
ROW_NUMBER = "row_number"
_tables = itertools.count(1)


def delivered(server: LocalZerobus, schema: TableSchema, rows: list[dict[str, Any]], record_format: Any) -> list[Any]:
    """The rows as the Delta table has them after a delivery, in order."""
    numbered = Field(ROW_NUMBER, PrimitiveType(Kind.INT), False, len(schema.columns))
    table = f"main.default.round_trip_{next(_tables)}"
    columns = (*schema.columns, numbered)
    server.create_table(TableSchema(table=table, columns=columns).to_sql())
    given_rows = [{**row, ROW_NUMBER: number} for number, row in enumerate(rows)]
    receipt = ingest(server.workspace, table, given_rows, options=IngestOptions(record_format=record_format))
    assert (receipt.rows_acked, receipt.record_format) == (len(rows), record_format)
    stored = server.read(table).sort_by(ROW_NUMBER).to_pylist()
    return [
        {field.name: as_read(row[field.name], field.type, record_format) for field in schema.columns} for row in stored
    ]


def as_read(value: Any, kind: DataType, record_format: faker.Format) -> Any:
    """What pyarrow reads, in the words of ``faker.as_stored``."""
    if value is None:
        return None
    if isinstance(kind, StructType):
        return {field.name: as_read(value[field.name], field.type, record_format) for field in kind.fields}
    if isinstance(kind, ArrayType):
        read: Any = [as_read(item, kind.element, record_format) for item in value]
    elif isinstance(kind, MapType):
        read = {as_read(k, kind.key, record_format): as_read(v, kind.value, record_format) for k, v in value}
    elif kind == PrimitiveType(Kind.VARIANT):
        return orjson.loads(value)
    else:
        return "NaN" if isinstance(value, float) and value != value else value  # noqa: PLR0124  # NaN
    return read if read or record_format != "protobuf" else None


def can_be_stored(schema: TableSchema) -> bool:
    """deltalake 1.6 makes no table that has a TIMESTAMP_NTZ somewhere inside of a MAP."""
    return not any("MAP<" in str(column.type) and "TIMESTAMP_NTZ" in str(column.type) for column in schema.columns)


@pytest.mark.parametrize("record_format", FORMATS)
@given(data=st.data())
@settings(
    # ROUND_TRIPS=500 for a long run.
    max_examples=int(os.environ.get("ROUND_TRIPS", "12")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
def test_any_row_of_any_schema_is_found_again_in_the_table(
    zerobus: LocalZerobus, record_format: faker.Format, data: st.DataObject
) -> None:
    schema = data.draw(faker.schemas(record_format).filter(can_be_stored))
    rows = data.draw(st.lists(faker.rows(schema.columns, record_format), min_size=1, max_size=6))
    expected = [faker.row_as_stored(row, schema.columns, record_format) for row in rows]
    assert delivered(zerobus, schema, rows, record_format) == expected


ALL_TYPES = """CREATE TABLE main.default.all_types (
  tiny TINYINT NOT NULL, small SMALLINT, whole INT, big BIGINT, single FLOAT, double DOUBLE, price DECIMAL(10,2),
  huge DECIMAL(38,0), yes BOOLEAN, name STRING, code VARCHAR(5), fixed CHAR(3), raw BINARY, day DATE, at TIMESTAMP,
  wall TIMESTAMP_NTZ, doc VARIANT, list ARRAY<INT>, items ARRAY<STRUCT<sku: STRING, price: DECIMAL(10,2)>>,
  tags MAP<STRING, STRING>, counts MAP<INT, STRUCT<n: BIGINT>>, nested STRUCT<a: STRUCT<b: STRUCT<at: TIMESTAMP>>>
)"""
FULL = {
    "tiny": -128, "small": 32_767, "whole": -(2**31), "big": 2**63 - 1, "single": 0.5, "double": 1e308,
    "price": Decimal("-99999999.99"), "huge": Decimal(10**38 - 1), "yes": False, "name": "é\u0000𝄞", "code": "abcde",
    "fixed": "ab", "raw": b"\x00\xff", "day": date(1, 1, 1), "at": datetime(9999, 12, 31, 23, 59, 59, 999_999),
    "wall": datetime(1, 1, 1), "doc": {"a": [1, None, "x"]}, "list": [1, 2],
    "items": [{"sku": "s", "price": Decimal("1.50")}],
    "tags": {"": "empty", "k": "v"}, "counts": {-1: {"n": 5}}, "nested": {"a": {"b": {"at": datetime(1970, 1, 1)}}},
}  # fmt: skip


@pytest.mark.parametrize("record_format", FORMATS)
def test_one_column_of_each_type_lands_equal(zerobus: LocalZerobus, record_format: faker.Format) -> None:
    schema = TableSchema.from_sql(ALL_TYPES)
    rows: list[dict[str, Any]] = [FULL, {"tiny": 1}, {**dict.fromkeys(FULL), "tiny": 2}]
    expected = [faker.row_as_stored(row, schema.columns, record_format) for row in rows]
    assert delivered(zerobus, schema, rows, record_format) == expected


def test_a_table_that_only_json_can_carry_lands_equal(zerobus: LocalZerobus) -> None:
    schema = TableSchema.from_sql("CREATE TABLE main.default.t (grid ARRAY<ARRAY<INT>>, m MAP<DOUBLE, ARRAY<DATE>>)")
    rows = [{"grid": [[1, None], [], [3]], "m": {1.5: [date(2024, 1, 1)]}}, {"grid": None, "m": {}}]
    expected = [faker.row_as_stored(row, schema.columns, "json") for row in rows]
    assert delivered(zerobus, schema, rows, "json") == expected
