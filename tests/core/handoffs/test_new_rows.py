"""New rows of a query, with SQLite and DuckDB: bounds, late rows, and what cannot be right."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from zerobus_core import ConfigurationError, Handoff, NewRows, Receipt, TransportError, hand_over
from zerobus_core.errors import WatermarkPrecisionError
from zerobus_core.handoffs import Owner
from zerobus_core.sources.sql.statements import VALUE, Condition, Dialect, checked_query, tables_in
from zerobus_local import LocalZerobus


class Orders:
    """A SQLite database, a table, and a state."""

    def __init__(self, zerobus: LocalZerobus, table: str, folder: Path) -> None:
        self.zerobus, self.table, self.file = zerobus, table, folder / "orders.db"
        self.state = folder / "orders.json"
        zerobus.create_table(f"CREATE TABLE {table} (id BIGINT, at STRING, note STRING)")
        self.execute("CREATE TABLE orders (id INTEGER, at TEXT, note TEXT)")

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.file)

    def execute(self, sql: str, *values: Any) -> None:
        connection = self.connect()
        connection.execute(sql, values)
        connection.commit()
        connection.close()

    def insert(self, *rows: tuple[Any, Any]) -> None:
        for row in rows:
            self.execute("INSERT INTO orders VALUES (?, ?, 'n')", *row)

    def source(self, query: str = "SELECT * FROM orders", **options: Any) -> NewRows:
        return NewRows(self.connect, query, **{"column": "at", "key": "id", "commits_in_order": True, **options})

    def handoff(self, owner: Owner | None = None, **options: Any) -> Handoff:
        return Handoff(self.zerobus.workspace, self.table, self.source(**options), state=self.state, owner=owner)

    def run(self, **options: Any) -> Receipt:
        return hand_over(self.zerobus.workspace, self.table, self.source(**options), state=self.state)

    def ids(self) -> list[int]:
        return sorted(self.zerobus.read(self.table).column("id").to_pylist())


@pytest.fixture
def orders(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> Orders:
    return Orders(zerobus, table_name, tmp_path)


def test_each_run_delivers_the_rows_after_the_last_watermark(orders: Orders) -> None:
    orders.insert((1, "2026-01-01"), (2, "2026-01-02"), (3, "2026-01-02"))
    receipt = orders.run()
    assert receipt.handoff
    assert (receipt.rows_acked, receipt.handoff["from"], receipt.handoff["to"]) == (3, None, "2026-01-02")
    assert orders.run().rows_read == 0
    orders.insert((4, "2026-01-03"), (1, "2026-01-04"))
    receipt = orders.run()
    assert receipt.handoff
    assert (receipt.rows_acked, receipt.handoff["from"], receipt.handoff["to"]) == (2, "2026-01-02", "2026-01-04")
    assert orders.ids() == [1, 1, 2, 3, 4]


def test_initial_is_where_the_first_slice_begins(orders: Orders) -> None:
    orders.insert((1, "2026-01-01"), (2, "2026-01-02"), (3, "2026-01-03"))
    assert orders.run(initial="2026-01-01").rows_acked == 2
    assert orders.ids() == [2, 3]


def test_rows_that_come_while_a_slice_is_open_wait_for_the_next(orders: Orders) -> None:
    orders.insert((1, "2026-01-01"))
    handoff = orders.handoff()
    handoff.freeze()
    orders.insert((2, "2026-01-02"))
    assert handoff.deliver().rows_acked == 1
    receipt = handoff.finish()
    assert receipt.handoff
    assert receipt.handoff["to"] == "2026-01-01"
    assert orders.run().rows_acked == 1
    assert orders.ids() == [1, 2]


def test_rows_that_were_committed_too_late_are_counted(orders: Orders, caplog: pytest.LogCaptureFixture) -> None:
    orders.insert((1, "2026-01-01"), (2, "2026-01-05"))
    orders.run()
    orders.insert((3, "2026-01-03"))
    with caplog.at_level(logging.WARNING, "zerobus_core"):
        receipt = orders.run()
    assert receipt.handoff
    assert receipt.handoff["late_rows"] == 1
    assert "committed later" in caplog.text
    again = orders.handoff().deliver_between("2026-01-01", "2026-01-04")
    assert (again.rows_acked, again.rows_redelivered) == (1, 1)
    assert orders.ids() == [1, 2, 3]


def test_rows_without_a_value_are_counted_and_said(orders: Orders, caplog: pytest.LogCaptureFixture) -> None:
    orders.insert((1, None), (2, "2026-01-05"))
    with caplog.at_level(logging.WARNING, "zerobus_core"):
        receipt = orders.run()
    assert receipt.handoff
    assert (receipt.rows_acked, receipt.handoff["null_rows"]) == (1, 1)
    assert "no value in column 'at'" in caplog.text


def test_the_newest_rows_wait_if_lag_rows_says_so(orders: Orders) -> None:
    orders.insert(*((number, f"2026-01-{number:02}") for number in range(1, 10)))
    source = {"commits_in_order": False, "lag_rows": 3}
    receipt = orders.run(**source)
    assert receipt.handoff
    assert (receipt.rows_acked, receipt.handoff["to"], receipt.handoff["waiting_rows"]) == (6, "2026-01-06", 3)
    assert orders.run(**source).rows_read == 0
    orders.insert((10, "2026-01-10"), (99, "2026-01-07"))
    assert orders.run(**source).rows_acked == 2
    assert orders.ids() == [1, 2, 3, 4, 5, 6, 7, 99]


def test_lag_rows_leaves_all_rows_that_have_the_same_value(orders: Orders) -> None:
    source = {"commits_in_order": False, "lag_rows": 2}
    orders.insert((1, "2026-01-01"), (2, "2026-01-02"), (3, "2026-01-02"), (4, "2026-01-02"), (5, None))
    receipt = orders.run(**source)
    assert receipt.handoff
    assert (receipt.rows_acked, receipt.handoff["to"], receipt.handoff["waiting_rows"]) == (1, "2026-01-01", 3)
    orders.insert((6, "2026-01-02"))  # commits late
    assert orders.run(**source).rows_read == 0
    orders.insert((7, "2026-01-03"))
    assert orders.run(**source).rows_read == 0
    orders.insert((8, "2026-01-04"))
    assert orders.run(**source).rows_acked == 4
    assert orders.ids() == [1, 2, 3, 4, 6]


def test_lag_rows_delivers_nothing_if_all_rows_have_one_value(orders: Orders) -> None:
    orders.insert(*((number, "2026-01-01") for number in range(5)))
    assert orders.run(commits_in_order=False, lag_rows=1).rows_read == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"commits_in_order": False}, "rows that commit late would be lost"),
        ({"lag": -1.0}, "lag must be"),
        ({"lag": float("nan")}, "lag must be"),
        ({"lag_rows": -1}, "lag_rows must be"),
        ({"column": ""}, "column must be"),
        ({"column": "a\0"}, "column must be"),
        ({"key": [1]}, "key must be"),
        ({"initial": object()}, "cannot be a watermark"),
        ({"initial": True}, "cannot be a watermark"),
        ({"query": "SELECT 1;"}, "`;`"),
        ({"query": "SELECT * FROM t ORDER BY a"}, "ORDER BY"),
        ({"query": "DELETE FROM t"}, "one SELECT"),
        ({"query": ""}, "one SELECT"),
        ({"query": None}, "one SELECT"),
    ],
)
def test_bad_parameters_are_refused_when_built(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        NewRows(
            sqlite3.connect,
            **{"query": "SELECT 1", "column": "c", "commits_in_order": True, **options},
        )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"column": "missing"}, r"'missing' is not a column of the query, which has 'id', 'at', 'note'"),
        ({"key": "missing"}, "key 'missing' is not a column"),
        ({"lag": 5.0}, "holds no times"),
        ({"initial": 5}, "holds text, which cannot be compared"),
        ({"initial": datetime(2026, 1, 1, tzinfo=UTC)}, "holds text, which cannot be compared"),
        ({"column": "id", "initial": "x"}, "holds numbers, which cannot be compared"),
        ({"query": "SELECT * FROM nowhere"}, "no such table"),
        ({"query": "SELECT * FROM orders WHERE (", "column": "id"}, "syntax error|incomplete"),
    ],
)
def test_what_the_database_cannot_do_is_refused_before_anything_is_frozen(
    orders: Orders, options: dict[str, Any], words: str
) -> None:
    orders.insert((1, "2026-01-01"))
    with pytest.raises(ConfigurationError, match=words):
        orders.run(**options)
    assert not orders.state.exists()


def test_a_database_that_cannot_be_reached_can_be_tried_again(orders: Orders, tmp_path: Path) -> None:
    source = NewRows(lambda: sqlite3.connect(tmp_path / "no" / "x.db"), "SELECT 1 AS a", column="a", lag_rows=0)
    with pytest.raises(TransportError, match="unable to open"):
        hand_over(orders.zerobus.workspace, orders.table, source, state=orders.state)


def test_a_value_that_the_driver_changes_is_refused_with_the_cast(orders: Orders) -> None:
    orders.insert((1, "2026-01-01"))

    def connect() -> sqlite3.Connection:
        connection = orders.connect()
        connection.text_factory = lambda data: data.decode() + " "
        return connection

    source = NewRows(connect, "SELECT * FROM orders", column="at", commits_in_order=True)
    with pytest.raises(WatermarkPrecisionError, match=r"CAST\(at AS VARCHAR\) AS at_exact"):
        hand_over(orders.zerobus.workspace, orders.table, source, state=orders.state)
    assert not orders.state.exists()


def test_the_same_source_with_another_column_list_keeps_its_state(orders: Orders) -> None:
    orders.insert((1, "2026-01-01"))
    orders.run()
    orders.insert((2, "2026-01-02"))
    assert orders.run(query="SELECT id, at FROM orders -- no note").rows_acked == 1
    with pytest.raises(ConfigurationError, match="another source of rows"):
        orders.run(query="SELECT id, at, note FROM archive")
    with pytest.raises(ConfigurationError, match="another source of rows"):
        orders.run(column="id")


def test_the_state_holds_no_sql_and_show_masks_text(orders: Orders) -> None:
    orders.insert((1, "2026-01-01"))
    orders.run(query="SELECT id, at, note FROM orders WHERE note <> 'secret'")
    assert "secret" not in orders.state.read_text()
    assert "SELECT" not in orders.state.read_text()
    assert orders.handoff().show()["done"] == "(text of 10)"
    assert orders.handoff().show(values=True)["done"] == "2026-01-01"


def test_a_retry_whose_rows_have_changed_misses_no_row(orders: Orders) -> None:
    """A row of the open slice is updated, and belongs to a later slice then."""
    orders.insert(*((number, "2026-01-01") for number in range(50)))
    handoff = orders.handoff(Owner(key="r"))
    handoff.freeze()
    handoff.deliver()
    orders.execute("UPDATE orders SET at = '2026-01-02' WHERE id < 10")
    orders.handoff(Owner(key="r")).run()
    orders.run()
    assert set(orders.ids()) == set(range(50))


def test_sqlite_text_with_percent_signs_and_a_comment_at_the_end(orders: Orders) -> None:
    orders.insert((1, "a%"), (2, "b"), (3, "c%"))
    assert (
        orders.run(query="SELECT * FROM orders WHERE at LIKE '%\\%' ESCAPE '\\' -- with a percent sign").rows_acked == 2
    )


def dialect(style: str, driver: str = "x") -> Dialect:
    return Dialect(driver=driver, paramstyle=style)


@pytest.mark.parametrize(
    ("style", "marks", "values"),
    [
        ("qmark", "? ?", [1, 2]),
        ("format", "%s %s", [1, 2]),
        ("pyformat", "%s %s", [1, 2]),
        ("numeric", ":1 :2", [1, 2]),
        ("named", ":zerobus_0 :zerobus_1", {"zerobus_0": 1, "zerobus_1": 2}),
    ],
)
def test_values_are_bound_in_the_style_of_the_driver(style: str, marks: str, values: Any) -> None:
    one, two = marks.split()
    query = "SELECT 5 % 3 AS c FROM t WHERE a LIKE '%x'"
    sql, bound = dialect(style).statement(
        "*", query, [Condition(f"c > {VALUE}", (1,)), Condition(f"c <= {VALUE}", (2,))], ["c", "d"]
    )
    inner = query.replace("%", "%%") if "format" in style else query
    assert sql == f"SELECT * FROM (\n{inner}\n) q WHERE c > {one} AND c <= {two} ORDER BY c, d"
    assert bound == values
    assert dialect(style).statement("*", query, [Condition("1 = 0")]) == (
        f"SELECT * FROM (\n{query}\n) q WHERE 1 = 0", None
    )  # fmt: skip


def test_names_with_percent_signs_and_braces_are_used_as_they_are() -> None:
    column = dialect("pyformat").column("a%b{}")
    sql, bound = dialect("pyformat").statement(column, "SELECT 1", [Condition(f"{column} > {VALUE}", (7,))], [column])
    assert sql % tuple(bound) == 'SELECT q."a%b{}" FROM (\nSELECT 1\n) q WHERE q."a%b{}" > 7 ORDER BY q."a%b{}"'


def test_rows_are_new_by_a_column_with_a_percent_sign_and_braces(orders: Orders) -> None:
    orders.insert((1, "2026-01-01"), (2, "2026-01-02"))
    source = orders.source('SELECT id, at, id AS "a%b{}" FROM orders', column="a%b{}")

    def run() -> Receipt:
        options = {"drop": ["a%b{}"]}
        return hand_over(orders.zerobus.workspace, orders.table, source, state=orders.state, options=options)

    assert run().rows_acked == 2
    orders.insert((3, "2026-01-03"))
    assert run().rows_acked == 1


def test_names_are_quoted_as_the_database_quotes() -> None:
    assert dialect("qmark").column('a"b') == 'q."a""b"'
    assert dialect("format", "pymysql").column("a`b") == "q.`a``b`"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 -- ; ORDER BY 2",
        "WITH a AS (SELECT 1 ORDER BY 1) SELECT * FROM a",
        "SELECT row_number() OVER (ORDER BY a) FROM t",
        "SELECT ';' AS \"order by\", 'ORDER BY' FROM t",
        "(SELECT 1)",
    ],
)
def test_words_inside_are_no_reason_to_refuse_a_query(query: str) -> None:
    assert checked_query(query) == query


@pytest.mark.parametrize(
    "query", ["SELECT 1 order  by 1", "SELECT 1 ORDER\nBY 1", "SELECT 1 /* x */ ; --", "SELECT 1;;"]
)
def test_an_order_or_semicolon_at_the_end_is_refused(query: str) -> None:
    with pytest.raises(ConfigurationError):
        checked_query(query)


def test_the_tables_of_a_query_identify_it() -> None:
    assert tables_in("WITH x AS (SELECT * FROM A.b) SELECT * FROM x JOIN c ON 1=1") == ["a.b", "c"]
    assert tables_in("SELECT FROM WHERE") is None


@pytest.fixture
def ducks(tmp_path: Path) -> Callable[[], duckdb.DuckDBPyConnection]:
    return lambda: duckdb.connect(str(tmp_path / "x.duckdb"))


def test_duckdb_times_within_lag_wait(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path, ducks: Callable[[], duckdb.DuckDBPyConnection]
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, ts TIMESTAMP_NTZ, x DOUBLE)")
    now = datetime.now(UTC).replace(tzinfo=None)
    with ducks() as connection:
        connection.execute("CREATE TABLE orders (id BIGINT, ts TIMESTAMP, x DOUBLE)")
        rows = [(1, now - timedelta(hours=3), 1.0), (2, now - timedelta(hours=1), 2.0), (3, now, 3.0)]
        rows += [(4, now + timedelta(days=3), 4.0)]
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)

    def run(**options: Any) -> Receipt:
        source = NewRows(ducks, "SELECT * FROM orders", **{"column": "ts", "key": "id", **options})
        return hand_over(zerobus.workspace, table_name, source, state=tmp_path / f"{options.get('column', 'ts')}.json")

    receipt = run(lag=600.0)
    assert receipt.handoff
    assert (receipt.rows_acked, receipt.handoff["waiting_rows"]) == (2, 2)
    with pytest.raises(ConfigurationError, match="no time zone"):
        Handoff(
            zerobus.workspace, table_name,
            NewRows(ducks, "SELECT * FROM orders", column="ts", lag=1.0, initial=datetime(2026, 1, 1, tzinfo=UTC)),
            state=tmp_path / "tz.json",
        ).freeze()  # fmt: skip
    source = NewRows(ducks, "SELECT * FROM orders", column="ts", lag_rows=1)
    with pytest.raises(ConfigurationError, match="pass lag, in seconds"):
        hand_over(zerobus.workspace, table_name, source, state=tmp_path / "lag.json")
    assert sorted(zerobus.read(table_name).column("id").to_pylist()) == [1, 2]


def write_doubles(ducks: Callable[[], duckdb.DuckDBPyConnection], *doubles: str) -> None:
    """Make the table o, with a number and one of these for each row."""
    with ducks() as connection:
        connection.execute("CREATE TABLE o (id BIGINT, x DOUBLE)")
        for number, x in enumerate(doubles):
            connection.execute(f"INSERT INTO o VALUES ({number}, {x})")


def test_duckdb_lag_rows_counts_only_finite_values(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path, ducks: Callable[[], duckdb.DuckDBPyConnection]
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, x DOUBLE)")
    write_doubles(ducks, "1.5", "2.5", "2.5", "2.5", "'nan'", "'inf'", "NULL", "'-inf'")
    source = NewRows(ducks, "SELECT * FROM o", column="x", key="id", lag_rows=2)
    receipt = hand_over(zerobus.workspace, table_name, source, state=tmp_path / "s.json")
    assert receipt.handoff
    assert (receipt.rows_acked, receipt.handoff["to"], receipt.handoff["waiting_rows"]) == (1, "1.5", 3)


def test_duckdb_nan_and_infinity_are_not_delivered_and_do_not_move_the_watermark(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path, ducks: Callable[[], duckdb.DuckDBPyConnection]
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, x DOUBLE)")
    write_doubles(ducks, "1.5", "'nan'", "'inf'", "2.5", "NULL", "'-inf'")
    source = NewRows(ducks, "SELECT * FROM o", column="x", key="id", commits_in_order=True)
    receipt = hand_over(zerobus.workspace, table_name, source, state=tmp_path / "s.json")
    assert receipt.handoff
    assert (receipt.handoff["to"], receipt.handoff["not_finite_rows"], receipt.handoff["null_rows"]) == ("2.5", 3, 1)
    assert sorted(zerobus.read(table_name).column("id").to_pylist()) == [0, 3]
    with ducks() as connection:
        connection.execute("INSERT INTO o VALUES (9, 3.5)")
    assert hand_over(zerobus.workspace, table_name, source, state=tmp_path / "s.json").rows_acked == 1
