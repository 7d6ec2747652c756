"""Ranges of a key in PostgreSQL and MariaDB: every row is in one, whatever the database's order of the key is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.services.databases import MariaDb, Postgres
from zerobus_core import Handoff, IngestOptions, NewRows, SqlQuery, read_shard, split_source
from zerobus_core.handoffs import Owner
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_local import LocalZerobus

pytestmark = pytest.mark.service

QUERY = "SELECT * FROM orders"
N = 5


def numbers_of(query: SqlQuery, shard: dict[str, Any]) -> list[int]:
    """The numbers of the rows of a shard that went through JSON, as through a host's storage."""
    source = source_of(read_shard(query, json.loads(json.dumps(shard))), IngestOptions())
    return [row["number"] for chunk in source.chunks(RowRanges()) for row in chunk.rows]


def check_complete(query: SqlQuery, rows: int, nulls: int, **options: Any) -> list[int]:
    """Each row is in one shard, and rows with a NULL key are one more; returns the sizes of the others."""
    shards = split_source(query, N, by="id", **options)
    parts = [numbers_of(query, shard) for shard in shards]
    assert Counter(number for part in parts for number in part) == Counter(range(rows))
    assert [len(part) for part, shard in zip(parts, shards, strict=True) if shard["is_null"]] == [nulls] * bool(nulls)
    assert len(shards) <= N + bool(nulls)
    return [len(part) for part, shard in zip(parts, shards, strict=True) if not shard["is_null"]]


def quoted(word: str) -> str:
    """The word as a literal of SQL."""
    return "'" + word.replace("'", "''") + "'"


WORDS = [
    "a",
    "A",
    "ä",
    "Ä",
    "b",
    "B",
    "ß",
    "ss",
    "z",
    "Z",
    "a b",
    "a-b",
    "é",
    "e",
    "Ü%s{}'\"",
    "日本",
    "_",
    "0",
    "",
    " ",
]
# Type of the key, and the keys as SQL literals; NULL and doubles are among all of them.
POSTGRES = {
    "negative": ("bigint", [str(key) for key in [-(2**63), *range(-40, 40, 2), 2**63 - 1]]),
    "numeric": ("numeric", ["-1e30", *(f"{key}.{'0' * 30}1" for key in range(-20, 20)), "'NaN'", "'Infinity'"]),
    "double": ("double precision", ["'-Infinity'", *(f"{key}.1" for key in range(-20, 20)), "'Infinity'", "'NaN'"]),
    "collation": ('text COLLATE "de-x-icu"', [quoted(word) for word in WORDS]),
    "not_deterministic": ('text COLLATE "any_case"', [quoted(word) for word in WORDS]),
    "c": ('text COLLATE "C"', [quoted(word) for word in WORDS]),
    "uuid": ("uuid", [f"'{key * 0x1111:08x}-0000-4000-{(key * 7919) % 0xFFFF:04x}-000000000000'" for key in range(40)]),
    "timestamptz": (
        "timestamptz",
        [f"'2026-03-29 0{key % 4}:59:59.{key:06d}+0{key % 3}'" for key in range(40)],
    ),
    "date": ("date", [f"'2026-01-{key % 28 + 1:02d}'" for key in range(40)]),
    "bytea": ("bytea", [rf"'\x{key:02x}{255 - key:02x}'" for key in range(40)]),
}
MARIADB = {
    "negative": ("BIGINT", POSTGRES["negative"][1]),
    "decimal": ("DECIMAL(38, 9)", [f"{key}.000000001" for key in range(-20, 20)]),
    "double": ("DOUBLE", [f"{key}.1" for key in range(-20, 20)]),
    "any_case": ("VARCHAR(20) COLLATE utf8mb4_general_ci", [quoted(word) for word in WORDS]),
    "german": ("VARCHAR(20) COLLATE utf8mb4_german2_ci", [quoted(word) for word in WORDS]),
    "binary": ("VARCHAR(20) COLLATE utf8mb4_bin", [quoted(word) for word in WORDS]),
    "uuid": ("UUID", POSTGRES["uuid"][1]),
    "timestamp": ("DATETIME(6)", [f"'2026-03-29 0{key % 4}:59:59.{key:06d}'" for key in range(40)]),
    "date": ("DATE", POSTGRES["date"][1]),
    "varbinary": ("VARBINARY(10)", [f"X'{key:02x}{255 - key:02x}'" for key in range(40)]),
}


