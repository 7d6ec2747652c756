"""Shards of a query: ranges of a key that hold every row once, whatever the key is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fast import examples
from zerobus_core import ConfigurationError, IngestOptions, SqlQuery, ingest, merge_receipts, read_shard, split_source
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_local import LocalZerobus

QUERY = "SELECT * FROM orders -- all of them"


def rows_of(query: SqlQuery, shard: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a shard that went through JSON, as through a host's storage."""
    source = source_of(read_shard(query, json.loads(json.dumps(shard))), IngestOptions())
    return [row for chunk in source.chunks(RowRanges()) for row in chunk.rows]


def sqlite(path: Path, keys: list[Any], kind: str = "") -> SqlQuery:
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE IF EXISTS orders")
    connection.execute(f"CREATE TABLE orders (id {kind}, number INTEGER)")
    connection.executemany("INSERT INTO orders VALUES (?, ?)", [(key, number) for number, key in enumerate(keys)])
    connection.commit()
    connection.close()
    return SqlQuery(lambda: sqlite3.connect(path), QUERY)


KEYS = st.one_of(
    st.lists(st.none() | st.integers(-5, 5), max_size=40),
    st.lists(st.none() | st.integers(-(2**62), 2**62), max_size=40),
    st.lists(st.none() | st.text("abß\U0001f600%{}' ", max_size=4), max_size=40),
    st.lists(st.none() | st.floats(allow_nan=False), max_size=40),
    st.lists(st.none() | st.binary(max_size=3), max_size=40),
)


@settings(max_examples=examples(150), deadline=None)
@given(KEYS, st.integers(1, 9), st.booleans())
def test_ranges_are_disjoint_and_complete_for_keys_of_any_kind(
    tmp_path_factory: pytest.TempPathFactory, keys: list[Any], n: int, is_even: bool
) -> None:
    query = sqlite(tmp_path_factory.getbasetemp() / "property.db", keys)
    is_divisible = all(isinstance(key, int | float | None) and abs(key or 0) < float("inf") for key in keys)
    shards = split_source(query, n, by="id", ranges="even" if is_even and is_divisible else "quantiles")
    numbers = [row["number"] for shard in shards for row in rows_of(query, shard)]
    assert sorted(numbers) == list(range(len(keys)))
    assert len(shards) <= n + (None in keys)
    assert [shard["is_null"] for shard in shards].count(True) == (None in keys)
    assert len({shard["fingerprint"] for shard in shards}) == len(shards)


@pytest.mark.parametrize(
    "make",
    [
        lambda number: date(2026, 1, 1) + timedelta(days=number % 50),
        lambda number: datetime(2026, 1, 1, 12) + timedelta(seconds=number * 7.000001),
        lambda number: number * 1.25 if number % 10 else float("nan"),
        lambda number: f"key {number % 17}",
        lambda number: None if number % 3 else number,
    ],
)
def test_keys_of_duckdb_are_split_without_a_gap_or_an_overlap(tmp_path: Path, make: Callable[[int], Any]) -> None:
    path = str(tmp_path / "orders.duckdb")
    kind = {date: "DATE", datetime: "TIMESTAMP", float: "DOUBLE", str: "VARCHAR"}.get(type(make(1)), "BIGINT")
    with duckdb.connect(path) as connection:
        connection.execute(f"CREATE TABLE orders (id {kind}, number BIGINT)")
        connection.executemany("INSERT INTO orders VALUES (?, ?)", [[make(row), row] for row in range(200)])
    query = SqlQuery(lambda: duckdb.connect(path), QUERY)
    shards = split_source(query, 6, by="ID")
    parts = [[row["number"] for row in rows_of(query, shard)] for shard in shards]
    assert sorted(number for part in parts for number in part) == list(range(200))
    assert len(shards) >= 6


def test_quantiles_balance_skewed_keys_and_even_ranges_do_not(tmp_path: Path) -> None:
    query = sqlite(tmp_path / "skewed.db", [number**4 for number in range(1_000)])
    quantiles = [len(rows_of(query, shard)) for shard in split_source(query, 8, by="id")]
    assert max(quantiles) <= 1.2 * 125
    even = [len(rows_of(query, shard)) for shard in split_source(query, 8, by="id", ranges="even")]
    assert sum(even) == 1_000
    assert max(even) > 500


