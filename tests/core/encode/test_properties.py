"""The fast paths and the exact walk are ways to one answer, for rows that fit and for rows that do not."""

from __future__ import annotations

import enum
import math
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.core import faker
from tests.fast import examples
from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import BadRow, Chunk, Encoder
from zerobus_core.encode import encoder_for
from zerobus_core.encode.filled import FilledColumns
from zerobus_core.encode.rows.protobuf import ProtobufEncoder
from zerobus_core.schema import ArrayType, Field, Kind, PrimitiveType

FORMATS: list[faker.Format] = ["protobuf", "json", "arrow"]
WAYS = [*FORMATS, "protobuf by dicts"]


# Explaining a failure costs minutes here, and the values say enough.
QUICK = settings(
    max_examples=examples(60), deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]
)


def format_of(way: str) -> faker.Format:
    return next(record_format for record_format in FORMATS if way.startswith(record_format))


def encoder_of(schema: TableSchema, record_format: Any) -> Encoder:
    if record_format == "protobuf by dicts":  # as where pyarrow or ptars is not installed
        return ProtobufEncoder(schema, IngestOptions(), reason="asked for", filled=FilledColumns(), columnar=False)
    return encoder_for(schema, IngestOptions(record_format=record_format), is_arrow=False)


def encoded(encoder: Encoder, rows: list[Any]) -> dict[int, Any]:
    """Accepted rows by number, as they are read back, without nulls and with NaN as a word."""
    return {
        batch.first_row + index: without_nulls(encoder.decode(batch, index))
        for batch in encoder.encode(Chunk(0, rows), on_bad_row=lambda bad: None)
        for index in range(batch.rows)
    }


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return [without_nulls(member) for member in value] if isinstance(value, list) else value


def walked(encoder: Encoder, rows: list[Any]) -> dict[int, Any]:
    """The same by the exact walk: a row that cannot fit sends its whole block there."""
    found: dict[int, Any] = {}
    for number, row in enumerate(rows):
        both = encoded(encoder, [row, object()])
        assert 1 not in both
        if 0 in both:
            found[number] = both[0]
    return found


@pytest.mark.parametrize("way", WAYS)
@given(data=st.data())
@QUICK
def test_rows_that_fit_take_the_fast_path_and_the_walk_agrees(way: str, data: st.DataObject) -> None:
    schema = data.draw(faker.schemas(format_of(way)))
    rows = data.draw(st.lists(faker.rows(schema.columns, format_of(way)), min_size=1, max_size=5))
    encoder = encoder_of(schema, way)
    fast = encoded(encoder, rows)
    assert sorted(fast) == list(range(len(rows)))
    assert walked(encoder, rows) == fast


class Colour(enum.Enum):
    RED = "red"
    FIVE = 5


class Level(enum.IntEnum):
    HIGH = 2**40


# One to a line would be two pages of values.
# ruff: noqa: E501
ODD = [
    True, 0, -1, 127, 128, -129, 2**15, 2**31, -(2**31) - 1, 2**53 + 1, 2**63, 2**64, 10**30, 0.0, -0.0, 1.0, 1.5, 1e300,
    3.5e38, 3.4028235677973366e38, float("nan"), float("inf"), "", "1", "x" * 11, "é" * 10, "\ud800", "2024-01-01", b"", b"ab",
    bytearray(b"a"), memoryview(b"a"), date(2024, 1, 1), date.min, date.max, datetime(2024, 1, 1), datetime(2024, 1, 1, 1),
    datetime(2024, 1, 1, 1, tzinfo=UTC), datetime.min, datetime.max, datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), Decimal("1.5"), Decimal("1.005"), Decimal("-0.00"),
    Decimal("1E+3"), Decimal("1E-7"), Decimal("123456.7"), Decimal("NaN"), Decimal("Infinity"), Decimal("1E+999999"), Decimal(7),
    uuid.UUID(int=5), Colour.RED, Colour.FIVE, {Colour.RED: 1, "red": 2}, Level.HIGH, np.int8(5), np.uint64(2**63), np.float32(1.5), np.float64("nan"),
    np.bool_(True), np.str_("s"), np.bytes_(b"s"), np.datetime64("2024-01-01"), np.datetime64("2024-01-01T00:00:00.000001"),
    np.datetime64("2024-01-01T00:00:00.000000001"), np.datetime64("NaT"), pd.NaT, pd.NA, pd.Timestamp(5), pd.Timestamp("2024-01-01"),
    pd.Timestamp("2024-01-01", tz="Europe/Paris"), [], [1], [None], (1, 2), {"a": 1}, {"a": None}, {"b": 1}, {1: 2}, {"a": b"b"},
    {True: 1}, [float("nan")], {"a": float("nan")}, range(2), np.array([1, 2]), object(), int, None, {1}, 1j, timedelta(1),
]  # fmt: skip

