from __future__ import annotations

import asyncio
import gc
import itertools
import sqlite3
import subprocess
import sys
import tempfile
import weakref
from collections import deque, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from zerobus_core.errors import ConfigurationError
from zerobus_core.options import IngestOptions
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_core.sources.rows.iterables import IterableSource

FIVES = IngestOptions(batch_rows=5)


def rows_of(count: int) -> list[dict[str, int]]:
    return [{"n": n} for n in range(count)]


def read(source: Any, skip: RowRanges | None = None) -> list[tuple[int, Any]]:
    return [
        (chunk.first_row + i, row) for chunk in source.chunks(skip or RowRanges()) for i, row in enumerate(chunk.rows)
    ]


@pytest.mark.parametrize("make", [rows_of, lambda n: iter(rows_of(n)), lambda n: (r for r in rows_of(n))])
def test_skipped_rows_are_left_out_and_the_others_keep_their_positions(make: Any) -> None:
    source = source_of(make(23), FIVES)
    assert read(source, RowRanges([(0, 3), (4, 12), (20, 23)])) == [(n, {"n": n}) for n in [3, *range(12, 20)]]


def test_no_chunk_is_larger_than_a_batch() -> None:
    sizes = [len(chunk.rows) for chunk in source_of((r for r in rows_of(12)), FIVES).chunks(RowRanges())]
    assert sizes == [5, 5, 2]


@pytest.mark.parametrize("durable", [[(0, 8)], [(0, 2), (7, 8)], [(1, 8)]])
def test_a_source_that_ends_before_the_durable_rows_is_an_error(durable: list[tuple[int, int]]) -> None:
    table = pa.Table.from_pylist(rows_of(5))
    for rows in (rows_of(5), (r for r in rows_of(5)), table, table.to_reader()):
        with pytest.raises(ConfigurationError, match=r"ended after 5 rows.*up to 8.*source_version"):
            read(source_of(rows, FIVES), RowRanges(durable))


def test_a_source_that_is_durable_to_its_last_row_yields_nothing() -> None:
    for rows in (rows_of(5), (r for r in rows_of(5))):
        assert read(source_of(rows, FIVES), RowRanges([(0, 5)])) == []


def test_an_ended_generator_is_refused() -> None:
    rows = (row for row in rows_of(2))
    list(rows)
    with pytest.raises(ConfigurationError, match="has already ended"):
        source_of(rows, FIVES)


def test_a_generator_that_an_earlier_delivery_began_is_refused() -> None:
    rows = (row for row in rows_of(20))
    next(source_of(rows, FIVES).chunks(RowRanges()))
    with pytest.raises(ConfigurationError, match="given to an earlier delivery"):
        source_of(rows, FIVES)


def test_a_generator_source_that_is_read_twice_says_so() -> None:
    source = source_of((row for row in rows_of(2)), FIVES)
    read(source)
    with pytest.raises(ConfigurationError, match="cannot start again"):
        read(source)


def test_an_iterable_that_can_start_again_is_read_twice() -> None:
    class Pages:
        def __iter__(self) -> Iterator[dict[str, int]]:
            yield from rows_of(3)

    source = source_of(Pages(), FIVES)
    assert read(source) == read(source) == [(n, {"n": n}) for n in range(3)]


def test_iterables_have_a_fingerprint_only_where_the_user_vouches_for_one() -> None:
    assert source_of(iter(rows_of(2)), FIVES).fingerprint is None
    one, same, other = (
        source_of(iter(rows_of(2)), IngestOptions(source_version=version)).fingerprint for version in ("a", "a", "b")
    )
    assert one == same != other
    assert one != "a"


