"""One table of what each column takes: the same in a column, a STRUCT, an ARRAY, a MAP and inside of a VARIANT."""

from __future__ import annotations

import datetime as dt
import json
import math
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pendulum
import pyarrow as pa
import pytest
from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2

from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.errors import RecordError
from zerobus_core.schema.types import ArrayType, Field, Kind, MapType, PrimitiveType, StringType, StructType

FORMATS = ["protobuf", "json"]
ALL_FORMATS = [*FORMATS, "arrow"]


class Own(dt.datetime):
    pass


class OwnDay(dt.date):
    pass


class OwnId(uuid.UUID):
    pass


def decoded(columns: str, rows: Any, record_format: Any = "protobuf", **options: Any) -> list[Any]:
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t ({columns})")
    is_arrow = isinstance(rows, pa.RecordBatch)
    encoder = encoder_for(schema, IngestOptions(record_format=record_format, **options), is_arrow=is_arrow)
    return [encoder.decode(batch, index) for batch in encoder.encode(Chunk(0, rows)) for index in range(batch.rows)]


def refusal(columns: str, rows: Any, **options: Any) -> str:
    with pytest.raises(RecordError) as caught:
        decoded(columns, rows, **options)
    return str(caught.value)


VARIANTS: list[tuple[Any, str]] = [
    (dt.datetime(2024, 1, 1), '"2024-01-01T00:00:00"'),
    (Own(2024, 1, 1, microsecond=5), '"2024-01-01T00:00:00.000005"'),
    (pd.Timestamp("2024-01-01", tz="UTC"), '"2024-01-01T00:00:00+00:00"'),
    (pd.Timestamp("2024-01-01T00:00:00.000000001"), '"2024-01-01T00:00:00.000000001"'),
    (pendulum.datetime(2024, 1, 1), '"2024-01-01T00:00:00+00:00"'),
    (pendulum.date(2024, 1, 1), '"2024-01-01"'),
    (OwnDay(2024, 1, 1), '"2024-01-01"'),
    (dt.time(0, 0, 0, 10_000), '"00:00:00.010000"'),
    (dt.time(0, 0, 0, 5), '"00:00:00.000005"'),
    (dt.time(1, 2, 3), '"01:02:03"'),
    (pd.NaT, "null"),
    (pd.NA, "null"),
    (np.datetime64("NaT"), "null"),
    (np.datetime64("2024-01-01T00:00:00.000000001", "ns"), '"2024-01-01T00:00:00.000000001"'),
    (np.datetime64("2024-01-01T00:00:00", "ns"), '"2024-01-01T00:00:00"'),
    (np.array(["2024-01-01T00:00:00.5"], "M8[ns]"), '["2024-01-01T00:00:00.500000"]'),
    (np.datetime64(-274_877_906_944, "s"), '"-6741-06-19T17:50:56"'),
    (np.array([1, 2, 3])[::2], "[1,3]"),
    (np.array([0.1, 1.5], ">f4"), "[0.1,1.5]"),
    (np.float32(0.1), "0.1"),
    (np.array(["a"]), '["a"]'),
    (OwnId(int=1), '"00000000-0000-0000-0000-000000000001"'),
    (2**70, "1180591620717411303424"),
    (-(2**70), "-1180591620717411303424"),
    (Decimal("1E-30"), "0.000000000000000000000000000001"),
    (timestamp_pb2.Timestamp(seconds=1, nanos=5000), '"1970-01-01T00:00:01.000005+00:00"'),
    (wrappers_pb2.StringValue(value="x"), '"x"'),
    (struct_pb2.ListValue(values=[struct_pb2.Value(null_value=0), struct_pb2.Value(bool_value=True)]), "[null,true]"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), VARIANTS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("record_format", FORMATS)
def test_a_variant_takes_what_its_columns_take(value: Any, text: str, record_format: str) -> None:
    (row,) = decoded("v VARIANT", [{"v": {"a": value, "b": [value]}}], record_format)
    assert row["v"] == f'{{"a":{text},"b":[{text}]}}'


@pytest.mark.parametrize(
    "value", [Decimal("NaN"), float("inf"), {1}, object(), dt.timedelta(1), np.timedelta64(1, "s")]
)
def test_a_variant_refuses_what_has_no_json_form(value: Any) -> None:
    assert "JSON" in refusal("v VARIANT", [{"v": [value]}])


def test_arrow_times_inside_of_a_variant_keep_their_digits() -> None:
    for nanoseconds, text in ((0, '"2024-01-01T00:00:00"'), (1, '"2024-01-01T00:00:00.000000001"')):
        array = pa.array([{"a": 1704067200000000000 + nanoseconds}], pa.struct([("a", pa.timestamp("ns"))]))
        (row,) = decoded("v VARIANT", pa.record_batch({"v": array}), "json")
        assert row["v"] == f'{{"a":{text}}}'


MIDNIGHT = ["2024-01-01 00:00:00", "2024-01-01T00:00", "2024-01-01 00:00:00.0000000", " 2024-01-01T00:00:00.000 "]


@pytest.mark.parametrize("text", MIDNIGHT)
def test_a_date_takes_text_of_midnight_in_rows_and_in_arrow(text: str) -> None:
    for rows in ([{"d": text}], pa.record_batch({"d": [text]})):
        assert decoded("d DATE", rows, "json", parse_text=True) == [{"d": 19723}]
    assert decoded("a ARRAY<DATE>", [{"a": [text]}], parse_text=True) == [{"a": [19723]}]


@pytest.mark.parametrize("text", ["2024-01-01 05:00:00", "2024-01-01T00:00:00Z", "2024-01-01 00:00:00+01:00"])
def test_a_date_refuses_a_time_of_day_for_what_it_is(text: str) -> None:
    for rows in ([{"d": text}], pa.record_batch({"d": [text]})):
        assert "time of day or a time zone" in refusal("d DATE", rows, parse_text=True)


WELL_KNOWN: list[tuple[str, Any, Any]] = [
    ("TIMESTAMP", timestamp_pb2.Timestamp(seconds=5, nanos=1000), 5_000_001),
    ("BIGINT", wrappers_pb2.Int64Value(value=5), 5),
    ("BOOLEAN", wrappers_pb2.BoolValue(value=True), True),
    ("DOUBLE", wrappers_pb2.DoubleValue(value=0.5), 0.5),
    ("STRING", wrappers_pb2.StringValue(value="x"), "x"),
    ("STRING", struct_pb2.Value(string_value="x"), "x"),
]


@pytest.mark.parametrize(("kind", "value", "right"), WELL_KNOWN)
def test_protobufs_well_known_messages_stand_for_their_values_everywhere(kind: str, value: Any, right: Any) -> None:
    row = {"c": value, "s": {"c": value}, "a": [value], "m": {"k": value}}
    columns = f"c {kind}, s STRUCT<c: {kind}>, a ARRAY<{kind}>, m MAP<STRING, {kind}>"
    assert decoded(columns, [row]) == [{"c": right, "s": {"c": right}, "a": [right], "m": {"k": right}}]


def test_a_struct_of_protobuf_fills_a_struct_a_map_and_a_variant() -> None:
    value = struct_pb2.Struct()
    value.update({"a": 1, "b": 2})
    row = {"s": value, "m": value, "v": value}
    (out,) = decoded("s STRUCT<a: BIGINT, b: BIGINT>, m MAP<STRING, DOUBLE>, v VARIANT", [row])
    assert (out["s"], out["m"]) == ({"a": 1, "b": 2}, {"a": 1.0, "b": 2.0})
    assert json.loads(out["v"]) == {"a": 1, "b": 2}


def test_well_known_messages_that_no_column_can_hold_exactly_are_refused() -> None:
    assert "has nanoseconds" in refusal("t TIMESTAMP", [{"t": timestamp_pb2.Timestamp(nanos=1)}])
    assert "field d" in refusal("d BIGINT", [{"d": duration_pb2.Duration(seconds=1)}])
    assert "cannot be read" in refusal("t TIMESTAMP", [{"t": timestamp_pb2.Timestamp(seconds=2**60)}])


@pytest.mark.parametrize("value", [{"a": True}, ["a"], ("a",), struct_pb2.Struct()])
def test_the_hint_for_objects_in_a_text_column_writes_json(value: Any) -> None:
    for columns, row in (("c STRING", {"c": value}), ("s STRUCT<c: STRING>", {"s": {"c": value}})):
        message = refusal(columns, [row])
        assert "pass json.dumps(value), or set write_json=True" in message
        assert "str(value)" not in message
    assert "pass str(value)" in refusal("c STRING", [{"c": dt.time(1, 2)}])


SECONDS, MILLISECONDS, MICROSECONDS = 1_700_000_000, 1_700_000_000_000, 1_700_000_000_000_000
MOMENT_KINDS = ["TIMESTAMP", "TIMESTAMP_NTZ"]


@pytest.mark.parametrize("kind", MOMENT_KINDS)
@pytest.mark.parametrize(("number", "unit"), [(SECONDS, "s"), (MILLISECONDS, "ms"), (10**8, "s"), (10**13 - 1, "ms")])
def test_numbers_that_look_like_another_unit_are_refused_by_a_name(kind: str, number: int, unit: str) -> None:
    for rows in ([{"t": number}], pa.record_batch({"t": [number]})):
        message = refusal(f"t {kind}", rows)
        assert "when read as microseconds since 1970" in message
        assert f'set epoch_unit="{unit}"' in message
    assert "epoch_unit" in refusal(f"a ARRAY<{kind}>", [{"a": [0, number]}])


@pytest.mark.parametrize("kind", MOMENT_KINDS)
@pytest.mark.parametrize(
    ("number", "unit", "right"),
    [
        (SECONDS, "s", MICROSECONDS), (MILLISECONDS, "ms", MICROSECONDS), (SECONDS, "us", SECONDS),
        (MICROSECONDS, None, MICROSECONDS), (MICROSECONDS * 1000, "ns", MICROSECONDS), (99_999_999, None, 99_999_999),
        (10**13, None, 10**13), (0, "s", 0), (5, "ms", 5_000), (-5, "s", -5_000_000),
    ],
)  # fmt: skip
def test_numbers_count_the_unit_that_is_named(kind: str, number: int, unit: str | None, right: int) -> None:
    for rows in ([{"t": number, "a": [number]}], pa.record_batch({"t": [number], "a": [[number]]})):
        (row,) = decoded(f"t {kind}, a ARRAY<{kind}>", rows, "json", epoch_unit=unit)
        assert (int(row["t"]), [int(each) for each in row["a"]]) == (right, [right])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_unit_says_nothing_about_datetimes(unit: str) -> None:
    at = dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)
    for rows in ([{"t": at}], [{"t": np.datetime64("2023-11-14T22:13:20")}], pa.record_batch({"t": [at]})):
        (row,) = decoded("t TIMESTAMP", rows, "json", epoch_unit=unit)
        assert int(row["t"]) == MICROSECONDS


