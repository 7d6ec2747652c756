"""One column of each type of PostgreSQL, MariaDB and DuckDB, by query into a matching table: each cell compared."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import psycopg
import psycopg2
import psycopg2.extras
import pytest

from tests.services.databases import MariaDb, Postgres
from zerobus_core import IngestOptions, RecordError, ingest
from zerobus_core.hosting import CursorThread, execute_on_server
from zerobus_local import LocalZerobus

UTC = dt.UTC
ID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
AT = dt.datetime(2026, 3, 29, 1, 30, 0, 123456)


def connect_by_hook(url: str) -> Any:
    """Airflow's connection, as its PostgresHook opens it."""
    from airflow.providers.postgres.hooks.postgres import PostgresHook
    from airflow.sdk import Connection

    at = urlsplit(url)
    connection = Connection(
        conn_id="postgres",
        conn_type="postgres",
        host=at.hostname,
        port=at.port,
        login=at.username,
        password=at.password,
        schema=at.path.strip("/"),
    )
    return PostgresHook(connection=connection).get_conn()


@contextmanager
def cursor_of(way: str, url: str, query: str) -> Iterator[Any]:
    driver, _, kind = way.partition(" ")
    connect: Callable[[str], Any] = {"psycopg": psycopg.connect, "psycopg2": psycopg2.connect}.get(
        driver, connect_by_hook
    )
    if kind == "of an operator":
        execute = lambda connection: execute_on_server(connection, query, as_text=True)  # noqa: E731
        with CursorThread(lambda: connect(url), execute, name="test") as cursor:
            yield cursor
        return
    connection = connect(url)
    try:
        named = {"name": "rows"} if kind == "named" else {}
        factory = {"cursor_factory": psycopg2.extras.RealDictCursor} if kind == "of dicts" else {}
        with connection.cursor(**named, **factory) as cursor:
            cursor.execute(query)
            if driver == "psycopg2" and named:
                cursor.fetchmany(0)
            yield cursor
    finally:
        connection.close()


WAYS = [
    "psycopg", "psycopg named", "psycopg of an operator",
    "psycopg2", "psycopg2 named", "psycopg2 of dicts", "psycopg2 of an operator",
    "PostgresHook of an operator",
]  # fmt: skip


