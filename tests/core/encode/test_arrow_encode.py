"""Arrow data on its way to the wire: the same rows, the same refusals, as row by row."""

from __future__ import annotations

import contextlib
import struct
from datetime import UTC, date, datetime, time
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any
from uuid import UUID

import orjson
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fast import examples
from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import BadRow, Batch, Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.encode.arrow.encoder import ArrowEncoder
from zerobus_core.encode.arrow.variant import check_variant, encoded_variant
from zerobus_core.encode.values.json_input import parsed_json
from zerobus_core.errors import RecordError, SchemaError
from zerobus_core.records import UnfitError

FORMATS: list[Any] = ["arrow", "protobuf", "json"]


def schema_of(**columns: str) -> TableSchema:
    """A table whose columns are given as SQL; a type that ends in ! is NOT NULL."""
    return TableSchema.from_table_info(
        {
            "full_name": "main.default.t",
            "table_type": "MANAGED",
            "data_source_format": "DELTA",
            "columns": [
                {"name": name, "type_text": text.rstrip("!"), "nullable": not text.endswith("!"), "position": position}
                for position, (name, text) in enumerate(columns.items())
            ],
        }
    )


def batch_of(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({n: v if isinstance(v, pa.Array) else pa.array(v) for n, v in columns.items()})


def plain(value: Any) -> Any:
    """Wire values in one spelling: protobuf's JSON writes 64-bit numbers as text and leaves empty lists out."""
    if isinstance(value, dict):
        return {k: p for k, v in value.items() if (p := plain(v)) not in (None, [], {})}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def encoded(schema: TableSchema, batch: pa.RecordBatch, record_format: Any = "arrow", **options: Any) -> list[Batch]:
    encoder = encoder_for(schema, IngestOptions(record_format=record_format, **options), is_arrow=True)
    return list(encoder.encode(Chunk(0, batch)))


def column(schema: TableSchema, batch: pa.RecordBatch, name: str = "x", **options: Any) -> list[Any]:
    payloads = [out.payload for out in encoded(schema, batch, **options)]
    return pa.Table.from_batches(payloads).column(name).to_pylist()


MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901)


@pytest.mark.parametrize(
    ("kind", "array", "expected"),
    [
        ("TINYINT", pa.array([-128, None, 127], pa.int64()), [-128, None, 127]),
        ("INT", pa.array([1.0, float("nan"), None]), [1, None, None]),
        ("BIGINT", pa.array([Decimal("5.00")]), [5]),
        ("INT", pa.array([7], pa.uint64()), [7]),
        ("DOUBLE", pa.array([1, 2], pa.int32()), [1.0, 2.0]),
        ("DOUBLE", pa.array([0.5], pa.float32()), [0.5]),
        ("FLOAT", pa.array([0.1, float("inf")], pa.float64()), [pytest.approx(0.1), float("inf")]),
        ("STRING", pa.array(["é", None]), ["é", None]),
        ("STRING", pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        ("STRING", pa.array(["a"], pa.string_view()), ["a"]),
        ("VARCHAR(2)", pa.array(["éé"]), ["éé"]),
        ("BINARY", pa.array([b"\x00"], pa.binary(1)), [b"\x00"]),
        ("DATE", pa.array([date(2026, 1, 2)]), [date(2026, 1, 2)]),
        ("DATE", pa.array([datetime(2026, 1, 2)], pa.timestamp("ns")), [date(2026, 1, 2)]),
        ("DATE", pa.array([20_000], pa.int64()), [date(2024, 10, 4)]),
        ("TIMESTAMP", pa.array([MOMENT], pa.timestamp("ns")), [MOMENT.replace(tzinfo=UTC)]),
        ("TIMESTAMP", pa.array([MOMENT], pa.timestamp("us", "Europe/Berlin")), [MOMENT.replace(tzinfo=UTC)]),
        ("TIMESTAMP", pa.array([1_000_000]), [datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)]),
        ("TIMESTAMP_NTZ", pa.array([MOMENT], pa.timestamp("us")), [MOMENT]),
        ("DECIMAL(10,2)", pa.array([Decimal("1.5"), None]), ["1.50", None]),
        ("DECIMAL(38,20)", pa.array([Decimal("1e-20")], pa.decimal128(38, 20)), ["0.00000000000000000001"]),
        ("DECIMAL(10,2)", pa.array([3]), ["3.00"]),
        ("DECIMAL(38,0)", pa.array([2**63], pa.uint64()), [str(2**63)]),
        ("BOOLEAN", pa.array([True, None]), [True, None]),
        ("INT", pa.nulls(2), [None, None]),
        ("ARRAY<INT>", pa.array([[1, None], None, []], pa.large_list(pa.int64())), [[1, None], None, []]),
        ("ARRAY<DATE>", pa.array([[date(1970, 1, 2)]]), [[date(1970, 1, 2)]]),
        (
            "MAP<STRING, INT>",
            pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
            [[("a", 1)], None, []],
        ),
        ("MAP<STRING, INT>", pa.array([[{"key": "a", "value": 1}], None]), [[("a", 1)], None]),
        ("STRUCT<a: INT, b: STRING>", pa.array([{"b": "x"}, None]), [{"a": None, "b": "x"}, None]),
    ],
)
def test_columns_are_cast_to_the_tables_types_without_loss(kind: str, array: pa.Array, expected: list[Any]) -> None:
    schema = schema_of(x=kind)
    assert column(schema, batch_of(x=array)) == expected
    # A slice has offsets of its own, and what comes before it must not shine through.
    padded = pa.concat_arrays([pa.array([None] * 3, array.type), array]) if array.type != pa.null() else array
    if len(padded) > len(array):
        assert column(schema, batch_of(x=padded).slice(3)) == expected