def test_numbers_beyond_the_years_of_a_timestamp_are_refused_in_every_unit() -> None:
    for unit, number in (("s", 10**12), ("ms", 10**15), ("us", 10**18), ("ns", 5)):
        for rows in ([{"t": number}], pa.record_batch({"t": [number]})):
            assert "row 0, field t" in refusal("t TIMESTAMP", rows, epoch_unit=unit)


JSON_COLUMNS = (
    "v VARIANT, a ARRAY<DOUBLE>, m MAP<STRING, DECIMAL(9,3)>, s STRUCT<d: DATE, n: BIGINT, x: STRUCT<y: STRING>>"
)
JSON_TEXT = {
    "v": '{"a": 1.50, "b": 12345678901234567890123}',
    "a": "[0.1, 2, 1e3]",
    "m": '{"k": 19.990}',
    "s": '{"d": "2024-01-01", "n": 9007199254740993, "x": {"y": "z"}}',
}


@pytest.mark.parametrize("record_format", FORMATS)
@pytest.mark.parametrize("as_arrow", [False, True])
def test_json_text_is_parsed_if_that_is_asked_for(record_format: str, as_arrow: bool) -> None:
    rows: Any = pa.RecordBatch.from_pylist([JSON_TEXT]) if as_arrow else [JSON_TEXT]
    (row,) = decoded(JSON_COLUMNS, rows, record_format, parse_json=True, parse_text=True)
    assert json.loads(row["v"], parse_float=Decimal) == {"a": Decimal("1.50"), "b": 12345678901234567890123}
    assert row["a"] == [0.1, 2.0, 1000.0]
    assert Decimal(row["m"]["k"]) == Decimal("19.990")
    assert row["s"] == {"d": 19723, "n": 9007199254740993, "x": {"y": "z"}}


