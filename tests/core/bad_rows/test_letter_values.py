"""What a row's values become in a dead letter: sent again, they are refused again or arrive as the values given."""

from __future__ import annotations

import dataclasses
import enum
import json
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerobus_core import IngestOptions, TableSchema
from zerobus_core.bad_rows import LETTER_KEY, from_letter, row_of_letter
from zerobus_core.bad_rows.letter_writer import LetterWriter
from zerobus_core.bad_rows.wire_values import from_wire
from zerobus_core.batch import BadRow, Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.encode.values.json_input import parsed_json
from zerobus_core.records import GivenText, UnfitError, UnfitValue
from zerobus_core.replaying import replay_options

MARKERS = [
    "$binary",
    "$date",
    "$datetime",
    "$decimal",
    "$float",
    "$json",
    "$map",
    "$time",
    "$text",
    "$escaped",
    "$unfit",
]
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")) | st.sampled_from(["x", "nan", "abcd", "eA==", "1.50"])
)  # fmt: skip
DICTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*MARKERS, "a"]), inner, max_size=2),
)


class Color(enum.Enum):
    RED = "red"
    ONE = 1
    DAY = date(2026, 1, 2)


@dataclasses.dataclass
class Point:
    a: int
    b: str


class Money(Decimal):
    def __str__(self) -> str:
        return "$" + super().__str__()


class Text(str):
    pass


class Pair(NamedTuple):
    a: int
    b: str


class Key(str, enum.Enum):  # noqa: UP042 - its str() is not its value
    V = "v"
    A = "a"


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("detached")


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


LONG = "0.12345678901234567890123"
SCALARS: list[Any] = [
    None, True, False, 0, 1, -1, 5, 127, 128, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**70 + 1, 10**5000, 1_700_000_000,
    0.0, -0.0, 0.1, 1.0, 1.5, 1e22, 1e300, float("nan"), float("inf"),
    Decimal("1.50"), Decimal("1.5"), Decimal("5"), Decimal(LONG), Decimal("NaN"), Decimal("1E+3"), Decimal("20260102"),
    Money("1.50"), "", "a", "NA", "NULL", "5", "1.0", "1.50", LONG, "true", "2026-01-02", "2026-01-02T03:00:00",
    '"123"', "null", "01234", '{"a":1,"a":2}', "[" * 300 + "]" * 300, "123", '{"a":1.50}', "{bad", "eA==", "nan",
    "x\ud800", b"", b"x", bytearray(b"x"), memoryview(b"x"),
    date(2026, 1, 2), datetime(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5, 6), datetime(2026, 1, 2, tzinfo=UTC), time(1),
    timedelta(1), memoryview(b"abcd")[::2], Text("k"), Pair(1, "x"), os.stat_result(range(10)),
    UUID(int=1), Color.RED, Color.ONE, Color.DAY, 1j, object(), Broken(), range(2), Point(1, "b"),
    np.int64(5), np.float32(0.1), np.float64(0.1), np.longdouble("0.1"), np.bool_(True), np.str_("x"), np.bytes_(b"x"),
    np.datetime64("2026-01-02", "D"), np.datetime64("2026", "Y"), np.datetime64("2026-01-02T00:00:00.000000001", "ns"),
    np.timedelta64(5, "ns"), np.datetime64("NaT"), np.array("x"), np.array(5), np.array((1,), dtype=[("a", "i4")])[()],
    pd.Timestamp(1), pd.Timestamp("2026-01-02"), pd.NaT, pd.NA, pd.Timedelta(5), pa.scalar("x"), pa.scalar(5),
    orjson.Fragment('{"a":1.50}'), orjson.Fragment("{bad"), GivenText("5"), UnfitValue("x", "it cannot be read"),
]  # fmt: skip
CONTAINERS: list[Any] = [
    [], {}, (), set(), {1}, [1, 2], (1, 2), ["a", None], [1.5, Decimal("1.50")], [date(2026, 1, 2)], [b"x"], [["a"]],
    {"a": 1}, {"a": 1, "b": "c"}, {"A": 1}, {"a": "NA", "b": "NA"}, {"a": 1, "A": 2}, {5: "a"}, {"5": "a"},
    {5: 1, "5": 2}, {True: 1}, {None: 1}, {b"x": 1}, {date(2026, 1, 2): 1}, {Decimal("1.5"): 1}, {1.5: 1},
    {"k": Decimal("1.50")}, {"k": date(2026, 1, 2)}, {"k": None}, {"$decimal": "1.50"}, {"$unfit": "a"}, {"$map": []},
    {"$text": {"$text": "a"}}, [("k", "v")], [("k", 1), ("k", 2)], [(1, "v")], [("k", Decimal("1.50"))],
    {"a": {"b": [Decimal(LONG), 2**70]}}, {"a": orjson.Fragment("1.50")}, {"a": float("nan")}, {"a": {1}},
    [np.float32(0.1)], np.array([1, 2]),
    np.array(["2026-01-02"], "M8[ns]"), pd.Series([1, 2]), pd.Index(["a"]), pa.array([1]), _deep(150), _deep(2_000),
    _endless(), {Text("k"): 1}, {Key.A: 1}, {"zip": "01234"}, [Pair(1, "x")],
    [Point(1, "b")], {"a": Point(1, "b")}, [{"a": 1}, {"a": "NA"}],
]  # fmt: skip
KINDS = [
    "TINYINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "BOOLEAN", "STRING", "VARCHAR(3)", "BINARY", "DATE", "TIMESTAMP",
    "TIMESTAMP_NTZ", "DECIMAL(10,2)", "DECIMAL(30,23)", "VARIANT", "ARRAY<STRING>", "ARRAY<BIGINT>", "ARRAY<DATE>",
    "ARRAY<VARIANT>", "MAP<STRING,STRING>", "MAP<STRING,VARIANT>", "MAP<BIGINT,BIGINT>", "MAP<DATE,DOUBLE>",
    "MAP<DECIMAL(4,2),INT>", "MAP<STRING,DECIMAL(4,2)>", "STRUCT<a: INT, b: STRING>", "STRUCT<a: VARIANT>",
    "ARRAY<STRUCT<a: BIGINT, b: DATE>>",
]  # fmt: skip
OPTIONS: list[dict[str, Any]] = [
    {},
    {"parse_text": True, "write_json": True, "round_floats": True, "numeric_booleans": True, "parse_base64": True},
    {"parse_json": True, "write_json": True, "epoch_unit": "ms"},
    {"record_format": "json", "parse_json": True, "parse_text": True},
]