async def _coroutine() -> list[dict[str, int]]:
    return []


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "None.*return nothing"),
        (7, "type builtins.int"),
        ({"a": 1}, r"one record; pass a list of records: \[record\]"),
        (Point(1), r"one Point; pass a list"),
        ({1, 2}, "set, whose order"),
        (["a", "b"], "first record is the text 'a'"),
        ([[1, 2]], "the first record is a list of values without names"),
        (b"abc", "type builtins.bytes"),
    ],
)
def test_what_is_no_source_is_refused_with_what_to_pass_instead(value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        source_of(value, FIVES)


def test_a_generator_of_what_is_no_record_is_refused_when_it_is_read() -> None:
    with pytest.raises(ConfigurationError, match=r"first record is of type builtins\.int"):
        read(source_of((n for n in range(3)), FIVES))


def test_a_coroutine_is_refused() -> None:
    pending = _coroutine()
    try:
        with pytest.raises(ConfigurationError, match="await it first"):
            source_of(pending, FIVES)
    finally:
        asyncio.run(pending)


def test_records_of_every_kind_are_taken(open_sqlite: Callable[[], sqlite3.Connection]) -> None:
    connection = open_sqlite()
    connection.row_factory = sqlite3.Row
    rows = connection.execute("SELECT 1 AS x").fetchall()
    for record in (Point(1), namedtuple("P", "x")(1), rows[0], MappingProxyType({"x": 1})):
        assert read(source_of([record], FIVES)) == [(0, record)]
        assert read(source_of(iter([record]), FIVES)) == [(0, record)]


def test_without_pyarrow_it_is_said_what_to_install() -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from zerobus_core import IngestOptions\n"
        "from zerobus_core.sources import source_of\n"
        "source_of(sys.argv[1], IngestOptions())"
    )
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        command = [sys.executable, "-c", code, file.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert f"reading {file.name} needs pyarrow: pip install 'zerobus-orchestration[arrow]'" in done.stderr


def test_a_slow_iterable_yields_what_it_has_after_a_second() -> None:
    now = 0.0

    def slow() -> Iterator[dict[str, int]]:
        nonlocal now
        for row in rows_of(7):
            now += 0.4
            yield row

    source = IterableSource(slow, IngestOptions(), clock=lambda: now)
    assert [len(chunk.rows) for chunk in source.chunks(RowRanges())] == [4, 3]


class Tuple(NamedTuple):
    id: int


@dataclass
class Record:
    id: int = 0


@dataclass(frozen=True)
class FrozenRecord:
    id: int = 0


def one_dict() -> Iterator[Any]:
    row = {}
    for n in range(20):
        row["id"] = n
        yield row


def one_dataclass() -> Iterator[Any]:
    row = Record()
    for n in range(20):
        row.id = n
        yield row


def two_dicts_in_turn() -> Iterator[Any]:
    rows = [{"id": 0}, {"id": 0}]
    for n in range(20):
        rows[n % 2]["id"] = n
        yield rows[n % 2]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (one_dict, "the same dict was yielded for rows 3 and 4"),
        (one_dataclass, "the same Record was yielded for rows 3 and 4"),
        (two_dicts_in_turn, "the same dict was yielded for rows 3 and 5"),
    ],
)
def test_an_object_that_is_yielded_again_is_refused(rows: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read(source_of(rows(), FIVES), RowRanges([(0, 3)]))


@pytest.mark.parametrize("row", [Tuple(1), FrozenRecord(1)])
def test_an_object_that_cannot_change_may_be_yielded_again(row: Any) -> None:
    assert read(source_of(itertools.repeat(row, 12), FIVES)) == list(enumerate([row] * 12))


def test_what_is_no_record_may_come_again_and_is_told_as_such() -> None:
    rows = [{"id": 1}, None, None, "text", "text", 5, 5]
    assert read(source_of(iter(rows), FIVES)) == list(enumerate(rows))


def test_a_list_may_hold_one_object_many_times() -> None:
    row = {"id": 1}
    assert read(source_of([row] * 12, FIVES)) == list(enumerate([row] * 12))


@pytest.mark.parametrize("make", [lambda row: deque([row] * 3), lambda row: {1: row, 2: row, 3: row}.values()])
def test_a_container_may_hold_one_object_many_times_and_is_let_go(make: Any) -> None:
    row = {"id": 1}
    records = make(row)
    for _ in range(2):
        assert [len(chunk.rows) for chunk in source_of(records, IngestOptions()).chunks(RowRanges())] == [3]
    if isinstance(records, deque):
        watched = weakref.ref(records)
        del records
        gc.collect()
        assert watched() is None