@pytest.mark.parametrize(
    ("kind", "array", "reason"),
    [
        ("TINYINT", pa.array([1, 2, 300]), "out of range, which is -128 to 127"),
        ("INT", pa.array([1.0, 2.0, 2.5]), "has a fraction"),
        ("INT", pa.array(["1", "2", "3"]), "text is not parsed"),
        ("INT", pa.array([True]), "a boolean is not a number"),
        ("BIGINT", pa.array([1, 1, 2**63], pa.uint64()), "out of range"),
        ("DOUBLE", pa.array([1, 1, 2**53 + 1]), "cannot hold this whole number exactly"),
        ("DOUBLE", pa.array([Decimal("1.5")]), "a Decimal is not rounded to a float automatically"),
        ("FLOAT", pa.array([1.0, 1.0, 1e300]), "too large for 32 bits"),
        ("STRING", pa.array([1]), "not text"),
        ("STRING", pa.array([b"a"]), "not text: pass value.decode"),
        ("VARCHAR(2)", pa.array(["a", "b", "abc"]), "longer than 2 characters"),
        ("BINARY", pa.array(["a"]), "text is not encoded automatically"),
        ("DATE", pa.array([datetime(2026, 1, 1), datetime(2026, 1, 1), datetime(2026, 1, 1, 1)]), "has a time"),
        ("DATE", pa.array([0, 0, 10**7]), "not a day number"),
        ("TIMESTAMP", pa.array([0, 0, 1], pa.timestamp("ns")), "has nanoseconds"),
        ("TIMESTAMP", pa.array([0, 0, 10**18]), "is it nanoseconds"),
        ("TIMESTAMP", pa.array([date(2026, 1, 1)]), "a date has no time"),
        ("TIMESTAMP_NTZ", pa.array([0], pa.timestamp("us", "UTC")), "has a time zone"),
        ("DECIMAL(4,2)", pa.array([Decimal("1.00"), Decimal("1.00"), Decimal("100.00")]), "more than 2 digits before"),
        ("DECIMAL(4,2)", pa.array([Decimal("1.000"), Decimal("1.000"), Decimal("1.001")]), "more than 2 digits after"),
        ("DECIMAL(4,2)", pa.array([0.5]), "a float is not exact"),
        ("ARRAY<INT>", pa.array([[1], [2], [3, 2**40]]), "out of range"),
        ("STRUCT<a: INT>", pa.array([{"b": 1}]), "the table has no such field"),
        ("STRUCT<a: INT NOT NULL>", pa.array([{"a": 1}, {"a": 2}, {"a": None}]), "null in a NOT NULL column"),
        ("MAP<STRING, INT>", pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int32())), "appears twice"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_row_and_reason(kind: str, array: pa.Array, reason: str) -> None:
    schema = schema_of(ok="INT", x=kind)
    batch = batch_of(ok=list(range(len(array))), x=array)
    with pytest.raises(RecordError, match=reason) as caught:
        encoded(schema, batch)
    if len(array) == 3 and "text" not in reason:
        assert [field.row for field in caught.value.fields] == [2]
    bad: list[BadRow] = []
    encoder = encoder_for(schema, IngestOptions(record_format="arrow"), is_arrow=True)
    good = list(encoder.encode(Chunk(100, batch), on_bad_row=bad.append))
    assert {row.row for row in bad} == {field.row + 100 for field in caught.value.fields}
    assert sum(out.rows for out in good) + len(bad) == len(array)
    assert all(row.record == batch.slice(row.row - 100, 1).to_pylist()[0] for row in bad)


@pytest.mark.parametrize(
    ("array", "shown"),
    [
        (pa.array([0, 1_000, 1], pa.time64("ns")), "00:00:00.000000001"),
        (pa.array([[0], None, [0, 1]], pa.list_(pa.time64("ns"))), [time(0), "00:00:00.000000001"]),
    ],
    ids=["time", "list"],
)
def test_a_time_of_day_with_nanoseconds_is_a_bad_row_that_keeps_them(array: pa.Array, shown: Any) -> None:
    schema = schema_of(ok="INT", x="VARIANT")
    batch = batch_of(ok=[0, 1, 2], x=array)
    with pytest.raises(RecordError, match="the time of day has nanoseconds") as caught:
        encoded(schema, batch)
    assert [field.row for field in caught.value.fields] == [2]
    bad: list[BadRow] = []
    encoder = encoder_for(schema, IngestOptions(record_format="arrow"), is_arrow=True)
    good = list(encoder.encode(Chunk(100, batch), on_bad_row=bad.append))
    assert sum(out.rows for out in good) == 2
    assert [(row.row, row.record) for row in bad] == [(102, {"ok": 2, "x": shown})]


def test_a_bad_row_splits_its_batch_and_the_others_keep_their_positions() -> None:
    bad: list[BadRow] = []
    encoder = encoder_for(schema_of(x="TINYINT!"), IngestOptions(batch_rows=4), is_arrow=True)
    values = pa.array([0, 1, 2, 999, 4, 5, 6, 7, 8, 9, None, 11])
    batches = list(encoder.encode(Chunk(50, batch_of(x=values)), on_bad_row=bad.append))
    assert [(b.first_row, b.payload.column(0).to_pylist()) for b in batches] == [  # type: ignore[union-attr]
        (50, [0, 1, 2]),
        (54, [4, 5, 6, 7]),
        (58, [8, 9]),
        (61, [11]),
    ]
    assert [(row.row, row.fields[0].reason) for row in bad] == [
        (53, "out of range, which is -128 to 127"),
        (60, "null in a NOT NULL column"),
    ]


@pytest.mark.parametrize("record_format", FORMATS)
@settings(max_examples=examples(40), deadline=None)
@given(rows=st.integers(1, 60), unfit=st.sets(st.integers(0, 59)), batch_rows=st.integers(1, 9))
def test_every_row_is_in_one_batch_or_bad_wherever_the_bad_ones_are(
    record_format: Any, rows: int, unfit: set[int], batch_rows: int
) -> None:
    encoder = encoder_for(
        schema_of(x="INT"), IngestOptions(batch_rows=batch_rows, record_format=record_format), is_arrow=True
    )
    bad: list[BadRow] = []
    sent: dict[int, Any] = {}
    chunks = [Chunk(100, batch_of(x=[2**40 if i in unfit else i for i in range(rows)])), Chunk(900, batch_of(x=[7]))]
    for chunk in chunks:
        start = 0
        while start < len(chunk.rows):
            block = chunk.part(start, encoder.block_rows)
            for batch in encoder.encode(block, on_bad_row=bad.append):
                assert batch.rows <= batch_rows
                sent |= {batch.first_row + i: encoder.decode(batch, i)["x"] for i in range(batch.rows)}
            start += len(block.rows)
    assert [row.row for row in bad] == [100 + i for i in sorted(unfit) if i < rows]
    assert sent == {100 + i: i for i in range(rows) if i not in unfit} | {900: 7}


def test_all_bad_fields_of_a_row_are_reported() -> None:
    with pytest.raises(RecordError) as caught:
        encoded(schema_of(a="TINYINT", b="STRING!"), batch_of(a=[1, 300], b=["x", None]))
    assert [(field.row, field.path) for field in caught.value.fields] == [(1, "a"), (1, "b")]


def test_columns_that_do_not_fit_are_all_named_at_once() -> None:
    with pytest.raises(SchemaError) as caught:
        encoded(schema_of(id="INT!", name="STRING"), batch_of(nam=["x"], colour=["red"]))
    assert "the table has no column nam (did you mean name?)" in str(caught.value)
    assert "the table has no column colour" in str(caught.value)
    assert "column id is missing, but it is NOT NULL in the table" in str(caught.value)


def test_a_missing_nullable_column_is_null_in_every_format() -> None:
    schema = schema_of(id="INT", other="ARRAY<STRING>", name="STRING")
    assert column(schema, batch_of(id=[1]), "name") == [None]
    for record_format in FORMATS:
        (out,) = encoded(schema, batch_of(id=[1]), record_format)
        encoder = encoder_for(schema, IngestOptions(record_format=record_format), is_arrow=True)
        assert plain(encoder.decode(out, 0)) == {"id": 1}


def test_batches_are_cut_by_rows_and_by_the_bytes_of_their_slices() -> None:
    schema = schema_of(x="STRING")
    sizes = [b.rows for b in encoded(schema, batch_of(x=["a"] * 10), batch_rows=4)]
    assert sizes == [4, 4, 2]
    batches = encoded(schema, batch_of(x=["a" * 1_000] * 64), batch_bytes=10_000)
    assert sum(b.rows for b in batches) == 64
    assert all(b.nbytes <= 10_000 for b in batches)
    assert max(b.rows for b in batches) == 8
    assert [b.first_row for b in batches] == [sum(b.rows for b in batches[:i]) for i in range(len(batches))]


@pytest.mark.parametrize("record_format", FORMATS)
def test_a_row_that_is_too_large_for_the_wire_is_refused_before_anything_is_sent(record_format: str) -> None:
    batch = batch_of(x=["small", "x" * 11_000_000, "small"])
    with pytest.raises(RecordError, match=r"row 1.*bytes on the wire"):
        encoded(schema_of(x="STRING"), batch, record_format)


@pytest.mark.parametrize("record_format", FORMATS)
@pytest.mark.parametrize("is_arrow", [True, False])
def test_delivery_columns_are_filled_with_id_and_position(record_format: Any, is_arrow: bool) -> None:
    schema = schema_of(x="INT", d="STRING", n="BIGINT")
    options = IngestOptions(
        record_format=record_format, delivery_columns={"delivery_id": "d", "row_number": "n"}, batch_rows=2
    )
    encoder = encoder_for(schema, options, is_arrow=is_arrow, delivery_id="abc")
    rows: Any = batch_of(x=[1, 2, 3]) if is_arrow else [{"x": 1}, {"x": 2}, {"x": 3}]
    out = [encoder.decode(b, i) for b in encoder.encode(Chunk(7, rows)) for i in range(b.rows)]
    assert [(row["x"], row["d"], int(row["n"])) for row in out] == [(1, "abc", 7), (2, "abc", 8), (3, "abc", 9)]


ALL_TYPES = {
    "i8": "TINYINT", "i16": "SMALLINT", "i32": "INT", "i64": "BIGINT!", "f": "FLOAT", "d": "DOUBLE", "b": "BOOLEAN",
    "s": "STRING!", "vc": "VARCHAR(10)", "bin": "BINARY", "day": "DATE", "ts": "TIMESTAMP", "ntz": "TIMESTAMP_NTZ",
    "dec": "DECIMAL(20,6)", "var": "VARIANT", "arr": "ARRAY<STRUCT<a: INT, b: ARRAY<STRING>>>",
    "st": "STRUCT<x: INT NOT NULL, y: STRUCT<z: DATE>>",
}  # fmt: skip
WITH_MAP = {**ALL_TYPES, "m": "MAP<STRING, TIMESTAMP>", "ms": "MAP<INT, STRUCT<a: DECIMAL(5,2)>>"}

moments = st.datetimes()
rows_of_all_types = st.fixed_dictionaries(
    {
        "i64": st.integers(-(2**63), 2**63 - 1),
        "s": st.text(),
    },
    optional={
        "i8": st.none() | st.integers(-128, 127),
        "i16": st.none() | st.integers(-(2**15), 2**15 - 1),
        "i32": st.none() | st.integers(-(2**31), 2**31 - 1),
        "f": st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False),
        "d": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "b": st.none() | st.booleans(),
        "vc": st.none() | st.text(max_size=10),
        "bin": st.none() | st.binary(),
        "day": st.none() | st.dates(),
        "ts": st.none() | moments,
        "ntz": st.none() | moments,
        "dec": st.none() | st.decimals(places=6, min_value=-(10**13), max_value=10**13),
        "var": st.none() | st.text(),
        "arr": st.none()
        | st.lists(
            st.fixed_dictionaries({"a": st.none() | st.integers(0, 5), "b": st.none() | st.lists(st.text(max_size=2))}),
            max_size=3,
        ),
        "st": st.none()
        | st.fixed_dictionaries(
            {"x": st.integers(0, 9), "y": st.none() | st.fixed_dictionaries({"z": st.none() | st.dates()})}
        ),
        "m": st.none() | st.dictionaries(st.text(max_size=3), moments, max_size=3),
        "ms": st.none()
        | st.dictionaries(
            st.integers(0, 99),
            st.fixed_dictionaries({"a": st.none() | st.decimals(places=2, min_value=-999, max_value=999)}),
            max_size=3,
        ),
    },
)
ARROW_TYPES = {
    "i8": pa.int64(), "i16": pa.int16(), "i32": pa.int64(), "i64": pa.int64(), "f": pa.float64(), "d": pa.float64(),
    "b": pa.bool_(), "s": pa.string(), "vc": pa.large_string(), "bin": pa.binary(), "day": pa.date32(),
    "ts": pa.timestamp("us", "UTC"), "ntz": pa.timestamp("us"), "dec": pa.decimal128(38, 10), "var": pa.string(),
    "arr": pa.large_list(pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))])),
    "st": pa.struct([("x", pa.int64()), ("y", pa.struct([("z", pa.date32())]))]),
    "m": pa.map_(pa.string(), pa.timestamp("us")),
    "ms": pa.map_(pa.int64(), pa.struct([("a", pa.decimal128(10, 4))])),
}  # fmt: skip


