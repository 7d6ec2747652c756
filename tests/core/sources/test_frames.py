"""Data frames whose objects Arrow would change, and those whose rows are not values."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pandas as pd
import polars as pl
import pytest

from zerobus_core import IngestOptions, ingest
from zerobus_core.errors import ConfigurationError, RecordError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_local import LocalZerobus

pytestmark = pytest.mark.matrix

FIVES = IngestOptions(batch_rows=5)
EAST = timezone(timedelta(hours=5))
NOON = datetime(2026, 1, 1, 12)


def objects(*values: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": pd.Series(list(values), dtype=object)})


def read(source: Any, skip: RowRanges | None = None) -> list[tuple[int, Any]]:
    return [
        (chunk.first_row + i, row)
        for chunk in source.chunks(skip or RowRanges())
        for i, row in enumerate(chunk.rows if isinstance(chunk.rows, list) else chunk.rows.to_pylist())
    ]


PLAIN: list[tuple[Any, ...]] = [
    ("a", None, ""), (b"a", float("nan")), (True, None, False), (1, float("nan"), -(2**63)), (1.5, None), (None, None),
    (Decimal("1.50"), None, Decimal("-2.5")), (date(2026, 1, 1), pd.NaT), (NOON, None), (NOON.replace(tzinfo=EAST),),
    (1, pd.NA),
]  # fmt: skip
CHANGED: list[tuple[Any, ...]] = [
    ({"a": 1}, {"b": 2}), ([1], [2, 3]), (date(2026, 1, 1), NOON), (NOON, NOON.replace(tzinfo=EAST)),
    (NOON.replace(tzinfo=UTC), NOON.replace(tzinfo=EAST)), (pd.Timestamp(2026, 1, 1, nanosecond=1),), (1, True),
    (1, 2.5), (b"a", "b"), (Decimal(1), Decimal("NaN")), ({1},), (2**63,), (np.float64(1),), ("a", 1), ("\ud800",),
]  # fmt: skip


@pytest.mark.parametrize("values", PLAIN, ids=repr)
def test_objects_of_one_plain_type_go_through_arrow_as_they_are(values: tuple[Any, ...]) -> None:
    source = source_of(objects(*values), FIVES)
    assert source.is_arrow
    expected = [None if pd.isna(value) else value for value in values]
    rows = [row["x"] for _, row in read(source)]
    assert rows == expected
    assert list(map(type, rows)) == list(map(type, expected))


@pytest.mark.parametrize("values", CHANGED, ids=repr)
def test_objects_that_arrow_would_change_go_as_rows(values: tuple[Any, ...]) -> None:
    source = source_of(objects(*values, None), FIVES)
    assert not source.is_arrow
    rows = [row["x"] for _, row in read(source)]
    assert all(given is row for given, row in zip(values, rows, strict=False))
    assert rows[-1] is None


def frame_of(rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "n": range(rows),
            "f": [None if n % 3 else n / 2 for n in range(rows)],
            "t": pd.to_datetime([None if n % 4 else "2026-01-01T00:00:01" for n in range(rows)]),
            "v": pd.Series([{"a": n} if n % 2 else [n, str(n)] for n in range(rows)], dtype=object),
            "key": [f"k{n}" for n in range(rows)],
        }
    ).set_index("key")


def test_rows_of_a_frame_keep_their_positions_and_their_types() -> None:
    source = source_of(frame_of(23), FIVES)
    assert source.total_rows == 23
    rows = dict(read(source))
    assert list(rows) == list(range(23))
    assert rows[0] == {"n": 0, "f": 0.0, "t": pd.Timestamp("2026-01-01T00:00:01"), "v": [0, "0"], "key": "k0"}
    assert rows[5] == {"n": 5, "f": None, "t": None, "v": {"a": 5}, "key": "k5"}
    skip = RowRanges([(0, 3), (4, 12), (20, 23)])
    assert read(source, skip) == [(at, row) for at, row in rows.items() if at not in skip]
    assert max(len(chunk.rows) for chunk in source.chunks(RowRanges())) == 5
    with pytest.raises(ConfigurationError, match="ended after 23 rows"):
        read(source, RowRanges([(0, 40)]))


def test_a_frame_of_rows_is_known_by_its_content() -> None:
    plain = source_of(frame_of(9), FIVES).fingerprint
    assert plain is not None
    assert plain == source_of(frame_of(9), FIVES).fingerprint
    deep, renamed = frame_of(9), frame_of(9).rename(columns={"n": "m"})
    deep["v"].iloc[5]["a"] = "5"
    for other in (deep, renamed, frame_of(8), frame_of(9).astype({"n": "int32"})):
        assert source_of(other, FIVES).fingerprint not in (plain, None)
    long = np.arange(5_000)
    same, changed = objects([1], long), objects([1], np.where(long == 2_500, 0, long))
    assert source_of(same, FIVES).fingerprint != source_of(changed, FIVES).fingerprint
    assert source_of(objects({1, 2}), FIVES).fingerprint is None
    vouched = IngestOptions(source_version="v1")
    assert (
        source_of(objects({1, 2}), vouched).fingerprint == source_of([{"x": {1, 2}}], vouched).fingerprint is not None
    )
    assert source_of(same, vouched).fingerprint not in (source_of(same, FIVES).fingerprint, None)


def test_frames_that_come_one_after_the_other_go_as_rows_if_the_first_does() -> None:
    mixed, plain = objects({"a": 1}, {"b": 2}), objects("x", "y")
    source = source_of((frame for frame in (mixed, plain)), FIVES)
    assert not source.is_arrow
    assert [row["x"] for _, row in read(source)] == [{"a": 1}, {"b": 2}, "x", "y"]
    with pytest.raises(ConfigurationError, match="pass rows instead"):
        read(source_of([plain, mixed], FIVES))
    with pytest.raises(ConfigurationError, match="all items must be pandas frames"):
        read(source_of([mixed, {"x": 1}], FIVES))


def test_dicts_of_a_frame_land_in_variant_and_map_columns_with_their_own_keys_only(
    zerobus: LocalZerobus, table_name: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id INT, v VARIANT, m MAP<STRING, INT>, d DOUBLE)")
    given = [{"a": 1}, {"b": 2.5}, {"a": True, "c": [1, "x"]}, None]
    frame = pd.DataFrame(
        {
            "id": range(4),
            "v": pd.Series(given, dtype=object),
            "m": pd.Series([{"a": 1}, {"b": 2}, {}, {"a": 3}], dtype=object),
            "d": [1.5, float("nan"), 2.0, 0.0],
        }
    )
    receipt = ingest(zerobus.workspace, table_name, frame)
    assert receipt.rows_acked == 4
    rows = zerobus.read(table_name).sort_by("id").to_pylist()
    assert [None if row["v"] is None else orjson.loads(row["v"]) for row in rows] == given
    assert [row["m"] for row in rows] == [[("a", 1)], [("b", 2)], [], [("a", 3)]]
    assert [row["d"] for row in rows] == [1.5, None, 2.0, 0.0]


BENT: list[tuple[str, pd.DataFrame]] = [
    ("DATE", objects(date(2026, 1, 1), NOON)),
    ("TIMESTAMP_NTZ", objects(NOON, NOON.replace(tzinfo=EAST))),
    ("TIMESTAMP", objects(NOON, pd.Timestamp(2026, 1, 1, nanosecond=1))),
    ("DOUBLE", objects(1.5, True)),
    ("BINARY", objects(b"a", "b")),
    ("DECIMAL(5,2)", objects(Decimal(1), Decimal("NaN"))),
    ("ARRAY<INT>", objects([1], {2, 3})),
]


@pytest.mark.parametrize(("kind", "frame"), BENT, ids=[kind for kind, _ in BENT])
def test_an_object_that_does_not_fit_is_named_and_not_bent(
    kind: str, frame: pd.DataFrame, zerobus: LocalZerobus, table_name: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (x {kind})")
    with pytest.raises(RecordError, match="row 1, field x"):
        ingest(zerobus.workspace, table_name, frame)
    assert zerobus.read(table_name).num_rows == 0


def refused() -> Iterator[tuple[Any, str]]:
    yield pd.DataFrame({"p": pd.period_range("2026-01", periods=2, freq="M")}), r"p of the data frame.*to_timestamp\(\)"
    yield pd.DataFrame({"i": pd.interval_range(0, 2)}), r"column i of the data frame.*\.left and \.right"
    categories = pd.DataFrame({"p": pd.Categorical(pd.period_range("2026-01", periods=2, freq="M"))})
    yield categories, r"column p of the data frame has the type period.*to_timestamp\(\)"
    yield (
        pd.DataFrame({"i": pd.cut([1, 2], [0, 1, 2])}),
        r"column i of the data frame has the type interval.*astype\(str\)",
    )
    indexed = pd.DataFrame({"a": [1]}, index=pd.period_range("2026-01", periods=1, freq="M", name="month"))
    yield indexed, "column month of the data frame"
    yield pd.DataFrame(index=range(3)), "3 rows and no columns"
    yield pd.DataFrame({"id": [1]}, index=pd.Index([7], name="id")), "columns of the same name"
    yield pl.DataFrame({"o": pl.Series([1, "x"], dtype=pl.Object)}), r"column o .*Object.*frame.to_dicts\(\)"
    yield pl.DataFrame({"i": pl.Series([1], dtype=pl.Int128)}), "column i .*Int128.*cast it to pl.Int64"
    nested = pl.DataFrame({"s": pl.Series([[{"i": 1}]], dtype=pl.List(pl.Struct({"i": pl.Int128})))})
    yield nested, "column s .*Int128"


@pytest.mark.parametrize(
    ("frame", "message"), list(refused()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_frame_that_holds_no_rows_of_values_is_refused(frame: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        source_of(frame, FIVES)
    with pytest.raises(ConfigurationError, match=message):
        read(source_of([frame], FIVES))


def test_an_empty_frame_holds_no_rows() -> None:
    for frame in (pd.DataFrame(), objects(), pl.DataFrame()):
        assert read(source_of(frame, FIVES)) == []