@pytest.mark.parametrize("text", ["[1", "[NaN]", '[{"a": 1, "a": 2}]', "nonsense", "[" * 100_000])
def test_text_that_is_not_json_or_can_be_read_in_two_ways_is_refused(text: str) -> None:
    for columns in ("c ARRAY<VARIANT>", "c ARRAY<STRUCT<a: BIGINT>>"):
        assert "row 0, field c" in refusal(columns, [{"c": text}], record_format="json", parse_json=True)


def test_json_text_is_a_string_value_or_refused_unless_it_is_asked_for() -> None:
    (row,) = decoded("v VARIANT", [{"v": "[1]"}])
    assert json.loads(row["v"]) == "[1]"
    assert "field a" in refusal("a ARRAY<BIGINT>", [{"a": "[1]"}])
    assert decoded("a ARRAY<BIGINT>", [{"a": "null"}], "json", parse_json=True)[0].get("a") is None


NO_VALUES = [
    np.float16("nan"), np.float32("nan"), np.float64("nan"), np.longdouble("nan"), float("nan"),
    np.timedelta64("NaT"), np.datetime64("NaT"), pd.NaT, pd.NA,
]  # fmt: skip


@pytest.mark.parametrize("record_format", ALL_FORMATS)
@pytest.mark.parametrize("value", NO_VALUES, ids=lambda value: f"{type(value).__name__} {value}")
def test_a_missing_value_of_numpy_or_pandas_is_null(value: Any, record_format: str) -> None:
    for kind in ("BIGINT", "DECIMAL(9,2)", "STRING", "BOOLEAN", "DATE", "TIMESTAMP", "VARIANT", "BINARY", "ARRAY<INT>"):
        (row,) = decoded(f"c {kind}", [{"c": value}], record_format)
        assert row.get("c") is None
        assert "null in a NOT NULL column" in refusal(f"c {kind} NOT NULL", [{"c": value}], record_format=record_format)


