"""Options that take values which are refused otherwise: the same in rows and Arrow, at the top and inside."""

from __future__ import annotations

import base64
import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.errors import RecordError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources.recognize import source_of

FORMATS = ["protobuf", "json", "arrow"]


def everywhere(kind: str) -> str:
    return f"c {kind}, s STRUCT<c: {kind}>, a ARRAY<{kind}>, m MAP<STRING, {kind}>"


def row_of(value: Any) -> dict[str, Any]:
    return {"c": value, "s": {"c": value}, "a": [value], "m": {"k": value}}


def arrow_of(value: Any) -> pa.RecordBatch:
    leaf = pa.array([value])
    kind = leaf.type
    entry = pa.map_(pa.string(), kind)
    return pa.record_batch(
        {
            "c": leaf,
            "s": pa.array([{"c": leaf[0].as_py()}], pa.struct([("c", kind)])),
            "a": pa.array([[leaf[0].as_py()]], pa.list_(kind)),
            "m": pa.array([[("k", leaf[0].as_py())]], entry),
        }
    )


def decoded(columns: str, rows: Any, record_format: Any, **options: Any) -> list[Any]:
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t ({columns})")
    is_arrow = isinstance(rows, pa.RecordBatch)
    encoder = encoder_for(schema, IngestOptions(record_format=record_format, **options), is_arrow=is_arrow)
    return [encoder.decode(batch, index) for batch in encoder.encode(Chunk(0, rows)) for index in range(batch.rows)]


def taken(kind: str, value: Any, **options: Any) -> list[Any]:
    """What becomes of the value in every place, as rows and as Arrow data, in every record format."""
    found = []
    for record_format in FORMATS:
        for rows in ([row_of(value)], arrow_of(value)):
            (row,) = decoded(everywhere(kind), rows, record_format, **options)
            found += [row["c"], row["s"]["c"], row["a"][0], row["m"]["k"]]
    return found


def refusals(kind: str, value: Any, **options: Any) -> list[str]:
    found = []
    for rows in ([row_of(value)], arrow_of(value)):
        with pytest.raises(RecordError) as caught:
            decoded(everywhere(kind), rows, "json", **options)
        message = str(caught.value)
        for path in ("c", "s.c", "a[0]", "m['k']"):
            assert f"row 0, field {path}:" in message
        found.append(message)
    return found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (19.99, "19.99"), (0.1, "0.10"), (0.125, "0.13"), (-0.125, "-0.13"), (2.675, "2.68"), (1e-9, "0"),
        (99999.994, "99999.99"), (3.0, "3.00"), (np.float32(0.5), "0.50"), (-0.0, "0"),
    ],
)  # fmt: skip
def test_floats_are_rounded_half_up_into_a_decimal_if_that_is_asked_for(value: Any, text: str) -> None:
    assert {Decimal(found) for found in taken("DECIMAL(7,2)", value, round_floats=True)} == {Decimal(text)}


def test_a_float_that_is_rounded_out_of_range_is_refused() -> None:
    for value in (99999.995, 1e300, float("inf")):
        for message in refusals("DECIMAL(7,2)", value, round_floats=True):
            assert "digits before the point" in message or "not a finite number" in message


def test_only_floats_are_rounded() -> None:
    for message in refusals("DECIMAL(7,2)", Decimal("0.125"), round_floats=True):
        assert "not rounded automatically" in message


def test_the_refusal_of_a_float_names_the_option() -> None:
    for message in refusals("DECIMAL(7,2)", 19.99):
        assert "or set round_floats=True" in message


DATA = bytes(range(256))


@pytest.mark.parametrize("text", [base64.b64encode(DATA).decode(), base64.encodebytes(DATA).decode(), ""])
def test_base64_text_is_decoded_into_binary_if_that_is_asked_for(text: str) -> None:
    data = base64.b64decode(text)
    found = {
        each if isinstance(each, bytes) else base64.b64decode(each) for each in taken("BINARY", text, parse_base64=True)
    }
    assert found == {data}


@pytest.mark.parametrize("text", ["abc", "a-_=", "YWJj ", "ä", "YQ"])
def test_text_that_is_not_base64_is_refused(text: str) -> None:
    for message in refusals("BINARY", text, parse_base64=True):
        assert "the text is not base64" in message


def test_the_refusal_of_text_for_binary_names_the_option() -> None:
    for message in refusals("BINARY", "YWJj"):
        assert "or set parse_base64=True if it is base64" in message


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, Decimal(1), np.int8(1)])
def test_zero_and_one_are_booleans_if_that_is_asked_for(value: Any) -> None:
    assert set(taken("BOOLEAN", value, numeric_booleans=True)) == {bool(value)}