def wire(schema: TableSchema, rows: Any, record_format: Any, *, is_arrow: bool) -> list[Any]:
    encoder = encoder_for(schema, IngestOptions(record_format=record_format), is_arrow=is_arrow)
    return [plain(encoder.decode(out, i)) for out in encoder.encode(Chunk(0, rows)) for i in range(out.rows)]


def same(one: Any, other: Any) -> bool:
    """Equal but for how a decimal is written."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if one == other:
        return True
    return isinstance(one, str) and isinstance(other, str) and Decimal(one) == Decimal(other)


@pytest.mark.parametrize("columns", [ALL_TYPES, WITH_MAP], ids=["by ptars", "by protobuf"])
@given(rows=st.lists(rows_of_all_types, min_size=1, max_size=8))
@settings(max_examples=examples(60), deadline=None)
def test_arrow_data_becomes_the_records_that_its_rows_become(columns: dict[str, str], rows: list[Any]) -> None:
    schema = schema_of(**columns)
    rows = [{name: value for name, value in row.items() if name in columns} for row in rows]
    batch = pa.RecordBatch.from_pylist(rows, schema=pa.schema([(name, ARROW_TYPES[name]) for name in columns]))
    for record_format in ("protobuf", "json"):
        got, expected = (wire(schema, data, record_format, is_arrow=data is batch) for data in (batch, rows))
        assert all(map(same, got, expected)), (got, expected)


@given(rows=st.lists(rows_of_all_types, min_size=1, max_size=8))
@settings(max_examples=examples(60), deadline=None)
def test_rows_and_arrow_data_become_the_same_arrow_batch(rows: list[Any]) -> None:
    schema = schema_of(**WITH_MAP)
    batch = pa.RecordBatch.from_pylist(rows, schema=pa.schema([(name, ARROW_TYPES[name]) for name in WITH_MAP]))
    options = IngestOptions(record_format="arrow")
    (from_arrow,) = encoder_for(schema, options, is_arrow=True).encode(Chunk(0, batch))
    (from_rows,) = encoder_for(schema, options, is_arrow=False).encode(Chunk(0, rows))
    assert from_arrow.payload.schema.equals(from_rows.payload.schema)  # type: ignore[union-attr]
    from_arrow.payload.validate(full=True)  # type: ignore[union-attr]
    from_rows.payload.validate(full=True)  # type: ignore[union-attr]
    pairs = zip(from_arrow.payload.to_pylist(), from_rows.payload.to_pylist(), strict=True)  # type: ignore[union-attr]
    assert all(same(plain(one), plain(other)) for one, other in pairs)


def test_rows_that_do_not_fit_an_arrow_stream_are_named_like_any() -> None:
    encoder = ArrowEncoder(schema_of(x="TINYINT"), IngestOptions(), is_arrow=False)
    bad: list[BadRow] = []
    rows = [{"x": 1}, {"x": 300}, {"y": 1}, {"x": None}]
    batches = list(encoder.encode(Chunk(0, rows), on_bad_row=bad.append))
    assert [(b.first_row, b.rows) for b in batches] == [(0, 1), (3, 1)]
    assert [(row.row, row.record) for row in bad] == [(1, {"x": 300}), (2, {"y": 1})]
    with pytest.raises(RecordError, match="row 1, field x: out of range"):
        list(encoder.encode(Chunk(0, rows)))


@pytest.mark.parametrize(
    ("kind", "cells", "expected"),
    [
        ("INT", ["1", "+2", "517.0", " 3 ", "NA", "", None], [1, 2, 517, 3, None, None, None]),
        ("INT", ["1000", "517.0"], [1000, 517]),
        ("DOUBLE", ["1.5", "1e3", "NaN", "NULL"], [1.5, 1000.0, pytest.approx(float("nan"), nan_ok=True), None]),
        ("FLOAT", ["0.5"], [0.5]),
        ("BOOLEAN", ["true", "False", "NA"], [True, False, None]),
        ("STRING", ["NA", "", " x "], ["NA", "", " x "]),
        ("DATE", ["2026-01-02", "NA"], [date(2026, 1, 2), None]),
        ("DATE", ["20260102"], [date(2026, 1, 2)]),
        (
            "TIMESTAMP",
            ["2026-01-02T03:04:05Z", "2026-01-02 03:04:05", "2026-01-02T05:04:05+02:00", "NA"],
            [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)] * 3 + [None],
        ),
        ("TIMESTAMP_NTZ", ["2026-01-02 03:04:05.678901"], [datetime(2026, 1, 2, 3, 4, 5, 678901)]),
        ("DECIMAL(10,2)", ["1.5", "1e2", "-3", "N/A"], ["1.50", "100.00", "-3.00", None]),
    ],
)
def test_text_is_parsed_where_the_user_asked_for_it(kind: str, cells: list[Any], expected: list[Any]) -> None:
    batch = batch_of(x=pa.array(cells, pa.string()))
    assert column(schema_of(x=kind), batch, parse_text=True) == expected


@pytest.mark.parametrize(
    ("kind", "cell", "reason"),
    [
        ("INT", "1.5", "the text is not a whole number"),
        ("INT", "0x10", "the text is not a whole number"),
        ("TINYINT", "300", "out of range"),
        ("DOUBLE", "abc", "the text is not a number"),
        ("FLOAT", "1e300", "too large for 32 bits"),
        ("BOOLEAN", "yes", "neither true nor false"),
        ("DATE", "02.01.2026", "not ISO 8601"),
        ("TIMESTAMP_NTZ", "2026-01-02T03:04:05Z", "has a time zone"),
        ("DECIMAL(4,2)", "1.001", "more than 2 digits after"),
        ("DECIMAL(4,2)", "100", "more than 2 digits before"),
    ],
)
def test_text_that_cannot_be_parsed_is_named(kind: str, cell: str, reason: str) -> None:
    with pytest.raises(RecordError, match=f"row 1, field x: .*{reason}"):
        column(schema_of(x=kind), batch_of(x=pa.array([None, cell], pa.string())), parse_text=True)


@pytest.mark.skipif(not hasattr(pa, "uuid"), reason="this pyarrow has no UUID type")
def test_a_uuid_becomes_its_text() -> None:
    value = UUID("12345678-1234-5678-1234-567812345678")
    assert column(schema_of(x="STRING"), batch_of(x=pa.array([value.bytes], pa.uuid()))) == [str(value)]


def test_a_null_inside_an_array_is_refused_by_protobuf_only() -> None:
    batch = batch_of(x=pa.array([[1], [None]]))
    assert column(schema_of(x="ARRAY<INT>"), batch) == [[1], [None]]
    with pytest.raises(RecordError, match=r"row 1, field x\[0\]: protobuf cannot carry a null"):
        encoded(schema_of(x="ARRAY<INT>"), batch, "protobuf")


def test_a_null_inside_a_late_array_is_refused_too() -> None:
    """ptars would write it as 0, and only the first rows are compared with protobuf's own words."""
    batch = batch_of(x=pa.array([[1]] * 1_000 + [[1, None]]))
    with pytest.raises(RecordError, match=r"row 1000, field x\[1\]"):
        encoded(schema_of(x="ARRAY<INT>"), batch, "protobuf")


