from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from zerobus_core import TableSchema
from zerobus_core.dedup import dedup_view_sql, delivery_id, merge_sql
from zerobus_core.errors import ConfigurationError

TABLE = "main.default.flights"
SCHEMA = TableSchema.from_table_info(
    {
        "full_name": TABLE,
        "columns": [{"name": "d", "type_text": "STRING"}, {"name": "n", "type_text": "INT"}],
    }
)


def test_the_view_shows_one_row_of_each_key() -> None:
    sql = dedup_view_sql(TABLE, ["d", "n"], schema=SCHEMA)
    assert sql.startswith("CREATE OR REPLACE VIEW `main`.`default`.`flights_dedup` AS")
    select = sqlglot.parse_one(sql, read="databricks").expression
    for table in select.find_all(exp.Table):
        table.replace(exp.to_table("flights"))
    flights = pa.table({"d": ["a", "a", "a", None, None, "b"], "n": [1, 1, 2, 1, 1, 1], "x": list("uuvwwx")})
    connection = duckdb.connect()
    connection.register("flights", flights)
    rows: list[Any] = connection.sql(select.sql(dialect="duckdb")).fetchall()
    assert sorted(rows, key=str) == sorted([("a", 1, "u"), ("a", 2, "v"), (None, 1, "w"), ("b", 1, "x")], key=str)


def test_the_merge_inserts_only_what_is_not_there_and_takes_null_for_equal_to_null() -> None:
    sql = merge_sql("source", "clean", ["d", "n"])
    assert isinstance(sqlglot.parse_one(sql, read="databricks"), exp.Merge)
    connection = duckdb.connect()
    connection.sql("CREATE TABLE clean (d VARCHAR, n INTEGER)")
    connection.sql("CREATE TABLE source (d VARCHAR, n INTEGER)")
    connection.sql("INSERT INTO clean VALUES ('a', 1), (NULL, 1)")
    connection.sql("INSERT INTO source VALUES ('a', 1), (NULL, 1), (NULL, 1), ('b', NULL), ('b', NULL), ('a', 2)")
    for _ in range(2):
        connection.sql(sqlglot.transpile(sql, read="databricks", write="duckdb")[0])
        rows: list[Any] = connection.sql("SELECT * FROM clean").fetchall()
        assert sorted(rows, key=str) == sorted([("a", 1), (None, 1), ("b", None), ("a", 2)], key=str)


def test_rows_without_a_key_are_all_shown_and_never_merged() -> None:
    connection = duckdb.connect()
    connection.sql("CREATE TABLE source (d VARCHAR, n INTEGER, x VARCHAR)")
    connection.sql("INSERT INTO source VALUES (NULL, NULL, 'u'), (NULL, NULL, 'v'), ('a', 1, 'w'), ('a', 1, 'w')")
    view = sqlglot.parse_one(dedup_view_sql("source", ["d", "n"]), read="databricks").expression
    rows: list[Any] = connection.sql(view.sql(dialect="duckdb")).fetchall()
    assert sorted(x for _, _, x in rows) == ["u", "v", "w"]
    merge = merge_sql("source", "clean", ["d", "n"])
    assert "rows whose key is NULL are not merged" in merge
    connection.sql("CREATE TABLE clean (d VARCHAR, n INTEGER, x VARCHAR)")
    connection.sql(sqlglot.transpile(merge, read="databricks", write="duckdb")[0])
    assert connection.sql("SELECT * FROM clean").fetchall() == [("a", 1, "w")]


def test_identifiers_are_quoted_whatever_is_in_them() -> None:
    sql = dedup_view_sql("main.default.t", ["select", "a`; DROP TABLE x; --"], view="main.default.`v")
    (statement,) = sqlglot.parse(sql, read="databricks")
    assert isinstance(statement, exp.Create)
    assert statement.this.name == "`v"
    assert {column.name for column in statement.find_all(exp.Column)} >= {"select", "a`; DROP TABLE x; --"}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ([], "one or more column names"),
        ([""], "one or more column names"),
        (["d", "D"], "the key contains a column twice"),
        (["d", "nope"], "the table has no column nope; it has d, n"),
    ],
)
def test_a_key_that_cannot_be_one_is_refused(key: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        dedup_view_sql(TABLE, key, schema=SCHEMA)


def test_names_that_are_no_tables_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="is not a table name"):
        dedup_view_sql("a.b.c.d", ["x"])
    with pytest.raises(ConfigurationError, match="cannot be merged into itself"):
        merge_sql(TABLE, TABLE.upper(), ["x"])


def test_a_delivery_id_is_the_same_on_every_try_of_the_same_source() -> None:
    assert delivery_id(TABLE, "f1") == delivery_id(TABLE, "f1")
    assert len({delivery_id(TABLE, "f1"), delivery_id(TABLE, "f2"), delivery_id("main.default.other", "f1")}) == 3
    with pytest.raises(ConfigurationError, match="set source_version"):
        delivery_id(TABLE, None)