@pytest.mark.parametrize("value", [np.float16("nan"), np.float32("nan"), np.float64("nan"), float("nan")])
@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE"])
def test_nan_is_a_value_of_floating_point_columns(kind: str, value: Any) -> None:
    (row,) = decoded(f"c {kind} NOT NULL", [{"c": value}], "arrow")
    assert math.isnan(row["c"])


@pytest.mark.parametrize("record_format", ALL_FORMATS)
@pytest.mark.parametrize("kind", ["DECIMAL(9,2)", "BIGINT", "DOUBLE", "STRING", "VARIANT"])
def test_a_decimal_that_is_nan_is_refused_and_never_null(kind: str, record_format: str) -> None:
    assert "row 0, field c" in refusal(f"c {kind}", [{"c": Decimal("NaN")}], record_format=record_format)


@pytest.mark.parametrize("record_format", ALL_FORMATS)
@pytest.mark.parametrize("as_arrow", [False, True])
@pytest.mark.parametrize(
    ("columns", "field", "reason"),
    [
        ("c STRUCT<x: INT> NOT NULL", "c", "null in a NOT NULL column"),
        ("c ARRAY<INT> NOT NULL", "c", "null in a NOT NULL column"),
        ("c MAP<STRING, INT> NOT NULL", "c", "null in a NOT NULL column"),
        ("c STRUCT<s: STRUCT<x: INT> NOT NULL>", "c.s", "null in a NOT NULL column"),
    ],
)
def test_null_in_json_text_is_refused_as_none_is(
    columns: str, field: str, reason: str, as_arrow: bool, record_format: str
) -> None:
    value: Any = {"s": " null\n"} if field == "c.s" else " null\n"
    rows: Any = [{"c": value}]
    if as_arrow:
        rows = pa.RecordBatch.from_pylist(rows)
    found = refusal(columns, rows, record_format=record_format, parse_json=True)
    assert f"row 0, field {field}" in found
    assert reason in found