def variant_value(metadata: bytes, value: bytes) -> Any:
    """A reader of the encoding, written from the specification and not from the writer.  Needs 38 digits of context."""
    width = (metadata[0] >> 6) + 1
    number = lambda data, at, size: int.from_bytes(data[at : at + size], "little")  # noqa: E731
    count = number(metadata, 1, width)
    ends = [number(metadata, 1 + width * (1 + i), width) for i in range(count + 1)]
    base = 1 + width * (count + 2)
    names = [metadata[base + a : base + b].decode() for a, b in pairwise(ends)]

    def read(data: bytes) -> Any:
        basic, header = data[0] & 3, data[0] >> 2
        if basic == 1:
            return data[1 : 1 + header].decode()
        if basic == 0:
            if header in (3, 4, 5, 6):
                return int.from_bytes(data[1 : 1 + 2 ** (header - 3)], "little", signed=True)
            if header == 7:
                return struct.unpack("<d", data[1:9])[0]
            if header in (0, 1, 2, 16):
                return (None, True, False)[header] if header < 16 else data[5 : 5 + number(data, 1, 4)].decode()
            unscaled = int.from_bytes(data[2 : 2 + {8: 4, 9: 8, 10: 16}[header]], "little", signed=True)
            return Decimal(unscaled) / 10 ** data[1]
        offset_size = (header & 3) + 1
        id_size = ((header >> 2) & 3) + 1 if basic == 2 else 0
        size = 4 if header >> (4 if basic == 2 else 2) & 1 else 1
        n = number(data, 1, size)
        at = 1 + size
        keys = [names[number(data, at + i * id_size, id_size)] for i in range(n)] if id_size else []
        at += n * id_size
        offsets = [number(data, at + i * offset_size, offset_size) for i in range(n + 1)]
        at += (n + 1) * offset_size
        values = [read(data[at + offsets[i] : at + offsets[i + 1]]) for i in range(n)]
        return dict(zip(keys, values, strict=True)) if basic == 2 else values

    return read(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=70), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@given(json_values)