@pytest.mark.parametrize(("text", "right"), [("1", True), ("0", False), ("1.0", True), ("true", True)])
def test_text_of_zero_and_one_is_a_boolean_if_both_are_asked_for(text: str, right: bool) -> None:
    assert set(taken("BOOLEAN", text, numeric_booleans=True, parse_text=True)) == {right}
    if text != "true":
        refusals("BOOLEAN", text, parse_text=True)


@pytest.mark.parametrize("value", [2, -1, 0.5, Decimal("1.5")])
def test_other_numbers_are_not_booleans(value: Any) -> None:
    for message in refusals("BOOLEAN", value, numeric_booleans=True):
        assert "neither 0 nor 1" in message


@pytest.mark.parametrize("value", [0, 1, 1.0])
def test_the_refusal_of_a_number_for_a_boolean_names_the_option(value: Any) -> None:
    for message in refusals("BOOLEAN", value):
        assert "numeric_booleans=True" in message


def test_a_number_of_seconds_is_shown_in_the_refusal() -> None:
    for message in refusals("TIMESTAMP", 1_700_000_000):
        assert "int 1700000000" in message
        assert "2023-11-14" in message
        assert 'epoch_unit="s"' in message


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 10**37, -(10**37)])
def test_a_variant_takes_whole_numbers_beyond_64_bits_from_rows_and_arrow(number: int) -> None:
    for record_format in FORMATS:
        kind = pa.uint64() if 0 < number < 2**64 else pa.decimal128(38, 0)
        value = number if kind == pa.uint64() else Decimal(number)
        for rows in (
            [{"v": {"a": [number]}}],
            pa.record_batch({"v": pa.array([{"a": [value]}], pa.struct([("a", pa.list_(kind))]))}),
        ):
            assert decoded("v VARIANT", rows, record_format) == [{"v": f'{{"a":[{number}]}}'}]


def test_a_number_of_any_size_is_json_but_not_an_arrow_variant() -> None:
    for number in (10**100 + 1, Decimal(10**60 + 1)):
        for record_format in ("protobuf", "json"):
            assert decoded("v VARIANT", [{"v": number}], record_format) == [{"v": format(Decimal(number), "f")}]
        with pytest.raises(RecordError, match="more than 38 digits"):
            decoded("v VARIANT", [{"v": number}], "arrow")


needs_variant = pytest.mark.skipif(duckdb.__version__ < "2", reason="this DuckDB gives no VARIANT to Arrow")
VARIANTS = [
    ("{'b': 1, 'a': [1.5, NULL, 3]}::VARIANT", '{"a":[1.5,null,3.0],"b":1}'),
    ("'x'::VARIANT", '"x"'),
    (f"'{'x' * 100}'::VARIANT", f'"{"x" * 100}"'),
    ("true::VARIANT", "true"),
    ("1e300::DOUBLE::VARIANT", "1e+300"),
    ("1.25::DECIMAL(9,2)::VARIANT", "1.25"),
    ("12345678901234567890.25::DECIMAL(30,2)::VARIANT", "12345678901234567890.25"),
    ("9223372036854775807::BIGINT::VARIANT", "9223372036854775807"),
    ("(-128)::TINYINT::VARIANT", "-128"),
    ("0.5::FLOAT::VARIANT", "0.5"),
    ("DATE '2020-01-01'::VARIANT", '"2020-01-01"'),
    ("TIMESTAMP '2020-01-01 01:02:03.5'::VARIANT", '"2020-01-01T01:02:03.500000"'),
    ("TIMESTAMPTZ '2020-01-01 01:02:03+00'::VARIANT", '"2020-01-01T01:02:03+00:00"'),
    ("TIME '01:02:03'::VARIANT", '"01:02:03"'),
    ("UUID '00000000-0000-0000-0000-000000000001'::VARIANT", '"00000000-0000-0000-0000-000000000001"'),
    ("range(300)::VARIANT", "[" + ",".join(map(str, range(300))) + "]"),
]  # fmt: skip


def of_duckdb(query: str, columns: str, record_format: Any, **options: Any) -> list[Any]:
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t ({columns})")
    chosen = IngestOptions(record_format=record_format, **options)
    with duckdb.connect() as connection:
        connection.execute("SET timezone = 'UTC'")
        source = source_of(connection.sql(query), chosen, schema)
        encoder = encoder_for(schema, chosen, is_arrow=source.is_arrow)
        return [
            encoder.decode(batch, index)
            for chunk in source.chunks(RowRanges())
            for batch in encoder.encode(chunk)
            for index in range(batch.rows)
        ]