class Column:
    """A table with one column, and what a delivery makes of a value for it."""

    def __init__(self, kind: str, options: IngestOptions) -> None:
        self.schema = TableSchema.from_sql(f"CREATE TABLE main.default.t (v {kind})")
        self._encoder = encoder_for(self.schema, options, is_arrow=False)
        self._is_variant = "VARIANT" in kind

    def delivered(self, row: Any) -> Any:
        """Return the wire values of a row, with numbers as exact as they are sent; None if the row is refused."""
        bad: list[BadRow] = []
        (*batches,) = self._encoder.encode(Chunk(0, [row]), on_bad_row=bad.append)
        if bad:
            return None
        return _comparable(self._encoder.decode(batches[0], 0), is_variant=self._is_variant)


def _comparable(value: Any, *, is_variant: bool) -> Any:
    """Return a wire value; the text of a VARIANT is parsed, because its numbers can be written in several ways."""
    if isinstance(value, dict):
        return {key: _comparable(item, is_variant=is_variant) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_comparable(item, is_variant=is_variant) for item in value]
    if is_variant and isinstance(value, str):
        try:
            return ("JSON", parsed_json(value), value)
        except UnfitError:  # text in a STRING next to the VARIANT
            return value
    return repr(value) if isinstance(value, float) else value


def _letter(writer: LetterWriter, row: Any) -> bytes:
    return json.dumps({LETTER_KEY: 2, "record": writer.record(row)}).encode()


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_a_letter_that_nobody_corrects_gives_the_same_value_or_is_refused_again(
    kind: str, options: dict[str, Any]
) -> None:
    given = IngestOptions(**options)
    column, again = Column(kind, given), Column(kind, replay_options(given, "letters.jsonl"))
    writer, twice = (
        LetterWriter(column.schema.columns, each) for each in (given, replay_options(given, "letters.jsonl"))
    )
    wrong: list[str] = []
    for value in [*SCALARS, *CONTAINERS]:
        row = {"v": value}
        first = column.delivered(row)
        read = row_of_letter(_letter(writer, row))
        second, third = again.delivered(read), again.delivered(row_of_letter(_letter(twice, read)))
        if not first == second == third:
            wrong.append(f"{_shown(value)}: {first!r:.80}, then {second!r:.80}, then {third!r:.80}")
    assert not wrong, "\n".join(wrong)


def _shown(value: Any) -> str:
    try:
        return f"{type(value).__name__} {value!r:.60}"
    except Exception as error:  # noqa: BLE001 - what the test is about
        return f"{type(value).__name__} {type(error).__name__}"


@given(DICTS)
def test_values_of_a_variant_that_look_like_the_objects_of_a_letter_arrive_unchanged(value: Any) -> None:
    column = Column("VARIANT", IngestOptions())
    row = row_of_letter(_letter(LetterWriter(column.schema.columns, IngestOptions()), {"v": value}))
    assert column.delivered(row) == column.delivered({"v": value})


