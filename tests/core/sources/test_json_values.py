"""Numbers of JSON Lines reach the table as they were written, and a key that appears twice is reported."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fast import examples
from zerobus_core import IngestOptions, StreamManager, TableSchema, ingest
from zerobus_core.encode import encoder_for
from zerobus_core.errors import RecordError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_core.sources.files.formats.json_values import JsonValues
from zerobus_core.sources.files.source import files_source
from zerobus_local import LocalZerobus


def values_of(columns: str) -> JsonValues:
    return JsonValues(TableSchema.from_sql(f"CREATE TABLE main.default.t ({columns})").columns)


def exact(value: Any) -> Any:
    """Equal only for what is equal in value and in type."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    return list(map(exact, value)) if isinstance(value, list) else (type(value), value)


LONG = "0.12345678901234567890123"
READ: list[tuple[str, str, Any]] = [
    ("x DECIMAL(5,2)", "19.99", Decimal("19.99")),
    ("x DECIMAL(38,23)", LONG, Decimal(LONG)),
    ("x DECIMAL(38,0)", "12345678901234567890123", 12345678901234567890123),
    ("x BIGINT", "9007199254740993.0", Decimal("9007199254740993.0")),
    ("x BIGINT", "9.007199254740993e15", Decimal("9007199254740993")),
    ("x INT", "1.00000000000000000001", Decimal("1.00000000000000000001")),
    ("x INT", "7", 7),
    ("x DOUBLE", "19.99", 19.99),
    ("x DOUBLE", "1e23", 1e23),
    ("x DOUBLE", "12345678901234567890123", 12345678901234567890123),
    ("x DOUBLE, y DECIMAL(5,2)", "12345678901234567890123", 12345678901234567890123),
    ("x VARIANT", f'{{"a":[{LONG},1]}}', {"a": [Decimal(LONG), 1]}),
    ("x VARIANT", "12345678901234567890123", Decimal("12345678901234567890123")),
    ("x VARIANT", "[[12345678901234567890123]]", [[Decimal("12345678901234567890123")]]),
    ("x ARRAY<DECIMAL(5,2)>", "[19.99,1]", [Decimal("19.99"), 1]),
    ("x ARRAY<DOUBLE>", "[19.99,1]", [19.99, 1]),
    ("x MAP<STRING,BIGINT>", '{"a":9007199254740993.0}', {"a": Decimal("9007199254740993.0")}),
    ("x STRUCT<p:DECIMAL(5,2),d:DOUBLE>", '{"p":19.99,"d":19.99,"o":1}', {"p": Decimal("19.99"), "d": 19.99, "o": 1}),
    ("x STRING", "19.99", 19.99),
    ("X DECIMAL(38,23)", LONG, Decimal(LONG)),
    ("X BIGINT", "9007199254740993.0", Decimal("9007199254740993.0")),
    ("X VARIANT", f'{{"a":[{LONG},1]}}', {"a": [Decimal(LONG), 1]}),
    ("X VARIANT", "1180591620717411303425", Decimal(1180591620717411303425)),
    ("X DOUBLE", "1180591620717411303425", 1180591620717411303425),
    ("X DOUBLE", "19.99", 19.99),
    ("X MAP<STRING,BIGINT>", '{"a":9007199254740993.0}', {"a": Decimal("9007199254740993.0")}),
    ("x STRUCT<P:DECIMAL(5,2),V:VARIANT,D:DOUBLE>", '{"p":19.99,"v":12345678901234567890123,"d":19.99}',
     {"p": Decimal("19.99"), "v": Decimal("12345678901234567890123"), "d": 19.99}),
    ("x STRUCT<D:DOUBLE>", '{"d":12345678901234567890123}', {"d": 12345678901234567890123}),
    ("X ARRAY<STRUCT<S:STRUCT<P:DECIMAL(5,2)>>>", '[{"s":{"p":19.99}}]', [{"s": {"p": Decimal("19.99")}}]),
    ("x STRUCT<s:STRING>", f'{{"s":"a","o":{LONG}}}', {"s": "a", "o": Decimal(LONG)}),
    ("z INT", LONG, Decimal(LONG)),
    ("z INT", "1180591620717411303425", Decimal(1180591620717411303425)),
    ("z INT", f'{{"a":[{LONG},0.5]}}', {"a": [Decimal(LONG), 0.5]}),
    ("z INT", "9007199254740993e0", Decimal(9007199254740993)),
    ("z INT", "1E-400", Decimal("1E-400")),
    ("z INT", "123456789012345678901.5e-300", Decimal("123456789012345678901.5e-300")),
    ("z INT", "0.30000000000000004", 0.30000000000000004),
    ("z INT, y DECIMAL(5,2)", "0.30000000000000004", 0.30000000000000004),
    ("z INT, y DECIMAL(5,2)", "1.2500000000000000000", 1.25),
    ("z INT, y DECIMAL(5,2)", "-0.1", -0.1),
]  # fmt: skip