COLUMNS = [
    *["TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "BOOLEAN", "STRING", "BINARY", "DATE", "TIMESTAMP", "TIMESTAMP_NTZ", "VARIANT"],
    "VARCHAR(10)", "CHAR(3)", "DECIMAL(5,2)", "DECIMAL(38,10)", "DECIMAL(3,3)", "DECIMAL(4,0)", "ARRAY<INT>", "ARRAY<TIMESTAMP>",
    "MAP<STRING, INT>", "MAP<INT, DOUBLE>", "STRUCT<a: INT>", "STRUCT<a: DOUBLE NOT NULL>", "MAP<BOOLEAN, STRING>",
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("null", ["", " NOT NULL"])
@pytest.mark.parametrize("column", COLUMNS)
def test_the_fast_path_takes_an_odd_value_exactly_if_the_walk_does(way: str, null: str, column: str) -> None:
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t (a {column}{null})")
    encoder = encoder_of(schema, way)
    for value in ODD:
        assert encoded(encoder, [{"a": value}]) == walked(encoder, [{"a": value}]), repr(value)


@pytest.mark.parametrize("way", WAYS)
@given(data=st.data())
@QUICK
def test_a_column_of_mixed_values_is_judged_value_by_value(way: str, data: st.DataObject) -> None:
    column = data.draw(st.sampled_from(COLUMNS))
    encoder = encoder_of(TableSchema.from_sql(f"CREATE TABLE main.default.t (a {column})"), way)
    rows = [{"a": value} for value in data.draw(st.lists(st.sampled_from(ODD), min_size=1, max_size=6))]
    assert encoded(encoder, rows) == walked(encoder, rows)


def test_bad_rows_are_handed_over_in_order_whatever_the_size_of_a_block() -> None:
    encoder = encoder_of(
        TableSchema(table="main.default.t", columns=(Field("a", PrimitiveType(Kind.INT)),)), "protobuf"
    )
    rows: list[Any] = [{"a": "x" if index % 700 == 699 else index} for index in range(5_000)]
    bad: list[BadRow] = []
    batches = list(encoder.encode(Chunk(100, rows), on_bad_row=bad.append))
    assert [row.row for row in bad] == [100 + index for index in range(699, 5_000, 700)]
    assert sum(batch.rows for batch in batches) + len(bad) == 5_000
    assert [encoder.decode(batch, 0)["a"] + 100 for batch in batches] == [batch.first_row for batch in batches]


def test_nothing_of_the_callers_rows_is_changed() -> None:
    kinds = (Field("t", PrimitiveType(Kind.TIMESTAMP)), Field("n", ArrayType(PrimitiveType(Kind.DATE)), True, 1))
    rows = [{"t": datetime(2024, 1, 1), "n": [date(2024, 1, 1)]}, {"n": [date(2024, 1, 1)]}]
    before = repr(rows)
    for record_format in FORMATS:
        list(encoder_of(TableSchema(table="main.default.t", columns=kinds), record_format).encode(Chunk(0, rows)))
    assert repr(rows) == before