class Json(str):
    """A text that has to be this JSON, with all digits."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and parsed(self) == parsed(other)

    __hash__ = str.__hash__


def parsed(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


# An expression of PostgreSQL, the column's type, and what arrives.
POSTGRES: list[tuple[str, str, Any]] = [
    ("(-32768)::smallint", "SMALLINT", -32768),
    ("2147483647::integer", "INT", 2147483647),
    ("9223372036854775807::bigint", "BIGINT", 9223372036854775807),
    ("12345678901234.567891::numeric(20,6)", "DECIMAL(20,6)", Decimal("12345678901234.567891")),
    ("0.1::real", "FLOAT", 0.10000000149011612),
    ("0.1::double precision", "DOUBLE", 0.1),
    ("true", "BOOLEAN", True),
    ("'é'::text", "STRING", "é"),
    ("'abc'::varchar(5)", "VARCHAR(5)", "abc"),
    ("'abc'::char(5)", "CHAR(5)", "abc  "),
    ("'name'::name", "STRING", "name"),
    ("'a'::\"char\"", "STRING", "a"),
    ("'\\x00ff'::bytea", "BINARY", b"\x00\xff"),
    ("DATE '2026-03-29'", "DATE", dt.date(2026, 3, 29)),
    ("TIMESTAMP '2026-03-29 01:30:00.123456'", "TIMESTAMP_NTZ", AT),
    ("TIMESTAMPTZ '2026-03-29 01:30:00.123456+00'", "TIMESTAMP", AT.replace(tzinfo=UTC)),
    (f"'{ID}'::uuid", "STRING", ID),
    (f"'{ID}'::uuid", "VARIANT", Json(f'"{ID}"')),
    (f"ARRAY['{ID}'::uuid, NULL]", "STRING", Json(f'["{ID}", null]')),
    (f"ARRAY['{ID}'::uuid]", "VARIANT", Json(f'["{ID}"]')),
    (f"ARRAY['{ID}'::uuid]", "ARRAY<STRING>", [ID]),
    ("""'{"b": [1, null, "x"], "a": true}'::jsonb""", "VARIANT", Json('{"b": [1, null, "x"], "a": true}')),
    ("""'{"b": [1, null, "x"], "a": true}'::jsonb""", "STRING", Json('{"b": [1, null, "x"], "a": true}')),
    ("""'{"n": 1, "d": 0.5}'::jsonb""", "STRUCT<n: BIGINT, d: DOUBLE>", {"n": 1, "d": 0.5}),
    ("""'{"k": 1}'::jsonb""", "MAP<STRING, INT>", [("k", 1)]),
    ("'[1, 2]'::json", "ARRAY<BIGINT>", [1, 2]),
    ("'[1, 2]'::json", "VARIANT", Json("[1, 2]")),
    ("'\"text\"'::jsonb", "VARIANT", Json('"text"')),
    ("'\"text\"'::jsonb", "STRING", Json('"text"')),
    ("ARRAY['{\"a\": 1}'::jsonb, '\"x\"'::jsonb]", "VARIANT", Json('[{"a": 1}, "x"]')),
    ("ARRAY['{\"a\": 1}'::jsonb]", "STRING", Json('[{"a": 1}]')),
    ("ARRAY['{\"a\": 1}'::jsonb]", "ARRAY<STRUCT<a: INT>>", [{"a": 1}]),
    ("ARRAY[1, NULL, 3]", "VARIANT", Json("[1, null, 3]")),
    ("ARRAY[[1, 2], [3, 4]]", "STRING", Json("[[1, 2], [3, 4]]")),
    ("ARRAY[[1, 2], [3, 4]]", "VARIANT", Json("[[1, 2], [3, 4]]")),
    ("ARRAY[1, 3]::bigint[]", "ARRAY<BIGINT>", [1, 3]),
    ("ARRAY[1.10, 2]::numeric[]", "STRING", Json("[1.10, 2]")),
    ("ARRAY[1.10, 2]::numeric[]", "ARRAY<DECIMAL(9,2)>", [Decimal("1.10"), Decimal("2.00")]),
    ("ARRAY['a', 'b,\"c\"']::text[]", "ARRAY<STRING>", ["a", 'b,"c"']),
    ("ARRAY['a', 'b,\"c\"']::varchar[]", "STRING", Json('["a", "b,\\"c\\""]')),
    ("ARRAY[true, false]", "STRING", Json("[true, false]")),
    ("ARRAY[DATE '2026-03-29']", "VARIANT", Json('["2026-03-29"]')),
    ("ARRAY[TIMESTAMP '2026-03-29 01:30:00']", "STRING", Json('["2026-03-29T01:30:00"]')),
    ("ARRAY[]::int[]", "STRING", Json("[]")),
    ("B'1'::bit(1)", "BOOLEAN", True),
    ("B'0'::bit(1)", "BOOLEAN", False),
    ("B'101'::bit(3)", "STRING", "101"),
    ("B'101'::varbit", "STRING", "101"),
    ("'<a/>'::xml", "STRING", "<a/>"),
    ("'(1,2)'::point", "STRING", "(1,2)"),
    ("'a b'::tsvector", "STRING", "'a' 'b'"),
    ("'$1.50'::money", "STRING", "$1.50"),
    ("'08:00:2b:01:02:03'::macaddr", "STRING", "08:00:2b:01:02:03"),
    ("5::oid", "BIGINT", 5),
    ("'sad'::mood", "STRING", "sad"),
    *[(f"NULL::{kind}", "VARIANT", None) for kind in ("jsonb", "interval", "uuid", "int[]", "jsonb[]")],
    *[(f"NULL::{kind}", "STRING", None) for kind in ("jsonb", "interval", "uuid", "int[]", "jsonb[]")],
]
# Of those that read text: months, digits and null that the driver's own values do not have.
POSTGRES_EXACT: list[tuple[str, str, Any]] = [
    ("INTERVAL '3 days 02:03:04.5'", "STRING", "3 days 02:03:04.5"),
    ("INTERVAL '1 day'", "VARIANT", Json('"1 day"')),
    ("INTERVAL '-02:00:00'", "STRING", "-02:00:00"),
    ("ARRAY[INTERVAL '02:03:04']", "VARIANT", Json('["02:03:04"]')),
    ("ARRAY[INTERVAL '02:03:04']", "STRING", Json('["02:03:04"]')),
    ("INTERVAL '1 mon -29 days'", "STRING", "1 mon -29 days"),
    ("INTERVAL '1 year 2 mons 3 days'", "STRING", "1 year 2 mons 3 days"),
    ("INTERVAL '40 days'", "VARIANT", Json('"40 days"')),
    ("ARRAY[INTERVAL '1 mon']", "ARRAY<STRING>", ["1 mon"]),
    ("'0.12345678901234567890123'::jsonb", "VARIANT", Json("0.12345678901234567890123")),
    ("'{\"a\": 1.10}'::json", "STRING", '{"a": 1.10}'),
    ("'null'::jsonb", "VARIANT", Json("null")),
    ("'null'::jsonb", "STRING", "null"),
]
# What the column's type cannot hold: the expression, the type, and what the error says.
POSTGRES_REFUSED: list[tuple[str, str, str]] = [
    ("TIME '01:02:03'", "STRING", "pass str"),
    ("TIMETZ '01:02:03+02'", "STRING", "pass str"),
    ("'[1,5)'::int4range", "BIGINT", "field c"),
    ("1.5::double precision", "DECIMAL(9,2)", "set round_floats=True"),
    ("1", "BOOLEAN", "set numeric_booleans=True"),
    ("'{\"a\": 1}'::jsonb", "BIGINT", "field c"),
    ("ARRAY['\\x00'::bytea]", "STRING", "base64"),
    ("INTERVAL '1 day'", "BIGINT", "field c"),
    ("'NaN'::numeric", "DECIMAL(9,2)", "not a finite number"),
    ("'infinity'::numeric", "DECIMAL(9,2)", "not a finite number"),
]


def of_query(cells: list[tuple[str, str, Any]]) -> tuple[str, str, list[Any]]:
    """The query, the columns of the table, and the row that arrives."""
    query = "SELECT " + ", ".join(f"{cell[0]} AS c{number}" for number, cell in enumerate(cells))
    return query, ", ".join(f"c{number} {cell[1]}" for number, cell in enumerate(cells)), [cell[2] for cell in cells]


def check_row(server: LocalZerobus, table: str, cells: list[tuple[str, str, Any]]) -> None:
    (row,) = server.read(table).to_pylist()
    wrong = [
        f"{expression} into {kind}: {found!r}, not {right!r}"
        for (expression, kind, right), found in zip(cells, row.values(), strict=True)
        if not (found == right or right == found) or isinstance(found, bool) != isinstance(right, bool)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="module")
def postgres_url(postgres: Postgres) -> str:
    url = postgres.url(postgres.new_database())
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    return url


@pytest.mark.parametrize("way", WAYS)
def test_each_type_of_postgres_arrives_by_a_query_without_casts(
    postgres_url: str, zerobus: LocalZerobus, table_name: str, way: str
) -> None:
    cells = [*POSTGRES, *(POSTGRES_EXACT if way.endswith("operator") else [])]
    query, columns, _ = of_query(cells)
    zerobus.create_table(f"CREATE TABLE {table_name} ({columns})")
    with cursor_of(way, postgres_url, query) as cursor:
        receipt = ingest(zerobus.workspace, table_name, cursor)
    assert receipt.rows_acked == 1
    check_row(zerobus, table_name, cells)


@pytest.mark.parametrize("way", ["psycopg", "psycopg2 of an operator"])
def test_a_type_of_postgres_that_the_column_cannot_hold_is_refused_with_a_remedy(
    postgres_url: str, zerobus: LocalZerobus, table_name: str, way: str
) -> None:
    for number, (expression, kind, reason) in enumerate(POSTGRES_REFUSED):
        table = f"{table_name}_{number}"
        zerobus.create_table(f"CREATE TABLE {table} (c {kind})")
        with cursor_of(way, postgres_url, f"SELECT {expression} AS c") as cursor, pytest.raises(RecordError) as caught:
            ingest(zerobus.workspace, table, cursor)
        assert "row 0, field c:" in str(caught.value), expression
        assert reason in str(caught.value), expression


@pytest.mark.parametrize("interval", ["1 mon", "1 mon -29 days", "1 day"])
@pytest.mark.parametrize("way", ["psycopg", "psycopg named", "psycopg2"])
def test_an_interval_that_the_driver_may_have_made_of_months_is_refused_with_the_way_out(
    postgres_url: str, zerobus: LocalZerobus, table_name: str, way: str, interval: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (c STRING)")
    with (
        cursor_of(way, postgres_url, f"SELECT INTERVAL '{interval}' AS c") as cursor,
        pytest.raises(RecordError, match=r"field c: .*register_loader"),
    ):
        ingest(zerobus.workspace, table_name, cursor)
    with psycopg.connect(postgres_url) as connection, connection.cursor() as cursor:
        cursor.adapters.register_loader("interval", psycopg.types.string.TextLoader)
        cursor.execute(f"SELECT INTERVAL '{interval}' AS c")  # type: ignore[arg-type]
        ingest(zerobus.workspace, table_name, cursor)
    assert zerobus.read(table_name)["c"].to_pylist() == [interval]


def test_json_that_the_user_reads_as_text_is_its_value(
    postgres_url: str, zerobus: LocalZerobus, table_name: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (v VARIANT, t STRING)")
    query = "SELECT '{\"a\": 1.10}'::jsonb AS v, '\"x\"'::jsonb AS t"
    connection = psycopg2.connect(postgres_url)
    psycopg2.extras.register_default_jsonb(connection, loads=lambda text: text)
    with connection.cursor() as cursor:
        cursor.execute(query)
        ingest(zerobus.workspace, table_name, cursor)
    connection.close()
    assert zerobus.read(table_name).to_pylist() == [{"v": Json('{"a": 1.10}'), "t": '"x"'}]


def test_a_key_twice_in_json_is_a_bad_row_of_the_text(
    postgres_url: str, zerobus: LocalZerobus, table_name: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (v VARIANT)")
    query = 'SELECT \'{"a": 1, "a": 2}\'::json AS v'
    with (
        cursor_of("psycopg of an operator", postgres_url, query) as cursor,
        pytest.raises(RecordError, match="field v: has the same key twice"),
    ):
        ingest(zerobus.workspace, table_name, cursor)


def test_a_renamed_column_keeps_its_type(postgres_url: str, zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (doc STRING)")
    with cursor_of("psycopg of an operator", postgres_url, "SELECT '[1]'::jsonb AS d, 1 AS other") as cursor:
        ingest(zerobus.workspace, table_name, cursor, options={"rename": {"d": "doc"}, "drop": ["other"]})
    with cursor_of("psycopg", postgres_url, "SELECT '[2]'::jsonb AS d") as cursor:
        ingest(zerobus.workspace, table_name, cursor, options={"rename": {"d": "doc"}})
    assert sorted(zerobus.read(table_name)["doc"].to_pylist()) == ["[1]", "[2]"]


MARIADB: list[tuple[str, str, str, Any]] = [
    ("tinyint", "-128", "TINYINT", -128),
    ("tinyint(1)", "1", "BOOLEAN", True),
    ("boolean", "0", "BOOLEAN", False),
    ("tinyint(1)", "1", "INT", 1),
    ("bit(1)", "b'1'", "BOOLEAN", True),
    ("bit(1)", "b'0'", "BOOLEAN", False),
    ("bit(12)", "b'101010101010'", "INT", 0b101010101010),
    ("bit(12)", "b'101010101010'", "BINARY", b"\x0a\xaa"),
    ("smallint", "-32768", "SMALLINT", -32768),
    ("mediumint", "8388607", "INT", 8388607),
    ("int", "-2147483648", "INT", -2147483648),
    ("bigint", "9223372036854775807", "BIGINT", 9223372036854775807),
    ("bigint unsigned", "18446744073709551615", "DECIMAL(20,0)", Decimal("18446744073709551615")),
    ("decimal(20,6)", "'12345678901234.567891'", "DECIMAL(20,6)", Decimal("12345678901234.567891")),
    ("float", "0.5", "FLOAT", 0.5),
    ("double", "0.1", "DOUBLE", 0.1),
    ("char(5)", "'abc'", "CHAR(5)", "abc"),
    ("varchar(5)", "'é'", "VARCHAR(5)", "é"),
    ("text", "'é'", "STRING", "é"),
    ("enum('a', 'b')", "'b'", "STRING", "b"),
    ("set('a', 'b')", "'a,b'", "STRING", "a,b"),
    ("binary(2)", "x'00ff'", "BINARY", b"\x00\xff"),
    ("varbinary(5)", "x'00ff'", "BINARY", b"\x00\xff"),
    ("blob", "x'00ff'", "BINARY", b"\x00\xff"),
    ("date", "'2026-03-29'", "DATE", dt.date(2026, 3, 29)),
    ("datetime(6)", "'2026-03-29 01:30:00.123456'", "TIMESTAMP_NTZ", AT),
    ("timestamp(6)", "'2026-03-29 01:30:00.123456'", "TIMESTAMP", AT.replace(tzinfo=UTC)),
    ("year", "2026", "INT", 2026),
    ("uuid", f"'{ID}'", "STRING", ID),
    ("inet6", "'::1'", "STRING", "::1"),
    ("json", "'{\"a\": [1]}'", "STRING", '{"a": [1]}'),
]  # fmt: skip
MARIADB_REFUSED = [
    ("tinyint", "1", "BOOLEAN", "set numeric_booleans=True"),
    ("tinyint(1)", "2", "BOOLEAN", "numeric_booleans"),
    ("time(6)", "'100:02:03.5'", "STRING", "pass str"),
    ("double", "0.5", "DECIMAL(9,2)", "set round_floats=True"),
    ("bigint unsigned", "18446744073709551615", "BIGINT", "out of range"),
    ("json", "'{\"a\": [1]}'", "STRUCT<a: ARRAY<INT>>", "parse_json=True"),
]


def mariadb_cursor(connection: Any, cells: list[tuple[str, str, str, Any]]) -> Any:
    columns = ", ".join(f"c{number} {cell[0]} NULL" for number, cell in enumerate(cells))
    cursor = connection.cursor()
    cursor.execute("SET time_zone = '+00:00'")
    cursor.execute("DROP TABLE IF EXISTS t")
    cursor.execute(f"CREATE TABLE t ({columns})")
    cursor.execute(f"INSERT INTO t VALUES ({', '.join(cell[1] for cell in cells)})")
    cursor.execute("SELECT * FROM t")
    return cursor


def test_each_type_of_mariadb_arrives_by_a_query_without_casts(
    mariadb: MariaDb, zerobus: LocalZerobus, table_name: str
) -> None:
    cells = [(cell[0], cell[2], cell[3]) for cell in MARIADB]
    zerobus.create_table(f"CREATE TABLE {table_name} ({of_query(cells)[1]})")
    with mariadb.connect(mariadb.new_database()) as connection:
        ingest(zerobus.workspace, table_name, mariadb_cursor(connection, MARIADB))
    check_row(zerobus, table_name, cells)


def test_a_type_of_mariadb_that_the_column_cannot_hold_is_refused_with_a_remedy(
    mariadb: MariaDb, zerobus: LocalZerobus, table_name: str
) -> None:
    with mariadb.connect(mariadb.new_database()) as connection:
        for number, (kind, value, column, reason) in enumerate(MARIADB_REFUSED):
            table = f"{table_name}_{number}"
            zerobus.create_table(f"CREATE TABLE {table} (c {column})")
            cursor = mariadb_cursor(connection, [(kind, value, column, None)])
            with pytest.raises(RecordError) as caught:
                ingest(zerobus.workspace, table, cursor, options={"rename": {"c0": "c"}})
            assert "row 0, field c:" in str(caught.value), kind
            assert reason in str(caught.value), kind


def test_json_of_mariadb_has_no_type_code_and_is_a_value_by_parse_json(
    mariadb: MariaDb, zerobus: LocalZerobus, table_name: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (c0 VARIANT)")
    with mariadb.connect(mariadb.new_database()) as connection:
        cursor = mariadb_cursor(connection, [("json", "'{\"a\": 1.10}'", "VARIANT", None)])
        ingest(zerobus.workspace, table_name, cursor, options=IngestOptions(parse_json=True))
    assert zerobus.read(table_name)["c0"].to_pylist() == [Json('{"a": 1.10}')]