@settings(max_examples=examples(200), deadline=None)
def test_a_variant_read_back_by_the_specification_is_the_value(value: Any) -> None:
    assert variant_value(*encoded_variant(orjson.dumps(value).decode())) == value


@pytest.mark.parametrize("value", [["x"] * 300, {f"k{i}": i for i in range(300)}, "x" * 70_000, {"a": "y" * 300}])
def test_a_large_variant_is_read_back_too(value: Any) -> None:
    assert variant_value(*encoded_variant(orjson.dumps(value).decode())) == value


def test_variants_inside_other_types_are_encoded_in_place() -> None:
    schema = schema_of(x="STRUCT<v: ARRAY<VARIANT>, m: MAP<STRING, VARIANT>>")
    encoder = ArrowEncoder(schema, IngestOptions(), is_arrow=False)
    rows = [{"x": {"v": [1, None, {"a": "b"}], "m": {"k": [True]}}}, {"x": None}, {"x": {"v": []}}]
    (batch,) = encoder.encode(Chunk(0, rows))
    batch.payload.validate(full=True)  # type: ignore[union-attr]
    got = batch.payload.column(0).to_pylist()  # type: ignore[union-attr]
    cells = got[0]["x"]["v"] if "x" in got[0] else got[0]["v"]
    assert [None if c is None else variant_value(**c) for c in cells] == [1, None, {"a": "b"}]
    assert [(k, variant_value(**v)) for k, v in got[0]["m"]] == [("k", [True])]
    assert got[1:] == [None, {"v": [], "m": None}]