@pytest.mark.parametrize(
    ("kind", "keys", "message"),
    [
        ("TEXT", ["a", "b"], "divides .*values of the key are of type str"),
        ("REAL", [1.0, float("inf")], "but they are 1.0 and inf"),
    ],
)
def test_even_ranges_of_a_key_that_cannot_be_divided_are_refused(
    kind: str, keys: list[Any], message: str, tmp_path: Path
) -> None:
    query = sqlite(tmp_path / "keys.db", keys, kind)
    with pytest.raises(ConfigurationError, match=f'ranges="even" .*{message}; use ranges="quantiles"'):
        split_source(query, 2, by="id", ranges="even")


def test_the_ends_are_open_for_rows_that_come_after_the_split(tmp_path: Path) -> None:
    query = sqlite(tmp_path / "open.db", list(range(10, 20)))
    shards = split_source(query, 3, by="id")
    connection = query.connect()
    connection.execute("INSERT INTO orders VALUES (-5, 98), (500, 99)")
    connection.commit()
    connection.close()
    assert rows_of(query, shards[0])[0]["number"] == 98
    assert rows_of(query, shards[-1])[-1]["number"] == 99


def test_a_query_without_rows_has_no_shards(tmp_path: Path) -> None:
    assert split_source(sqlite(tmp_path / "empty.db", []), 4, by="id") == []


def test_a_shard_is_small_and_holds_neither_the_query_nor_a_connection(tmp_path: Path) -> None:
    query = sqlite(tmp_path / "secret.db", list(range(100)))
    for shard in split_source(query, 4, by="id"):
        text = json.dumps(shard)
        assert len(text) < 500
        assert "SELECT" not in text
        assert "secret.db" not in text


def test_shards_of_a_query_are_delivered_and_a_retry_resumes(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, number BIGINT NOT NULL)")
    query = sqlite(tmp_path / "delivered.db", [None if row % 9 == 0 else row for row in range(900)])
    shards = split_source(query, 3, by="id")
    receipts = []
    for shard in shards:
        checkpoint = tmp_path / f"{shard['index']}.json"
        receipts.append(ingest(zerobus.workspace, table_name, read_shard(query, shard), checkpoint=checkpoint))
        again = ingest(zerobus.workspace, table_name, read_shard(query, shard), checkpoint=checkpoint)
        # Rows without a key have no order to resume by, so a retry of theirs sends them again.
        assert again.rows_acked == (100 if shard["is_null"] else 0)
    merged = merge_receipts(receipts)
    assert (merged.rows_acked, merged.shards) == (900, 4)
    numbers = zerobus.read(table_name).column("number").to_pylist()
    assert sorted(set(numbers)) == list(range(900))
    assert len(numbers) == 1_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, 'by="id"'),
        ({"by": "nothing"}, "has 'id', 'number'"),
        ({"by": "id", "ranges": "odd"}, "must be"),
        ({"by": "id", "ranges": "even"}, "quantiles"),
    ],
)
def test_a_split_that_cannot_be_made_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    query = sqlite(tmp_path / "refused.db", ["a", "b", "c"])
    with pytest.raises(ConfigurationError, match=message):
        split_source(query, 2, **options)


def test_keys_that_are_too_long_for_a_shard_are_refused(tmp_path: Path) -> None:
    query = sqlite(tmp_path / "long.db", ["a" * 400, "b" * 400, "c" * 400])
    with pytest.raises(ConfigurationError, match="split by another column"):
        split_source(query, 3, by="id")


def test_a_shard_is_refused_without_its_query_and_with_another_one(tmp_path: Path) -> None:
    query = sqlite(tmp_path / "other.db", [1, 2, 3])
    shard = split_source(query, 2, by="id")[0]
    with pytest.raises(ConfigurationError, match=r"read_shard\(SqlQuery"):
        source_of(shard, IngestOptions())
    with pytest.raises(ConfigurationError, match="not the one that was split"):
        read_shard(SqlQuery(query.connect, "SELECT id FROM orders"), shard)
    with pytest.raises(ConfigurationError, match="a shard of|the shard belongs to a SqlQuery"):
        read_shard(str(tmp_path), shard)
    with pytest.raises(ConfigurationError, match=r"pass read_shard\(query, shard\)"):
        source_of(query, IngestOptions())
