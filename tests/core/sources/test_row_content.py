"""The fingerprint of rows in a list: a wrong "the same" would skip a row that was changed, and so lose it."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
from collections import namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pendulum
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zerobus_core import IngestOptions
from zerobus_core.sources import source_of


class Colour(Enum):
    RED = 1


class Number(IntEnum):
    ONE = 1


class Word(StrEnum):
    ONE = "1"


@dataclass
class Point:
    x: Any


@dataclass(frozen=True, slots=True)
class Place:
    x: Any


Pair = namedtuple("Pair", ["x", "y"])

NOON = datetime(2026, 1, 1, 12)
IDENTITY = UUID(int=1)
# Whatever one of the usual encodings writes alike.
LOOKALIKES: list[Any] = [
    None, "null", "None", math.nan, "nan", "NaN", math.inf, -math.inf,
    True, 1, 1.0, "1", "True", "true", Decimal(1), Decimal("1.0"), b"1", b"\x01", "01", bytearray(b"\x01"), Number.ONE,
    Word.ONE, Colour.RED, np.int64(1), np.int32(1), np.float64(1), np.array([1]), np.array(1),
    0, 0.0, -0.0, False, "", b"", 2**64, -(2**70), "\ud800",
    NOON, NOON.replace(fold=1), NOON.replace(tzinfo=UTC), NOON.replace(tzinfo=timezone(timedelta(hours=1))),
    NOON.isoformat(), NOON.isoformat() + "+00:00", NOON.date(), NOON.date().isoformat(), NOON.time(), "12:00:00",
    time(12, tzinfo=UTC), pd.Timestamp(NOON), pd.Timestamp(NOON) + pd.Timedelta(1, "ns"), pd.NaT,
    pendulum.instance(NOON), np.datetime64(NOON), np.datetime64(NOON, "ns"), timedelta(1), "1 day, 0:00:00", 86400,
    IDENTITY, str(IDENTITY), IDENTITY.bytes,
    [], (), {}, [1], (1,), [[1]], {"x": 1}, {1: 1}, {"1": 1}, {True: 1}, {"x": None}, {"x": 1, "y": 2}, Pair(1, 2),
    (1, 2), [1, 2], Point(1), Place(1), ["x", 1], {"x": {"x": 1}}, [{"x": 1}],
    ["datetime.datetime", NOON.isoformat(), 0, True],
]  # fmt: skip

values = st.recursive(
    st.sampled_from(LOOKALIKES) | st.none() | st.integers(-2, 2) | st.text("1,]\x00", max_size=3) | st.floats(width=16),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.tuples(inner)
        | st.dictionaries(st.sampled_from(["x", "1", 1, True]), inner, max_size=2)
        | st.builds(Point, inner)
        | st.builds(Place, inner)
    ),
    max_leaves=4,
)
rows = st.lists(st.dictionaries(st.sampled_from(["x", "y"]), values, max_size=2), max_size=3)


def fingerprint_of(records: Any) -> str | None:
    return source_of(records, IngestOptions()).fingerprint


def strict(value: Any) -> Any:
    """The value in a form that is equal to another one's only if they are alike in every type and digit."""
    kind = type(value)
    if isinstance(value, dict):
        return kind, [(strict(key), strict(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return kind, [strict(item) for item in value]
    if isinstance(value, Point | Place):
        return kind, strict(value.x)
    if isinstance(value, np.ndarray):
        return kind, value.shape, str(value.dtype), value.tolist()
    return kind, repr(value), getattr(value, "dtype", None)


@given(one=rows, other=rows)
@example(one=[{"x": 1}, {}], other=[{}, {"x": 1}])
@example(one=[{"x": [1, 2]}], other=[{"x": [1], "y": 2}])
def test_rows_have_one_fingerprint_only_if_they_are_alike_in_every_type_and_value(one: Any, other: Any) -> None:
    assert fingerprint_of(one) is not None
    assert (fingerprint_of(one) == fingerprint_of(other)) is (strict(one) == strict(other))


@given(rows)
def test_equal_rows_have_one_fingerprint_whatever_objects_they_share(given_rows: Any) -> None:
    shared = [row for row in given_rows for _ in range(2)]
    apart = [copy.deepcopy(row) for row in shared]
    assert fingerprint_of(shared) == fingerprint_of(apart) == fingerprint_of(tuple(shared))


def test_no_two_values_that_look_alike_have_one_fingerprint() -> None:
    prints = {fingerprint_of([{"x": value}]): value for value in LOOKALIKES}
    assert None not in prints
    assert len(prints) == len(LOOKALIKES)


def test_a_change_is_found_wherever_it_stands() -> None:
    many = [{"id": n, "note": f"row {n}"} for n in range(2_500)]
    plain = fingerprint_of(many)
    for at in (0, 999, 1_000, 2_499):
        assert fingerprint_of([*many[:at], {**many[at], "note": None}, *many[at + 1 :]]) != plain
    assert fingerprint_of([many[1], many[0], *many[2:]]) != plain
    assert fingerprint_of(many[:-1]) != plain


def test_another_process_finds_the_same_fingerprint() -> None:
    code = (
        "from datetime import UTC, datetime\nfrom decimal import Decimal\n"
        "from zerobus_core import IngestOptions\nfrom zerobus_core.sources import source_of\n"
        "rows = [{'id': n, 'at': datetime(2026, 1, 1, tzinfo=UTC), 'price': Decimal(n), 'tags': ['a', b'b', None]}"
        " for n in range(1_500)]\n"
        "print(source_of(rows, IngestOptions()).fingerprint)"
    )
    prints = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(prints) == 1
    assert prints.pop().startswith("rows:1500:")


class Subclass(str):
    __slots__ = ()


def cyclic() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, frozenset(), Subclass("a"), np.array([object()]), np.zeros(1, "O,i4"), cyclic(), print, Point],
    ids=lambda value: type(value).__name__,
)
def test_rows_with_a_value_whose_content_is_not_known_have_none(value: Any) -> None:
    assert fingerprint_of([{"x": 1}, {"x": value}]) is None


def test_a_source_version_is_part_of_the_fingerprint_and_alone_vouches_for_unknown_content() -> None:
    def fingerprint(value: Any, version: str) -> str | None:
        return source_of([{"x": value}], IngestOptions(source_version=version)).fingerprint

    assert fingerprint(1, "1") == fingerprint(1, "1")
    assert len({fingerprint(1, "1"), fingerprint(2, "1"), fingerprint(1, "2"), fingerprint(object(), "1")}) == 4
    assert fingerprint(object(), "1") == fingerprint({2}, "1") is not None


def test_nothing_is_hashed_until_the_fingerprint_is_asked_for_and_then_once() -> None:
    class Counted(list[Any]):
        sliced = 0

        def __getitem__(self, index: Any) -> Any:
            self.sliced += isinstance(index, slice)
            return super().__getitem__(index)

    counted = Counted([{"x": date(2026, 1, 1)}])
    source = source_of(counted, IngestOptions())
    before = counted.sliced
    assert source.fingerprint == source.fingerprint
    assert counted.sliced == before + 1