@pytest.mark.parametrize("record_format", ALL_FORMATS)
@pytest.mark.parametrize(("value", "path"), [(["null"], "c[0]"), ({"k": "null"}, "c['k']")])
def test_null_in_json_text_is_refused_where_no_null_may_be_inside(value: Any, path: str, record_format: Any) -> None:
    element = StructType((Field("x", PrimitiveType(Kind.INT)),))
    kind = (
        ArrayType(element, contains_null=False)
        if isinstance(value, list)
        else MapType(StringType(), element, value_contains_null=False)
    )
    schema = TableSchema(table="main.default.t", columns=(Field("c", kind),))
    encoder = encoder_for(schema, IngestOptions(record_format=record_format, parse_json=True), is_arrow=False)
    with pytest.raises(RecordError) as caught:
        list(encoder.encode(Chunk(0, [{"c": value}])))
    assert f"row 0, field {path}" in str(caught.value)
    assert "cannot be null" in str(caught.value)


@pytest.mark.parametrize("record_format", ALL_FORMATS)
@pytest.mark.parametrize("as_arrow", [False, True])
def test_a_json_number_beyond_every_exponent_is_a_bad_field(record_format: Any, as_arrow: bool) -> None:
    for kind in ("ARRAY<DOUBLE>", "MAP<STRING, DECIMAL(9,3)>", "STRUCT<k: INT>"):
        text = "[1e9999999999999999999]" if kind.startswith("ARRAY") else '{"k": 1e9999999999999999999}'
        rows: Any = pa.record_batch({"c": [text]}) if as_arrow else [{"c": text}]
        found = refusal(f"c {kind}", rows, record_format=record_format, parse_json=True)
        assert "row 0, field c:" in found
        assert "exponent" in found


@pytest.mark.parametrize("record_format", FORMATS)
def test_objects_are_written_into_text_columns_if_that_is_asked_for(record_format: str) -> None:
    row = {"c": {"b": True, "a": [1, Decimal("1.50")]}, "s": {"c": ["x"]}}
    for rows in ([row], pa.RecordBatch.from_pylist([row])):
        (out,) = decoded("c STRING, s STRUCT<c: STRING>", rows, record_format, write_json=True)
        assert json.loads(out["c"], parse_float=Decimal) == {"a": [1, Decimal("1.50")], "b": True} or as_decimals(out)
        assert json.loads(out["s"]["c"]) == ["x"]
    assert decoded("c STRING", [{"c": "text"}], record_format, write_json=True) == [{"c": "text"}]


def as_decimals(out: Any) -> bool:
    """Arrow has one type for the elements of a list, here DECIMAL."""
    return bool(json.loads(out["c"], parse_float=Decimal)["a"] == [Decimal(1), Decimal("1.50")])


@pytest.mark.parametrize("value", [np.timedelta64(5, "ns"), np.timedelta64(5, "s"), np.timedelta64(5)], ids=repr)
@pytest.mark.parametrize("kind", ["BIGINT", "DOUBLE", "DECIMAL(10,2)", "DATE", "TIMESTAMP", "STRING", "VARIANT"])
def test_a_duration_of_numpy_is_not_a_number(kind: str, value: Any) -> None:
    assert "row 0, field v" in refusal(f"v {kind}", [{"v": value}])