@pytest.mark.parametrize("record_format", ["protobuf", "json"])
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("VARIANT", [{"a": Decimal(LONG), "b": 2**70, "c": -0.0}, "123", '"a"', [{"$decimal": "1"}], True]),
        ("DECIMAL(30,23)", [Decimal(LONG), Decimal(0)]),
        ("TIMESTAMP", [datetime(1, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)]),
        ("BINARY", [b"", b"\x00\xff"]),
        ("DOUBLE", [0.1, -0.0, 1e300]),
        ("MAP<STRING,DECIMAL(4,2)>", [{"a": Decimal("1.50"), "$decimal": Decimal(1)}]),
        ("MAP<BIGINT,STRING>", [{5: "a"}]),
    ],
)
@pytest.mark.parametrize("parse_json", [False, True])
def test_the_letter_of_a_row_that_the_service_refused_gives_the_same_row(
    kind: str, values: list[Any], record_format: Any, *, parse_json: bool
) -> None:
    options = IngestOptions(record_format=record_format)
    column = Column(kind, options)
    again = IngestOptions(record_format=record_format, parse_json=parse_json, parse_text=True)
    for value in values:
        (batch,) = column._encoder.encode(Chunk(0, [{"v": value}]))
        record = from_wire(column._encoder.decode(batch, 0), column.schema.columns)
        letter = {LETTER_KEY: 2, "record": LetterWriter(column.schema.columns, again).refused_record(record)}
        row = row_of_letter(json.dumps(letter).encode())
        assert Column(kind, again).delivered(row) == column.delivered({"v": value})


@pytest.mark.parametrize(
    ("kind", "value", "letter"),
    [
        ("BIGINT", "NA", {"$text": "NA"}),
        ("BIGINT", 5, 5),
        ("BIGINT", Decimal("1.5"), {"$decimal": "1.5"}),
        ("DECIMAL(4,2)", Decimal("1.50"), "1.50"),
        ("DECIMAL(4,2)", 1.5, {"$float": "1.5"}),
        ("DOUBLE", float("nan"), {"$float": "nan"}),
        ("DATE", date(2026, 1, 2), "2026-01-02"),
        ("TIMESTAMP", date(2026, 1, 2), {"$date": "2026-01-02"}),
        ("TIMESTAMP", pd.Timestamp(1), "1970-01-01T00:00:00.000000001"),
        ("STRING", datetime(2026, 1, 2), {"$datetime": "2026-01-02T00:00:00"}),
        ("STRING", time(1), {"$time": "01:00:00"}),
        ("STRING", UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("STRING", b"x", {"$binary": "eA=="}),
        ("STRING", timedelta(days=1), {"$unfit": "datetime.timedelta(days=1)"}),
        ("STRING", np.timedelta64(5, "ns"), {"$unfit": "5 nanoseconds"}),
        ("VARIANT", {"a": Decimal("1.50"), "b": 1.5}, {"a": {"$decimal": "1.50"}, "b": 1.5}),
        ("VARIANT", [1e22, 1e-7, 1e300], [1e22, 1e-7, 1e300]),
        ("MAP<STRING,STRING>", Decimal("1.5"), {"$decimal": "1.5"}),
        ("VARIANT", {"$decimal": "1.50"}, {"$escaped": {"$decimal": "1.50"}}),
        ("MAP<STRING,STRING>", {5: "a"}, {"$map": [[5, "a"]]}),
        ("MAP<STRING,STRING>", [("k", "v")], {"k": "v"}),
        ("STRUCT<Name: STRING>", {"nAME": date(2026, 1, 2)}, {"Name": {"$date": "2026-01-02"}}),
        ("STRUCT<a: INT>", Broken(), {"$unfit": "<no repr: RuntimeError>"}),
    ],
)
def test_a_value_is_written_for_the_type_of_its_column(kind: str, value: Any, letter: Any) -> None:
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t (v {kind})")
    assert LetterWriter(schema.columns, IngestOptions()).record({"v": value}) == {"v": letter}


def _letters_of_version_1() -> Iterator[tuple[Any, Any]]:
    yield {"b": {"$binary": "eA=="}, "d": {"$float": "-inf"}}, {"b": b"x", "d": float("-inf")}
    # They have the dicts of users as they were.
    for users in (
        {"$float": "x"},
        {"$binary": "abc"},
        {"$unfit": 1},
        {"$decimal": "1.50"},
        {"$map": []},
        {"$text": "a"},
    ):
        yield {"v": users}, {"v": users}


@pytest.mark.parametrize(("record", "row"), list(_letters_of_version_1()))
def test_letters_of_version_1_are_still_read(record: Any, row: Any) -> None:
    assert row_of_letter(json.dumps({LETTER_KEY: 1, "record": record}).encode()) == row


@pytest.mark.parametrize(
    "broken",
    [{"$decimal": "1,5"}, {"$date": "2.1.2026"}, {"$binary": "abc"}, {"$map": [[1]]}, {"$float": "x"}, {"$escaped": 1}],
)
def test_an_object_that_a_person_broke_fits_no_column(broken: Any) -> None:
    read = from_letter({"v": broken})
    assert isinstance(read["v"], UnfitValue)
    assert Column("VARIANT", IngestOptions()).delivered(read) is None


@pytest.mark.parametrize("inner", [5, None, [1], {"a": 1}])
@pytest.mark.parametrize("key", ["$text", "$unfit", "$decimal", "$date"])
def test_a_value_that_a_person_wrote_into_an_object_is_read(key: str, inner: Any) -> None:
    assert from_letter({"v": {key: inner}}) == {"v": inner}