NULL_VALUES = [[{"key": "a", "value": None}], None, [{"key": "b", "value": None}, {"key": "c", "value": None}]]
NULL_PAIR = pa.struct([("key", pa.string()), ("value", pa.null())])


@pytest.mark.parametrize("start", [0, 1, 2])
@pytest.mark.parametrize(
    "array",
    [
        pa.array(NULL_VALUES, pa.list_(NULL_PAIR)),
        pa.array(NULL_VALUES, pa.large_list(NULL_PAIR)),
        pa.array([[("a", None)], None, [("b", None), ("c", None)]], pa.map_(pa.string(), pa.null())),
    ],
    ids=["list of pairs", "large list of pairs", "map"],
)
def test_a_map_whose_values_have_no_type_is_read_from_any_slice(array: pa.Array, start: int) -> None:
    """pyarrow's cast of such a slice makes an array that aborts the process when it is read."""
    batch = pa.RecordBatch.from_arrays([array], ["x"]).slice(start)
    expected = [[("a", None)], None, [("b", None), ("c", None)]]
    assert column(schema_of(x="MAP<STRING, INT>"), batch) == expected[start:]


def test_a_map_of_list_views_of_nothing_is_read_from_any_slice() -> None:
    array = pa.array([[("a", [None])], [("b", []), ("c", None)]], pa.map_(pa.string(), pa.list_view(pa.null())))
    batch = pa.RecordBatch.from_arrays([array], ["x"]).slice(1)
    assert column(schema_of(x="MAP<STRING, ARRAY<INT>>"), batch) == [[("b", []), ("c", None)]]


@pytest.mark.parametrize(
    ("kind", "array"),
    [
        ("STRUCT<m: MAP<STRING, INT>, n: TINYINT>", pa.array([{"m": [{"key": "a", "value": 1}], "n": 300}])),
        ("ARRAY<MAP<STRING, TINYINT>>", pa.array([[[{"key": "a", "value": 300}]]])),
        ("MAP<STRING, MAP<STRING, TINYINT>>", pa.array([[{"key": "a", "value": [{"key": "b", "value": 300}]}]])),
    ],
)
def test_only_what_is_wrong_is_said_of_a_map_kept_as_pairs_below_another_type(kind: str, array: pa.Array) -> None:
    with pytest.raises(RecordError, match="out of range, which is -128 to 127") as caught:
        column(schema_of(x=kind), batch_of(x=array))
    assert len(caught.value.fields) == 1


def test_an_instant_of_9999_in_utc_is_taken_from_a_zone_where_it_is_10000_already() -> None:
    """Also by the walk over single values, which a VARIANT in the same row asks for."""
    zoned = pa.array([253_402_300_799_000_000], pa.timestamp("us", "Asia/Tokyo"))
    array = pa.StructArray.from_arrays([zoned, pa.array(["x"])], ["at", "doc"])
    (row,) = column(schema_of(x="STRUCT<at: TIMESTAMP, doc: VARIANT>"), batch_of(x=array))
    assert row["at"] == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_a_source_with_other_columns_is_refused_without_a_word_on_what_was_sent() -> None:
    """A batch with other columns may come after many that were acknowledged."""
    with pytest.raises(SchemaError) as caught:
        encoded(schema_of(x="INT"), batch_of(y=[1]))
    assert "sent" not in str(caught.value)


