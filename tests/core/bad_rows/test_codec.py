"""What a row's values become in a dead letter, and that reading it gives the same values or values that fit nothing."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerobus_core.bad_rows.codec import from_letter, to_letter
from zerobus_core.records import UnfitValue

MARKERS = ["$binary", "$float", "$escaped", "$unfit"]
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
        (np.datetime64("1972", "Y"), "year 1972"),
        (np.timedelta64(5, "ns"), "5 nanoseconds"),
        (np.array(np.datetime64("1972-01-01", "ns")), "1972-01-01T00:00:00"),
        (np.longdouble("0.1"), f"{np.longdouble.__name__} 0.1"),
        (pd.Timestamp(1), "1970-01-01T00:00:00.000000001"),
        (pa.scalar(1, pa.timestamp("ns")), "1970-01-01T00:00:00.000000001"),
        (pa.scalar(1_001, pa.time64("ns")), "time64[ns] 1001, which has nanoseconds"),
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
        text = through_a_file(value)
        assert isinstance(text, str)
        with pytest.raises(ValueError, match="could not convert"):
            float(text)


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
    ],
)
def test_a_value_that_cannot_be_written_is_described_and_fits_no_column(value: Any, description: str) -> None:
    assert to_letter({"v": value}) == {"v": {"$unfit": description}}
    read = through_a_file({"v": value})["v"]
    assert isinstance(read, UnfitValue)
    assert (read.value, to_letter(read)) == (description, to_letter(value))
