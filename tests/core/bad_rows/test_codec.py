"""What a row's values become in a dead letter, and that reading it gives the same values or values that fit nothing."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerobus_core.bad_rows.codec import from_letter, from_wire, to_letter
from zerobus_core.records import UnfitValue
from zerobus_core.schema.types import (
    ArrayType,
    DataType,
    DecimalType,
    Field,
    Kind,
    MapType,
    PrimitiveType,
    StringType,
    StructType,
)

MARKERS = ["$binary", "$decimal", "$float", "$escaped", "$unfit"]
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.binary()
    | st.text() | st.sampled_from(["x", "nan", "abcd", "eA=="])
)  # fmt: skip
DICTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*MARKERS, "a"]), inner, max_size=2),
)


def through_a_file(value: Any) -> Any:
    return from_letter(json.loads(json.dumps(to_letter(value))))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.datetime64("1972-01-01", "ns"), "1972-01-01T00:00:00"),
        (np.datetime64("1972-01-01T00:00:00.5", "ns"), "1972-01-01T00:00:00.500000"),
        (np.datetime64("1972-01-01T00:00:00.000000001", "ns"), "1972-01-01T00:00:00.000000001"),
        (np.datetime64("1972-01-01T05", "h"), "1972-01-01T05"),
        (np.datetime64("1972-02-03", "D"), "1972-02-03"),
        (np.datetime64("20000-01-01", "D"), "20000-01-01"),
        (np.array(np.datetime64("1972-01-01", "ns")), "1972-01-01T00:00:00"),
        (pd.Timestamp(1), "1970-01-01T00:00:00.000000001"),
        (pa.scalar(1, pa.timestamp("ns")), "1970-01-01T00:00:00.000000001"),
        (pa.scalar(1_001, pa.time64("ns")), "00:00:00.000001001"),
        (pa.scalar(date(1972, 1, 1)), "1972-01-01"),
    ],
)
def test_a_time_of_a_library_becomes_text_that_says_the_same(value: Any, text: str) -> None:
    assert through_a_file(value) == text


@pytest.mark.parametrize(
    ("value", "same"),
    [
        (np.datetime64("NaT", "ns"), None),
        (np.timedelta64("NaT"), None),
        (pd.NaT, None),
        (pd.NA, None),
        (pa.scalar(None, pa.timestamp("ns")), None),
        (np.longdouble("0.5"), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(5), 5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.bytes_(b"x"), b"x"),
        (memoryview(b"\x00\xff"), b"\x00\xff"),
        (pa.scalar("x"), "x"),
        (pa.scalar(2**60), 2**60),
        (pa.scalar(b"x"), b"x"),
        (pa.scalar([{"a": 1}]), [{"a": 1}]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(["1972-01-01", "NaT"], "M8[ns]"), ["1972-01-01T00:00:00", None]),
        (np.array([(1, "1972-01-01")], [("n", "i4"), ("t", "M8[ns]")]), [[1, "1972-01-01T00:00:00"]]),
        (pd.Series(["1972-01-01"], dtype="datetime64[ns]"), ["1972-01-01T00:00:00"]),
        (pd.Series([1, None], dtype="Int64"), [1, None]),
    ],
)
def test_a_value_of_a_library_is_read_as_the_value_that_it_holds(value: Any, same: Any) -> None:
    assert through_a_file(value) == same


def test_what_no_datetime_can_hold_is_never_read_as_a_number() -> None:
    """A number would be read as microseconds since 1970, or fit a column of numbers."""
    scalars = [np.datetime64(63, unit) for unit in ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "as")]
    deltas = [np.timedelta64(63, unit) for unit in ("Y", "M", "W", "D", "s", "us", "ns", "ps")]
    huge = [
        np.datetime64(10**17, "s"),
        np.datetime64(-5000, "Y"),
        pa.scalar(10**17, pa.timestamp("s")),
        pa.scalar(10**17, pa.duration("s")),
    ]
    for value in [*scalars, *deltas, *huge, datetime(1972, 1, 1), timedelta(1), np.clongdouble(1)]:
        read = through_a_file(value)
        if not isinstance(read, UnfitValue):
            assert isinstance(read, str)
            with pytest.raises(ValueError, match="could not convert"):
                float(read)


@given(DICTS)
def test_dicts_that_look_like_the_objects_of_a_letter_come_back_unchanged(value: Any) -> None:
    assert through_a_file(value) == value


@pytest.mark.parametrize("key", MARKERS)
def test_a_dict_that_looks_like_an_object_of_a_letter_comes_back_unchanged(key: str) -> None:
    for inner in ("x", "abcd", "nan", "", 1, None, {"$float": "nan"}, {key: {key: "nan"}}, b"x", float("inf"), [b"x"]):
        assert through_a_file({key: inner}) == {key: inner}
        assert through_a_file({"v": {key: inner}, "w": 1}) == {"v": {key: inner}, "w": 1}


def test_letters_of_version_0_1_are_still_read() -> None:
    assert from_letter({"b": {"$binary": "eA=="}, "d": {"$float": "-inf"}}) == {"b": b"x", "d": float("-inf")}
    # They have the dicts of users as they were.
    for users in ({"$float": "x"}, {"$binary": "abc"}, {"$binary": "a b c d"}, {"$escaped": {"a": 1}}, {"$unfit": 1}):
        assert from_letter({"v": users}) == {"v": users}


@pytest.mark.parametrize(
    ("value", "description"),
    [
        ({1: "a", "1": "b"}, "{1: 'a', '1': 'b'}, in which two keys have the same text"),
        ({None: 1}, "{None: 1}, in which a key is None"),
        (UnfitValue("x", "it is a member of a UNION"), "'x', which could not be read: it is a member of a UNION"),
        (np.datetime64("1972", "Y"), "year 1972"),
        (np.timedelta64(5, "ns"), "5 nanoseconds"),
        (np.longdouble("0.1"), f"{np.longdouble.__name__} 0.1"),
        (timedelta(days=1), "datetime.timedelta(days=1)"),
        (1j, "1j"),
        ({1}, "{1}"),
    ],
)
def test_a_value_that_cannot_be_written_is_described_and_fits_no_column(value: Any, description: str) -> None:
    assert to_letter({"v": value}) == {"v": {"$unfit": description}}
    read = through_a_file({"v": value})["v"]
    assert isinstance(read, UnfitValue)
    assert (read.value, to_letter(read)) == (description, to_letter(value))


TEXT, VARIANT = StringType(), PrimitiveType(Kind.VARIANT)


@pytest.mark.parametrize(
    ("kind", "value", "letter"),
    [
        (TEXT, date(2026, 1, 2), {"$unfit": "2026-01-02"}),
        (TEXT, np.datetime64("2026-01-02", "D"), {"$unfit": "2026-01-02"}),
        (TEXT, pa.scalar(1_001, pa.time64("ns")), {"$unfit": "00:00:00.000001001"}),
        (TEXT, Decimal("1.50"), {"$decimal": "1.50"}),
        (TEXT, UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (VARIANT, date(2026, 1, 2), "2026-01-02"),
        (VARIANT, {"a": [Decimal("1.50")]}, {"a": [{"$decimal": "1.50"}]}),
        (VARIANT, range(2), [0, 1]),
        (DecimalType(4, 2), Decimal("1.50"), "1.50"),
        (ArrayType(TEXT), [date(2026, 1, 2)], [{"$unfit": "2026-01-02"}]),
        (ArrayType(TEXT), np.array(["2026-01-02"], "M8[D]"), [{"$unfit": "2026-01-02"}]),
        (MapType(TEXT, TEXT), {"k": date(2026, 1, 2)}, {"k": {"$unfit": "2026-01-02"}}),
        (StructType((Field(name="Name", type=TEXT, position=0),)), {"nAME": time(1)}, {"nAME": {"$unfit": "01:00:00"}}),
    ],
)
def test_a_letter_depends_on_the_type_of_the_column(kind: DataType, value: Any, letter: Any) -> None:
    assert to_letter(value, kind) == letter


@pytest.mark.parametrize("text", ["1.5", "1.50", "-0", "NaN", "1E+3", "0.12345678901234567890123"])
def test_a_decimal_of_a_variant_is_read_as_the_same_decimal(text: str) -> None:
    read = from_letter(to_letter(Decimal(text), VARIANT))
    assert isinstance(read, Decimal)
    assert str(read) == text


def test_a_refused_number_of_a_variant_keeps_its_digits() -> None:
    record = {"v": '{"long":0.12345678901234567890123,"short":1.50,"huge":1e400,"whole":123456789012345678901}'}
    read = from_wire(record, [Field(name="v", type=VARIANT, position=0)])["v"]
    assert read == {
        "long": Decimal("0.12345678901234567890123"), "short": 1.5, "huge": Decimal("1e400"),
        "whole": 123456789012345678901,
    }  # fmt: skip
    assert isinstance(read["short"], float)