LONG_NUMBERS = [
    "12345678901234567890.25",
    "0.12345678901234567890123",
    "-0.123456789012345678",
    "1234567.12345678901234567",
    "-99999999999999999999999999999999999999",
    "9223372036854775808",
    "18446744073709551615",
    "0." + "0" * 20 + "123456789012345678",
]


@pytest.mark.parametrize("number", LONG_NUMBERS)
def test_a_variant_in_arrow_keeps_every_digit_of_a_number(number: str) -> None:
    schema = schema_of(x="VARIANT")
    encoder = encoder_for(schema, IngestOptions(record_format="arrow"), is_arrow=False)
    (batch,) = encoder.encode(Chunk(0, [{"x": {"n": Decimal(number)}}]))
    (cell,) = batch.payload.column("x").to_pylist()
    with localcontext(prec=38):
        assert variant_value(**cell) == {"n": Decimal(number)}
    assert encoder.decode(batch, 0) == {"x": f'{{"n":{number}}}'}


def test_a_column_of_unsigned_numbers_keeps_every_digit_in_a_variant() -> None:
    (cell,) = column(schema_of(x="VARIANT"), batch_of(x=pa.array([2**64 - 1], pa.uint64())))
    assert variant_value(**cell) == 2**64 - 1


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12) | st.integers(-(10**38), 10**38))
@settings(max_examples=examples(200), deadline=None)
@example(10**38)
@example(-(10**38) + 1)
def test_a_number_in_a_variant_is_read_back_exactly_or_refused(number: Any) -> None:
    text = format(Decimal(number), "f")
    try:
        cell = encoded_variant(text)
    except UnfitError:
        assert len(text.strip("-0.")) > 38
        return
    with localcontext(prec=50):
        found = variant_value(*cell)
        assert Decimal(repr(found) if isinstance(found, float) else found) == Decimal(number)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Decimal("1234567890123456789012345678901234567890.5"), "more than 38 digits"),
        (Decimal("0.1" + "0" * 38 + "1"), "more than 38 digits"),
        (Decimal("1E+400"), "not JSON text"),
        (orjson.Fragment("[" * 101 + "0.12345678901234567890" + "]" * 101), "nested deeper than 100 levels"),
        (orjson.Fragment("[" * 900 + "]" * 900), "nested deeper than 100 levels"),
        (orjson.Fragment("{bad"), "not JSON text"),
    ],
    ids=["too long", "too fine", "too large", "deep, with a long number", "very deep", "no JSON"],
)
def test_a_variant_that_arrow_cannot_carry_is_a_bad_row(value: Any, reason: str) -> None:
    encoder = encoder_for(schema_of(x="ARRAY<VARIANT>"), IngestOptions(record_format="arrow"), is_arrow=False)
    bad: list[BadRow] = []
    (batch,) = encoder.encode(Chunk(0, [{"x": [1]}, {"x": [value]}]), on_bad_row=bad.append)
    assert (batch.rows, [row.row for row in bad]) == (1, [1])
    assert reason in bad[0].fields[0].reason


@pytest.mark.parametrize(
    ("keys", "reason"), [([1.0, float("nan")], "a key cannot be null"), ([0.0, -0.0], "the key appears twice")]
)
def test_keys_that_are_floats_are_judged_in_columns_as_they_are_in_values(keys: list[float], reason: str) -> None:
    array = pa.array([[(key, 1) for key in keys]], pa.map_(pa.float64(), pa.int32()))
    with pytest.raises(RecordError, match=reason):
        column(schema_of(x="MAP<DOUBLE, INT>"), batch_of(x=array))


def test_a_time_beyond_all_years_beside_values_without_a_type_is_a_bad_row_in_any_slice() -> None:
    """pyarrow's view of such a slice is broken as its cast is."""
    pair = pa.struct([("key", pa.timestamp("us", "Asia/Tokyo")), ("value", pa.list_(NULL_PAIR))])
    inner = [{"key": "a", "value": None}, {"key": "b", "value": None}]
    rows = [[{"key": 1, "value": inner}], None, [{"key": 2, "value": inner[:1]}, {"key": 2**62, "value": inner}]]
    batch = pa.RecordBatch.from_arrays([pa.array(rows, pa.list_(pair))], ["x"])
    for start in range(3):
        with pytest.raises(RecordError, match="cannot be read"):
            column(schema_of(x="MAP<TIMESTAMP, MAP<STRING, INT>>"), batch.slice(start))


def not_utf8(*values: bytes | None) -> pa.Array:
    """Text whose bytes nobody has looked at, as files and other languages may hand it over."""
    return pa.array(values, pa.binary()).view(pa.string())


@pytest.mark.parametrize("record_format", FORMATS)
@pytest.mark.parametrize(
    ("kind", "make", "shown"),
    [
        ("STRING", lambda array: array, b"a\xff"),
        ("VARCHAR(10)", lambda array: array.dictionary_encode(), b"a\xff"),
        ("ARRAY<STRING>", lambda array: pa.ListArray.from_arrays([0, 1, 2, 3], array), [b"a\xff"]),
        ("STRUCT<s: STRING>", lambda array: pa.StructArray.from_arrays([array], ["s"]), {"s": b"a\xff"}),
        ("MAP<STRING, STRING>", lambda a: pa.MapArray.from_arrays([0, 1, 2, 3], a, a), [(b"a\xff", b"a\xff")]),
        ("VARIANT", lambda array: array, b"a\xff"),
        ("INT", lambda array: array, b"a\xff"),
    ],
)  # fmt: skip
def test_text_that_is_no_utf8_is_a_bad_row(record_format: Any, kind: str, make: Any, shown: Any) -> None:
    schema = schema_of(x=kind)
    batch = pa.record_batch({"x": make(not_utf8(b"1", b"a\xff", b"2"))})
    with pytest.raises(RecordError, match=r"row 1, field x.*byte 0xff at position . is not UTF-8.*a\\+xff"):
        encoded(schema, batch, record_format, parse_text=True)
    bad: list[BadRow] = []
    encoder = encoder_for(schema, IngestOptions(record_format=record_format, parse_text=True), is_arrow=True)
    good = list(encoder.encode(Chunk(0, batch), on_bad_row=bad.append))
    assert [(out.first_row, out.rows) for out in good] == [(0, 1), (2, 1)]
    assert [(row.row, repr(row.record)) for row in bad] == [(1, repr({"x": shown}))]