@needs_variant
@pytest.mark.parametrize(("expression", "text"), VARIANTS)
def test_a_variant_of_duckdb_is_the_value_that_it_holds(expression: str, text: str) -> None:
    for record_format in FORMATS:
        assert of_duckdb(f"SELECT {expression} AS v", "v VARIANT", record_format) == [{"v": text}]
    (row,) = of_duckdb(
        f"SELECT [{expression}] AS a, {{'c': {expression}}} AS s", "a ARRAY<VARIANT>, s STRUCT<c: VARIANT>", "json"
    )
    assert (row["a"], row["s"]) == ([text], {"c": text})


@needs_variant
def test_a_variant_of_duckdb_fills_a_struct_and_text_if_that_is_asked_for() -> None:
    query = "SELECT {'n': 1, 'd': DATE '2020-01-01'}::VARIANT AS v"
    assert of_duckdb(query, "v STRUCT<n: BIGINT, d: DATE>", "protobuf") == [{"v": {"n": 1, "d": 18262}}]
    assert of_duckdb(query, "v STRING", "protobuf", write_json=True) == [{"v": '{"d":"2020-01-01","n":1}'}]
    with pytest.raises(RecordError, match="set write_json=True"):
        of_duckdb(query, "v STRING", "protobuf")


@needs_variant
def test_a_variant_that_json_cannot_hold_is_refused() -> None:
    for expression in ("'ab'::BLOB", "'NaN'::DOUBLE"):
        with pytest.raises(RecordError, match=r"row 0, field v: .*JSON"):
            of_duckdb(f"SELECT [{expression}]::VARIANT AS v", "v VARIANT", "json")


def variant_cell(cell: dict[str, bytes]) -> pa.RecordBatch:
    marked = pa.field(
        "v",
        pa.struct([pa.field(name, pa.binary()) for name in cell]),
        metadata={"ARROW:extension:name": "arrow.parquet.variant"},
    )
    return pa.RecordBatch.from_arrays([pa.array([cell], marked.type)], schema=pa.schema([marked]))


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ({"metadata": b"\x01\x00\x00", "value": b"\x0c\x05", "typed_value": b""}, "shredded"),
        ({"metadata": b"\x02\x00\x00", "value": b"\x0c\x05"}, "version 2"),
        ({"metadata": b"\x01\x00\x00", "value": b"\x14\x05"}, "ends too early"),
        ({"metadata": b"\x01\x00\x00", "value": b""}, "not a valid VARIANT"),
        ({"metadata": b"\x01\x00\x00", "value": b"\xfc"}, "type 63 is not supported"),
        ({"metadata": b"\x01\x00\x00", "value": b"\x02\x01\x00\x00\x01\x00"}, "not a valid VARIANT"),
    ],
)  # fmt: skip
def test_a_variant_that_cannot_be_read_is_refused(cell: dict[str, bytes], reason: str) -> None:
    with pytest.raises(RecordError, match=f"row 0, field v: .*{reason}"):
        decoded("v VARIANT", variant_cell(cell), "json")


def test_a_variant_with_nanoseconds_is_refused_and_microseconds_are_not() -> None:
    for kind, nanoseconds, text in (
        (18, 1_000, '"1970-01-01T00:00:00.000001+00:00"'),
        (19, 0, '"1970-01-01T00:00:00"'),
    ):
        value = bytes([kind << 2]) + nanoseconds.to_bytes(8, "little")
        assert decoded("v VARIANT", variant_cell({"metadata": b"\x01\x00\x00", "value": value}), "json") == [
            {"v": text}
        ]
    value = bytes([18 << 2]) + (1).to_bytes(8, "little")
    with pytest.raises(RecordError, match="nanoseconds"):
        decoded("v VARIANT", variant_cell({"metadata": b"\x01\x00\x00", "value": value}), "json")


def test_a_table_for_a_variant_of_arrow_has_a_variant() -> None:
    schema = TableSchema.from_arrow(variant_cell({"metadata": b"", "value": b""}).schema, "main.default.t")
    assert str(schema.columns[0].type) == "VARIANT"


@pytest.mark.parametrize("value", [b"x", dt.timedelta(1), {1}, object(), uuid])
def test_the_refusal_of_what_has_no_json_form_says_what_to_pass(value: Any) -> None:
    with pytest.raises(RecordError, match=r"row 0, field v: .*pass text"):
        decoded("v VARIANT", [{"v": [value]}], "json")