@pytest.mark.parametrize(("columns", "text", "value"), READ, ids=[f"{kind} {text}" for kind, text, _ in READ])
def test_a_number_is_what_was_written_where_the_column_can_tell(columns: str, text: str, value: Any) -> None:
    # Next to a number that makes the line read again, and alone.
    for also in ("", ',"y":1.5'):
        row = values_of(columns).row(f'{{"x":{text}{also}}}'.encode())
        assert exact(row["x"]) == exact(value)


@pytest.mark.parametrize("text", ["1e400", "-1e400", "1" + "0" * 400])
def test_a_number_beyond_any_double_is_no_infinity(
    text: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (x DOUBLE)")
    (tmp_path / "x.jsonl").write_text(f'{{"x":{text}}}\n')
    with pytest.raises(RecordError, match=r"row 0 \(line 1\), field x"):
        ingest(zerobus.workspace, table_name, tmp_path / "x.jsonl")
    row = JsonValues().row(f'{{"x":{text}}}'.encode())
    assert not isinstance(row["x"], float)


@pytest.mark.parametrize("depth", [300, 500, 900, 950, 990, 1_000, 1_020])
def test_a_deep_line_is_a_row_or_unreadable_and_does_not_end_the_file(depth: int) -> None:
    line = b'{"v":' + b"[" * depth + b"1.5" + b"]" * depth + b"}"
    row = values_of("v VARIANT").row(line)
    assert isinstance(row, dict) or type(row).__name__ == "UnreadableLine"
    assert isinstance(row, dict) or depth > 300
    shallow = b'{"v":1}'
    deep, other = values_of("v VARIANT").rows([line, shallow])
    assert (type(deep).__name__, other) == (type(row).__name__, {"v": 1})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
).map(lambda value: orjson.loads(orjson.dumps(value)))


@given(st.dictionaries(st.text(), JSON, max_size=5))
@settings(max_examples=examples(300), deadline=None)
def test_the_second_reading_gives_the_same_rows_as_the_first(row: dict[str, Any]) -> None:
    line = orjson.dumps(row)
    assert exact(JsonValues().row(line)) == exact(row)
    spaced = json.dumps(row, separators=(",", " : ")).encode()
    assert exact(JsonValues().row(spaced)) == exact(row)


KEYS_TWICE = [
    '{"a":1,"a":2}', '{"a" :1,"a":2}', '{"a":1,\t"a"\t:1}', '{"a":1,"\\u0061":2}', '{"b":{"a":1,"a":1}}',
    '{"b":[{"a":1},{"a":1,"a":2}]}', '{"c":"\\":","a":1,"a":2}',
]  # fmt: skip
KEYS_ONCE = ['{"a":"x\\":y","b":1}', '{"a" : 1, "b" : {"a" : 2}}', '{"a\\":b":1}', '{"a":{"a":{"a":[]}},"b":[{"a":1}]}']


@pytest.mark.parametrize("line", KEYS_TWICE)
def test_an_object_with_a_key_twice_is_an_unreadable_line(line: str) -> None:
    row = values_of("a INT").row(f"{line}\r\n".encode())
    assert (type(row).__name__, row) == ("LineWithKeyTwice", line)


@pytest.mark.parametrize("line", KEYS_ONCE)
def test_keys_of_several_objects_may_be_the_same(line: str) -> None:
    assert values_of("a VARIANT").row(line.encode()) == orjson.loads(line)


@pytest.mark.parametrize(
    "line",
    [b'{"a":', b"[" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b'{"a":1e99999999999999999999}',
     b'{"a":1e100000}', b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":"\xff"}', b'{"a":' + b"9" * 5_000 + b"}"],
)  # fmt: skip
def test_what_is_no_row_takes_its_place_as_a_row_that_no_table_takes(line: bytes) -> None:
    assert type(values_of("a VARIANT").row(line)).__name__ == "UnreadableLine"