def statements(kind: str, keys: list[str]) -> tuple[list[str], int, int]:
    """What makes the table; how many rows it has, and how many of them have no key."""
    every = [*keys, "NULL", *keys[::3], "NULL"]
    values = ", ".join(f"({key}, {number})" for number, key in enumerate(every))
    create = f"CREATE TABLE orders (id {kind}, number BIGINT)"
    return [create, f"INSERT INTO orders VALUES {values}"], len(every), 2


@pytest.fixture
def postgres_query(postgres: Postgres) -> Callable[[str], tuple[SqlQuery, int, int]]:
    url = postgres.url(postgres.new_database())

    def made(name: str) -> tuple[SqlQuery, int, int]:
        made_by, rows, nulls = statements(*POSTGRES[name])
        collation = "CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        with psycopg.connect(url) as connection:
            for statement in (collation, *made_by):
                connection.execute(statement)
        return SqlQuery(lambda: psycopg.connect(url), QUERY), rows, nulls

    return made


@pytest.fixture
def mariadb_query(mariadb: MariaDb) -> Callable[[str], tuple[SqlQuery, int, int]]:
    database = mariadb.new_database()

    def made(name: str) -> tuple[SqlQuery, int, int]:
        made_by, rows, nulls = statements(*MARIADB[name])
        with mariadb.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute("SET NAMES utf8mb4")
            for statement in made_by:
                cursor.execute(statement)
            connection.commit()
        return SqlQuery(lambda: mariadb.connect(database), QUERY), rows, nulls

    return made


@pytest.mark.parametrize("name", POSTGRES)
def test_ranges_of_postgresql_are_disjoint_and_complete(
    name: str, postgres_query: Callable[[str], tuple[SqlQuery, int, int]]
) -> None:
    sizes = check_complete(*postgres_query(name))
    assert sum(map(bool, sizes)) >= 3, sizes


@pytest.mark.parametrize("name", MARIADB)
def test_ranges_of_mariadb_are_disjoint_and_complete(
    name: str, mariadb_query: Callable[[str], tuple[SqlQuery, int, int]]
) -> None:
    sizes = check_complete(*mariadb_query(name))
    assert sum(map(bool, sizes)) >= 3, sizes


def test_even_ranges_can_be_empty_and_lose_nothing(
    postgres_query: Callable[[str], tuple[SqlQuery, int, int]],
    mariadb_query: Callable[[str], tuple[SqlQuery, int, int]],
) -> None:
    for made in (postgres_query, mariadb_query):
        sizes = check_complete(*made("negative"), ranges="even")  # its keys lie at both ends and around 0
        assert 0 in sizes


@pytest.mark.parametrize("name", ["negative", "collation", "not_deterministic", "uuid", "timestamptz"])
def test_shards_of_a_slice_of_new_rows_are_disjoint_and_complete(
    name: str,
    postgres_query: Callable[[str], tuple[SqlQuery, int, int]],
    zerobus: LocalZerobus,
    table_name: str,
    tmp_path: Path,
) -> None:
    query, *_ = postgres_query(name)
    zerobus.create_table(f"CREATE TABLE {table_name} (number BIGINT)")
    source = NewRows(query.connect, "SELECT number, id FROM orders", column="id", key="number", commits_in_order=True)

    def handoff() -> Handoff:
        state = tmp_path / "s.json"
        return Handoff(
            zerobus.workspace, table_name, source, state=state, owner=Owner(key="run"), options={"drop": ["id"]}
        )

    shards = handoff().split(N)
    receipts = [handoff().deliver_shard(shard) for shard in json.loads(json.dumps(shards))]
    assert sum(receipt.rows_acked > 0 for receipt in receipts) >= 3
    handoff().finish_shards(receipts)
    with query.connect() as connection:
        expected = [number for (number,) in connection.execute("SELECT number FROM orders WHERE id IS NOT NULL")]
    assert Counter(zerobus.read(table_name).column("number").to_pylist()) == Counter(expected)