@pytest.mark.parametrize("kind", ["BIGINT", "STRUCT<`left`: BIGINT, `right`: BIGINT>", "ARRAY<BIGINT>"])
def test_periods_and_intervals_of_pandas_are_refused_wherever_they_are(kind: str) -> None:
    values = pd.period_range("2026", periods=2, freq="Y")
    intervals = pd.interval_range(0, 2)
    period, interval = pa.array(values), pa.array(intervals)
    batches = [
        pa.record_batch({"x": period}),
        pa.record_batch({"x": interval}),
        pa.record_batch({"x": pa.ListArray.from_arrays([0, 1, 2], period)}),
        pa.record_batch({"x": pa.StructArray.from_arrays([period], ["left"])}),
        pa.record_batch(
            [period.storage],
            schema=pa.schema([pa.field("x", pa.int64(), metadata={"ARROW:extension:name": "pandas.period"})]),
        ),
    ]
    with contextlib.suppress(pa.ArrowInvalid):  # older libraries make no Arrow data of it
        batches.append(pa.record_batch({"x": pa.array(pd.Categorical(values))}))
    for batch in batches:
        with pytest.raises(SchemaError, match="column x holds pandas' (periods|intervals)"):
            encoded(schema_of(x=kind), batch)


@pytest.mark.parametrize("record_format", FORMATS)
@pytest.mark.parametrize("kind", ["STRING", "VARIANT", "TIMESTAMP_NTZ", "DATE", "BIGINT"])
@pytest.mark.parametrize("shape", ["flat", "dictionary", "list", "struct"])
def test_times_in_an_unknown_time_zone_are_bad_fields_that_name_it(shape: str, kind: str, record_format: Any) -> None:
    times = pa.array([0, None], pa.int64()).view(pa.timestamp("us", "Nowhere/X"))
    shapes: dict[str, Any] = {
        "flat": times,
        "dictionary": times.dictionary_encode(),
        "list": pa.ListArray.from_arrays(pa.array([0, 1, 1], pa.int32()), times),
        "struct": pa.StructArray.from_arrays([times], ["x"]),
    }
    column = {"list": f"ARRAY<{kind}>", "struct": f"STRUCT<x: {kind}>"}.get(shape, kind)
    bad: list[BadRow] = []
    encoder = encoder_for(schema_of(v=column), IngestOptions(record_format=record_format), is_arrow=True)
    batches = list(encoder.encode(Chunk(0, batch_of(v=shapes[shape])), on_bad_row=bad.append))
    assert [(row.row, row.fields[0].path) for row in bad] == [(0, "v")]
    assert "the time zone 'Nowhere/X' is unknown" in bad[0].fields[0].reason
    assert "1970-01-01 00:00:00+00:00" in str(bad[0].record)
    assert sum(batch.rows for batch in batches) == 1  # NULL has no time zone


@pytest.mark.parametrize("record_format", FORMATS)
def test_a_timestamp_needs_no_known_time_zone(record_format: Any) -> None:
    times = pa.array([0, 1], pa.int64()).view(pa.timestamp("us", "Nowhere/X"))
    encoder = encoder_for(schema_of(v="TIMESTAMP!"), IngestOptions(record_format=record_format), is_arrow=True)
    (batch,) = encoder.encode(Chunk(0, batch_of(v=times)))
    assert [int(encoder.decode(batch, index)["v"]) for index in range(batch.rows)] == [0, 1]


@pytest.mark.parametrize("numeral", ["1e-2000000", "1e-400", "1e1000000", "1.5e999999999", "1e9999999999999999999"])
def test_a_number_beyond_the_digits_of_an_arrow_variant_is_refused(numeral: str) -> None:
    for check in (check_variant, encoded_variant):
        with pytest.raises(UnfitError, match="more than 38 digits"):
            check(f"[{numeral}]")


@pytest.mark.parametrize("is_arrow", [True, False])
@pytest.mark.parametrize("record_format", FORMATS)
def test_a_tiny_number_of_json_text_stays_as_it_is_or_is_refused(record_format: Any, is_arrow: bool) -> None:
    options = IngestOptions(record_format=record_format, parse_json=True)
    encoder = encoder_for(schema_of(v="VARIANT"), options, is_arrow=is_arrow)
    chunk = Chunk(0, batch_of(v=["-1e-2000000"]) if is_arrow else [{"v": "-1e-2000000"}])
    if record_format == "arrow":
        with pytest.raises(RecordError, match="row 0, field v: .*more than 38 digits"):
            list(encoder.encode(chunk))
    else:
        (batch,) = encoder.encode(chunk)
        assert encoder.decode(batch, 0)["v"] == "-1e-2000000"


def test_a_decimal_context_that_traps_nothing_changes_no_refusal() -> None:
    with localcontext() as context:
        context.clear_traps()
        with pytest.raises(UnfitError):
            check_variant("1e9999999999999999999")
        with pytest.raises(UnfitError):
            parsed_json("1e9999999999999999999")