LINES = (
    '{"id":1,"p":19.99,"b":9007199254740993.0,"d":19.99,"v":{"n":[1.5,"x"]}}\n'
    '{"id":2,"p":12345678901234567890123.45,"b":1e3,"d":1e22,"v":2.5}\n'
    '{"id":3,"v":12345678901234567890123}\n'
)
COLUMNS = "id INT, p DECIMAL(38,2), b BIGINT, d DOUBLE, v VARIANT"


@pytest.mark.parametrize("record_format", ["protobuf", "json", "arrow"])
def test_numbers_of_a_file_land_as_they_were_written(
    record_format: Any, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    (tmp_path / "x.jsonl").write_text(LINES)
    options = IngestOptions(record_format=record_format)
    zerobus.create_table(f"CREATE TABLE {table_name} ({COLUMNS})")
    ingest(zerobus.workspace, table_name, tmp_path / "x.jsonl", options=options)
    # A source that was built before its table was known also learns of it.
    given = files_source(str(tmp_path / "x.jsonl"), options, format="jsonl")
    with StreamManager(zerobus.workspace, table_name, options=options) as streams:
        streams.send(given)
    rows = zerobus.read(table_name).sort_by("id").to_pylist()
    assert [row["p"] for row in rows[::2]] == [Decimal("19.99"), Decimal("12345678901234567890123.45"), None]
    assert [row["b"] for row in rows[::2]] == [9007199254740993, 1000, None]
    assert [row["d"] for row in rows[::2]] == [19.99, 1e22, None]
    assert [json.loads(row["v"]) for row in rows[::2]][:2] == [{"n": [1.5, "x"]}, 2.5]
    # A VARIANT of Arrow holds it as a decimal, which the local server shows as text.
    assert rows[4]["v"].strip('"') == "12345678901234567890123"
    assert rows[::2] == rows[1::2]


def test_a_number_that_no_column_takes_and_a_key_twice_are_told_with_their_rows(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (i INT, p DECIMAL(5,2))")
    lines = ['{"i":1}', '{"i":1,"i":2}', '{"i":1.00000000000000000001}', '{"p":19.999}', '{"i":', "[1]"]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    with pytest.raises(RecordError) as caught:
        ingest(zerobus.workspace, table_name, tmp_path / "x.jsonl")
    fields = caught.value.fields
    assert [(field.row, field.value_type) for field in fields] == [
        (1, "LineWithKeyTwice"),
        (2, "Decimal"),
        (3, "Decimal"),
        (4, "UnreadableLine"),
        (5, "list"),
    ]
    assert fields[0].reason == "the line has one key twice in one object"
    assert "digits after the point" in fields[2].reason
    assert fields[3].reason == "the line cannot be read as JSON: expecting value at character 6"
    assert fields[4].reason.startswith("not a mapping")


def test_without_a_table_numbers_are_doubles(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"p" : 19.99, "q" : [1.5]}\n')
    (chunk,) = source_of(tmp_path / "x.jsonl", IngestOptions()).chunks(RowRanges())
    assert chunk.rows == [{"p": 19.99, "q": [1.5]}]
    assert isinstance(chunk.rows[0]["p"], float)
    assert math.isclose(chunk.rows[0]["p"], 19.99)


@pytest.mark.parametrize("kind", ["DOUBLE", "FLOAT", "ARRAY<DOUBLE>", "MAP<STRING, FLOAT>", "STRUCT<x: DOUBLE>"])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_whole_number_beyond_64_bits_stays_one_in_a_column_of_doubles(kind: str, rows: int, tmp_path: Path) -> None:
    """As a double it would be another number; the column takes it only if it can hold it."""
    form = {"A": "[%s]", "M": '{"k": %s}', "S": '{"x": %s}'}.get(kind[0], "%s")
    numbers = ["18446744073709551617", "-9223372036854775809", "1e300"]
    texts = [form % number for number in numbers[:rows]]
    (tmp_path / "x.jsonl").write_text("".join(f'{{"n": {text}}}\n' for text in texts))
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t (n {kind})")
    (chunk,) = source_of(tmp_path / "x.jsonl", IngestOptions(), schema).chunks(RowRanges())
    assert chunk.rows == [{"n": json.loads(text)} for text in texts]
    encoder = encoder_for(schema, IngestOptions(record_format="json"), is_arrow=False)
    with pytest.raises(RecordError, match="cannot hold this whole number exactly"):
        list(encoder.encode(chunk))


def test_a_renamed_column_keeps_the_digits_of_its_type(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"p": 0.12345678901234567890}\n')
    schema = TableSchema.from_sql("CREATE TABLE main.default.t (price DECIMAL(38,20))")
    source = source_of(tmp_path / "x.jsonl", IngestOptions(rename={"p": "price"}), schema)
    (chunk,) = source.chunks(RowRanges())
    assert chunk.rows == [{"price": Decimal("0.12345678901234567890")}]


@pytest.mark.parametrize("field", ["P", "v", "other", "s"])
def test_each_field_of_many_rows_keeps_its_digits_whatever_its_name(field: str) -> None:
    values = values_of("p DECIMAL(38, 23), V VARIANT, s STRUCT<p: DECIMAL(38, 23)>")
    text = f'{{"P": {LONG}}}' if field == "s" else LONG
    number = {"P": Decimal(LONG)} if field == "s" else Decimal(LONG)
    ordinary = [b'{"V": "x", "s": {"p": 1}}'] * 3
    for more in ([], [f'{{"o{i}": 0.5}}'.encode() for i in range(200)]):  # a few names of other fields, and many
        rows = values.rows([*ordinary, *more, f'{{"{field}": {text}}}'.encode(), *ordinary])
        assert exact(rows[-4]) == exact({field: number})
        assert exact(rows[3:-4]) == exact([orjson.loads(line) for line in more])


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@given(NUMBERS)
@settings(max_examples=examples(500), deadline=None)
def test_no_number_of_a_field_without_a_column_changes_its_value(text: str) -> None:
    values = values_of("z INT, p DECIMAL(5, 2)")
    written = Decimal(text)
    for line in (f'{{"x": {text}}}', f'{{"x": {text}, "p": 1.5}}'):
        (row,) = values.rows([line.encode()])
        if isinstance(row, dict):
            number = row["x"]
            assert Decimal(repr(number) if isinstance(number, float) else number) == written
        else:
            assert abs(written.adjusted()) > 1_000


OTHER_CASE = (
    '{"ID":1,"P":0.12345678901234567890,"B":9007199254740993.0,"V":1180591620717411303425,'
    '"S":{"p":0.12345678901234567890,"v":{"a":0.12345678901234567890}}}\n'
    '{"ID":2,"V":[0.12345678901234567890],"S":{"v":1180591620717411303425}}\n'
)
OTHER_COLUMNS = "id INT, p DECIMAL(38,20), b BIGINT, v VARIANT, s STRUCT<P: DECIMAL(38,20), V: VARIANT>"


def variant(text: str) -> Any:
    # A VARIANT of Arrow holds long numbers as decimals, which the local server shows as text.
    value = json.loads(text, parse_float=Decimal)
    return json.loads(re.sub(r'"(-?[0-9.]+)"', r"\1", text), parse_float=Decimal) if '"' in text else value


@pytest.mark.parametrize("record_format", ["protobuf", "json", "arrow"])
def test_numbers_land_as_they_were_written_under_names_in_other_case(
    record_format: Any, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    (tmp_path / "x.jsonl").write_text(OTHER_CASE)
    zerobus.create_table(f"CREATE TABLE {table_name} ({OTHER_COLUMNS})")
    ingest(zerobus.workspace, table_name, tmp_path / "x.jsonl", options=IngestOptions(record_format=record_format))
    first, second = zerobus.read(table_name).sort_by("id").to_pylist()
    digits, whole = Decimal("0.12345678901234567890"), 1180591620717411303425
    assert (first["p"], first["b"], variant(first["v"])) == (digits, 9007199254740993, whole)
    assert (first["s"]["P"], variant(first["s"]["V"])) == (digits, {"a": digits})
    assert (variant(second["v"]), variant(second["s"]["V"])) == ([digits], whole)


COLLECTED = (
    '{"id":1,"a":1180591620717411303425,"b":{"c":[0.12345678901234567890]},"d":1.5}\n'
    '{"id":2,"d":0.1}\n'
)  # fmt: skip


@pytest.mark.parametrize("record_format", ["protobuf", "json", "arrow"])
def test_numbers_that_are_collected_land_as_they_were_written(
    record_format: Any, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    (tmp_path / "x.jsonl").write_text(COLLECTED)
    zerobus.create_table(f"CREATE TABLE {table_name} (id INT, v VARIANT)")
    options = IngestOptions(extra_columns="variant:v", record_format=record_format)
    ingest(zerobus.workspace, table_name, tmp_path / "x.jsonl", options=options)
    first, second = zerobus.read(table_name).sort_by("id").to_pylist()
    digits = Decimal("0.12345678901234567890")
    assert variant(first["v"]) == {"a": 1180591620717411303425, "b": {"c": [digits]}, "d": Decimal("1.5")}
    assert variant(second["v"]) == {"d": Decimal("0.1")}


def test_numbers_for_the_rescue_column_are_sent_as_they_were_written(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(COLLECTED)
    options = IngestOptions(extra_columns="rescue")
    schema = TableSchema.from_sql("CREATE TABLE main.default.t (id INT, v VARIANT)")
    (chunk,) = source_of(tmp_path / "x.jsonl", options, schema).chunks(RowRanges())
    (batch,) = encoder_for(schema, options, is_arrow=False).encode(chunk)
    assert "".join(f"{record}\n" for record in batch.payload) == COLLECTED


def test_transform_can_calculate_with_numbers_of_fields_without_a_column(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    (tmp_path / "x.jsonl").write_text('{"p":19.99,"celsius":21.5}\n{"p":19.99,"celsius":0.30000000000000004}\n')
    zerobus.create_table(f"CREATE TABLE {table_name} (p DECIMAL(5,2), fahrenheit DOUBLE)")
    options = IngestOptions(transform=lambda row: {"p": row["p"], "fahrenheit": row["celsius"] * 1.8 + 32.0})
    ingest(zerobus.workspace, table_name, tmp_path / "x.jsonl", options=options)
    found = {row["fahrenheit"] for row in zerobus.read(table_name).to_pylist()}
    assert found == {21.5 * 1.8 + 32.0, 0.30000000000000004 * 1.8 + 32.0}


TOGETHER = [
    b'{"n": 1, "d": 1.5, "x": 0.25}',
    b'{"n": 2, "d": 1, "x": 1e400}',
    b'{"n": 18446744073709551616, "x": 1.0}',
    b'{"n": 3, "n": 4}',
    b'{"n": 5, "x": "a\\": 1"}',
    b'{"n": 6, "v": {"a": 1, "a": 2}}',
    b'{"n": 7, "v": {"a": 0.1}}',
    b'{"n": 8, "v": [{"a": 1}, {}]}',
    b' { "n" : 9 } ',
    b'{"n": 1},{"n": 2}',
    b'{"n": [1',
    b"2]}",
    b"[1, 2]",
    b"17",
    b"null",
    b'{"n": "\\ud800"}',
    b"not JSON",
    b"{}",
    b'{"zerobus_dead_letter": 1, "record": "{\\"n\\": 1}"}',
]


def shown(rows: list[object]) -> list[tuple[str, str]]:
    return [(type(row).__name__, repr(row)) for row in rows]


@pytest.mark.parametrize("number", range(len(TOGETHER)))
def test_lines_that_are_read_together_give_what_each_gives_by_itself(number: int) -> None:
    values = values_of("n BIGINT, d DECIMAL(10, 2), x DOUBLE, v VARIANT")
    good = [b'{"n": 1}', b'{"n": 2, "x": 0.5}']
    for block in ([TOGETHER[number]], [*good, TOGETHER[number]], [TOGETHER[number], *good, TOGETHER[number - 1]]):
        assert shown(values.rows(block)) == shown(list(map(values.row, block)))


def test_lines_that_are_read_together_never_borrow_from_one_another() -> None:
    values = JsonValues()
    for block in (
        [b'{"n": [1', b"2]}", b'{"n": 1},{"n": 2}'],
        [b'{"a": 1},{}', b'{"b": [{}', b"{}]}"],
        [b"{}", b'{"a": 1, "a": 2}', b'{"t": "x"}'],
    ):
        assert shown(values.rows(block)) == shown(list(map(values.row, block)))
