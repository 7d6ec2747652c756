"""Iterables whose first item was looked at: none of it is lost, and none is delivered without its beginning."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from zerobus_core import IngestOptions, StreamManager, ingest
from zerobus_core.errors import ConfigurationError, RecordError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_core.sources.rows import iterables
from zerobus_core.sources.rows.iterables import OneShotIterable
from zerobus_local import LocalZerobus

FIVES = IngestOptions(batch_rows=5)
ROWS = [{"n": n} for n in range(23)]


class Feed:
    """The usual wrapper around what can be read once: a file, a session, a queue."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        yield from self._items


class Handed:
    """Hands out the same iterator whenever it is asked."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return self._items


def numbers(source: Any) -> list[int]:
    found: list[int] = []
    for chunk in source.chunks(RowRanges()):
        rows = chunk.rows if isinstance(chunk.rows, list) else chunk.rows.to_pylist()
        assert chunk.first_row == len(found)
        found += [row["n"] for row in rows]
    return found


@pytest.mark.parametrize("wrapper", [Feed, Handed])
def test_the_first_row_of_an_iterable_that_reads_what_is_read_once_is_not_lost(wrapper: Any) -> None:
    lines = io.StringIO("".join(json.dumps(row) + "\n" for row in ROWS))
    assert numbers(source_of(wrapper(map(json.loads, lines)), FIVES)) == list(range(23))


@pytest.mark.parametrize("wrapper", [Feed, Handed])
def test_the_first_batch_of_an_iterable_that_reads_what_is_read_once_is_not_lost(wrapper: Any) -> None:
    table = pa.Table.from_pylist(ROWS)
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=6))
    assert numbers(source_of(wrapper(reader), FIVES)) == list(range(23))


def test_every_row_of_such_an_iterable_arrives(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (n INT)")
    receipt = ingest(zerobus.workspace, table_name, Feed(iter(ROWS)))
    assert receipt.rows_read == 23
    assert sorted(zerobus.read(table_name)["n"].to_pylist()) == list(range(23))


ONCE: dict[str, Callable[[], Any]] = {
    "generator": lambda: (row for row in ROWS),
    "map": lambda: map(dict, ROWS),
    "filter": lambda: filter(None, ROWS),
    "chain": lambda: itertools.chain(ROWS[:5], ROWS[5:]),
    "islice": lambda: itertools.islice(ROWS, 20),
    "starmap": lambda: itertools.starmap(dict, ((row,) for row in ROWS)),
    "list iterator": lambda: iter(ROWS),
    "dict values iterator": lambda: iter(dict(enumerate(ROWS)).values()),
    "handed": lambda: Handed(map(dict, ROWS)),
}


@pytest.mark.parametrize("kind", ONCE)
@pytest.mark.parametrize("others", [0, 200])
def test_an_iterator_that_an_earlier_delivery_began_is_refused(kind: str, others: int) -> None:
    rows = ONCE[kind]()
    next(source_of(rows, FIVES).chunks(RowRanges()))
    for _ in range(others):
        source_of(ONCE[kind](), FIVES)
    with pytest.raises(ConfigurationError, match="given to an earlier delivery"):
        source_of(rows, FIVES)


def test_iterators_that_can_no_longer_be_recognised_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iterables, "_MOST_UNFINISHED", 3)
    monkeypatch.setattr(OneShotIterable, "_unfinished", {})
    given = [map(dict, ROWS) for _ in range(3)]
    for rows in given:
        source_of(rows, FIVES)
    with pytest.raises(ConfigurationError, match=r"pass a generator expression instead: \(row for row in records\)"):
        source_of(map(dict, ROWS), FIVES)
    assert numbers(source_of((row for row in map(dict, ROWS)), FIVES)) == list(range(23))
    with pytest.raises(ConfigurationError, match="given to an earlier delivery"):
        source_of(given[0], FIVES)


def test_iterators_of_deliveries_that_succeeded_are_not_kept_for_ever(
    zerobus: LocalZerobus, table_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OneShotIterable, "_unfinished", unfinished := {})
    zerobus.create_table(f"CREATE TABLE {table_name} (n INT)")
    ingest(zerobus.workspace, table_name, map(dict, ROWS))
    with StreamManager(zerobus.workspace, table_name) as streams:
        streams.send(map(dict, ROWS))
    assert not unfinished
    with pytest.raises(RecordError):
        ingest(zerobus.workspace, table_name, failed := map(dict, [{"n": 1}, {"n": "x"}]))
    assert list(unfinished.values()) == [failed]


def test_an_iterator_of_the_same_address_as_one_that_is_gone_is_not_refused() -> None:
    for _ in range(1_000):
        source_of(map(dict, ROWS[:1]), FIVES)
        source_of((row for row in ROWS[:1]), FIVES)


@pytest.mark.parametrize("make", [lambda: Handed(map(dict, ROWS)), lambda: map(dict, ROWS)])
def test_what_cannot_start_again_says_so_when_it_is_read_twice(make: Any) -> None:
    source = source_of(make(), FIVES)
    numbers(source)
    with pytest.raises(ConfigurationError, match="cannot start again"):
        numbers(source)


def test_a_dictionarys_values_can_be_given_twice() -> None:
    rows = dict(enumerate(ROWS)).values()
    assert numbers(source_of(rows, FIVES)) == numbers(source_of(rows, FIVES)) == list(range(23))
