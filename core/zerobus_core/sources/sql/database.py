"""Asks a database questions about a query; the database compares the query's values itself, by its own rules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from ...errors import ConfigurationError, TransportError, ZerobusIngestError
from ...process.signals import is_of_signal
from ...storage.uris import without_secrets
from ..rows.cursor_thread import CursorThread
from ..rows.drivers import execute_on_server
from .statements import VALUE, Condition, Dialect

__all__ = ["Column", "Database", "ask", "translating_database_errors"]

_Answer = TypeVar("_Answer")

# pg_type.oid of PostgreSQL: timestamp, timestamptz, date, float4, float8, numeric.
_PG_TIMES = {1114: False, 1184: True, 1082: False}
_PG_DATE = 1082
_PG_FLOATS = {700, 701, 1700}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a query, and what is known about its values."""

    sql: str
    """The quoted name."""
    is_time: bool
    is_date: bool = False
    is_aware: bool = False
    """Whether times have a time zone."""
    like: Any = None
    """An example of the column's values; None if no value is known."""
    infinities: tuple[Condition, Condition] | None = None
    """Two conditions if the column is known to allow infinite values, otherwise None.

    The first condition leaves out minus infinity; the second leaves out infinity and NaN.
    """


class Database:
    """Asks questions over one connection. Use a Database only in the thread that opened its connection.

    Methods raise the driver's own errors.
    """

    def __init__(self, connection: Any, query: str, paramstyle: str | None) -> None:
        self._connection = connection
        self.dialect = Dialect.of(connection, paramstyle)
        self._query = query
        if self.dialect.is_postgres:
            with suppress(AttributeError):
                if connection.autocommit is True:
                    connection.autocommit = False

    def begin(self) -> None:
        """On PostgreSQL, begin a transaction in which all questions see the same state of the database."""
        if self.dialect.is_postgres:
            cursor = self._connection.cursor()
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.close()

    def columns(self) -> dict[str, Any]:
        """Return the driver's type code of each column of the query, by the column's name."""
        cursor = self._execute(*self.dialect.statement("*", self._query, [Condition("1 = 0")]))
        try:
            return {str(column[0]): column[1] for column in cursor.description}
        finally:
            cursor.close()

    def column(self, name: str, code: Any, *, lower: Any) -> Column | None:
        """Return the Column for ``name``; ``code`` is the driver's code for the column's type.

        ``lower`` is the value above which rows are read; None for all rows. For a date or timestamp column of
        PostgreSQL, no value is fetched, and ``Column.like`` is ``lower``. For any other column, ``Column.like`` is a
        value fetched from the column, but not NULL, and on PostgreSQL neither infinite nor NaN. If the column has no
        such value, returns None.
        """
        sql = self.dialect.column(name)
        ends: tuple[Condition, Condition] | None = None
        if self.dialect.is_postgres and code in _PG_TIMES:
            ends = _infinities(sql, "'-infinity'", "'infinity'")
            return Column(
                sql=sql, is_time=True, is_date=code == _PG_DATE, is_aware=_PG_TIMES[code], like=lower, infinities=ends
            )
        if self.dialect.is_postgres and code in _PG_FLOATS:
            ends = _infinities(sql, "'-infinity'", "'infinity'")
        like = self._first(sql, ends or [Condition(f"{sql} IS NOT NULL")])
        if like is None:
            return None
        if isinstance(like, float) and self.dialect.driver in {"duckdb", "sqlite3"}:
            ends = _infinities(sql, VALUE, VALUE, float("-inf"), float("inf"))
        is_time = isinstance(like, dt.date)
        is_date = is_time and not isinstance(like, dt.datetime)
        is_aware = isinstance(like, dt.datetime) and like.tzinfo is not None
        return Column(sql=sql, is_time=is_time, is_date=is_date, is_aware=is_aware, like=like, infinities=ends)

    def newest(self, column: str, conditions: Sequence[Condition]) -> Any:
        """Return the greatest value of the column in the rows that meet all conditions; None if no value is found."""
        cursor = self._connection.cursor()
        sql, values = self.dialect.statement(f"max({column})", self._query, conditions)
        if self.dialect.is_postgres:
            cursor.execute("SAVEPOINT zerobus_max")
        try:
            _execute(cursor, sql, values)
        except Exception as error:
            if is_of_signal(error) or not self.dialect.is_postgres or "max(" not in str(error):
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT zerobus_max")  # uuid and bytea have no max() before PostgreSQL 18
            sql, values = self.dialect.statement(column, self._query, conditions, [f"{column} DESC"])
            _execute(cursor, f"{sql} LIMIT 1", values)
        row = cursor.fetchone()
        cursor.close()
        return None if row is None else _only(row)

    def newest_leaving(self, column: str, conditions: Sequence[Condition], number: int) -> Any:
        """Return the greatest value of the column for which at least ``number`` rows have a greater value.

        Rows that do not meet all conditions are ignored; the conditions must exclude NULL. Returns None if there is no
        such value.
        """
        ranked = f"{column}, RANK() OVER (ORDER BY {column} DESC)"  # the rank is 1 + the number of greater rows
        sql, values = self.dialect.statement(f"{ranked} AS zerobus_rank", self._query, conditions, [f"{column} DESC"])
        cursor = execute_on_server(self._connection, sql, values)
        try:
            while rows := cursor.fetchmany(min(number + 1, 1_000)):
                for value, rank in map(_pair, rows):
                    if rank > number:
                        return value
            return None
        finally:
            cursor.close()

    def count(self, conditions: Sequence[Condition]) -> int:
        """Return the number of rows of the query that meet all conditions."""
        cursor = self._execute(*self.dialect.statement("count(*)", self._query, conditions))
        try:
            return int(_only(cursor.fetchone()))
        finally:
            cursor.close()

    def extremes(self, column: str) -> tuple[Any, Any]:
        """Return the smallest and the greatest value of the column; both are None if the column has no values."""
        cursor = self._execute(*self.dialect.statement(f"min({column}) AS a, max({column}) AS b", self._query, []))
        try:
            row = cursor.fetchone()
        finally:
            cursor.close()
        return _pair(row)

    def quantiles(self, column: str, rows: int, n: int, conditions: Sequence[Condition] = ()) -> list[Any]:
        """Return the values that divide ``rows`` rows into at most ``n`` parts of about equal size.

        Rows with the same value are in the same part, so parts are less equal if many rows have the same value.
        Each returned value is the last value of a part; the last value of the last part is not returned. The values
        are distinct and in the database's order. Only rows that meet all conditions are divided. If there are no
        conditions, all rows in which the column is not NULL are divided. ``rows`` must be the number of the rows that
        are divided.
        """
        numbers = sorted({rows * part // n for part in range(1, n)} - {0, rows})
        if not numbers:
            return []
        numbered = f"{column} AS zerobus_key, ROW_NUMBER() OVER (ORDER BY {column}) AS zerobus_number"
        inner, values = self.dialect.statement(
            numbered, self._query, list(conditions) or [Condition(f"{column} IS NOT NULL")]
        )
        wanted = ", ".join(map(str, numbers))
        sql = (
            f"SELECT zerobus_key FROM (\n{inner}\n) z WHERE zerobus_number IN ({wanted}) "  # noqa: S608  # as above
            "ORDER BY zerobus_number"
        )
        cursor = self._execute(sql, values)
        try:
            return list(dict.fromkeys(map(_only, cursor.fetchall())))
        finally:
            cursor.close()

    def now(self, column: Column, clock: str | None) -> Any:
        """Return the present time by the database's clock, with a time zone only if the column's times have one.

        If ``clock`` is given, it is a SQL expression for the present time, and its value is returned instead. The
        user passes ``clock`` if the programs that write the column use a clock other than the database's.

        If the column's times have no time zone, it is unknown whether they are in the session's time zone or in UTC.
        The result then depends on the database:

        * MySQL, and databases whose driver returns the present time with a time zone: the earlier of the present times
          in these two zones, so that rows are not read sooner than the user's ``lag`` allows
        * DuckDB and SQLite: the present time in UTC
        * other databases: the present time as the driver returns it

        Raises ConfigurationError if the clock does not return a time.
        """
        if clock is not None:
            return _as_time(self._scalar("SELECT " + clock), column)
        if self.dialect.driver == "duckdb":  # duckdb needs another package to return times with a zone
            return _as_time(self._scalar("SELECT CAST(CURRENT_TIMESTAMP AT TIME ZONE 'UTC' AS TIMESTAMP)"), column)
        dual = " FROM dual" if "oracle" in self.dialect.driver else ""
        times = [self._scalar(f"SELECT CURRENT_TIMESTAMP{dual}")]
        if self.dialect.is_mysql:
            times.append(self._scalar("SELECT UTC_TIMESTAMP(6)"))
        elif not column.is_aware and isinstance(times[0], dt.datetime) and times[0].tzinfo is not None:
            times = [times[0].replace(tzinfo=None), times[0].astimezone(dt.UTC).replace(tzinfo=None)]
        return min(_as_time(time, column) for time in times)

    def _scalar(self, sql: str) -> Any:
        cursor = self._execute(sql, None)
        try:
            return _only(cursor.fetchone())
        finally:
            cursor.close()

    def _first(self, column: str, conditions: Sequence[Condition]) -> Any:
        sql, values = self.dialect.statement(column, self._query, conditions)
        cursor = execute_on_server(self._connection, sql, values)
        try:
            rows = cursor.fetchmany(1)
            return _only(rows[0]) if rows else None
        finally:
            cursor.close()

    def _execute(self, sql: str, values: Any) -> Any:
        cursor = self._connection.cursor()
        _execute(cursor, sql, values)
        return cursor


def ask(connect: Callable[[], Any], questions: Callable[[Any], _Answer]) -> _Answer:
    """Open a connection in a separate thread, call ``questions`` with it there, and return the result.

    Closes the connection. Signal handlers can run while this function waits.
    """
    answers: list[_Answer] = []

    def asked(connection: Any) -> Any:
        answers.append(questions(connection))
        return _NoCursor()

    with translating_database_errors(), CursorThread(connect, asked, name="database of the handoff"):
        return answers[0]


def _infinities(sql: str, low: str, high: str, *values: float) -> tuple[Condition, Condition]:
    # The databases that have NaN sort it after infinity.
    return Condition(f"{sql} > {low}", values[:1]), Condition(f"{sql} < {high}", values[1:])


class _NoCursor:
    description = None


class translating_database_errors:  # noqa: N801 - a context manager
    """Turns a driver's error into a TransportError if a retry might help, and otherwise into a ConfigurationError."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, ZerobusIngestError) or is_of_signal(error):
            return
        names = {cls.__name__ for cls in type(error).__mro__}
        if not names & {"Error", "DatabaseError", "InterfaceError", "OSError"}:
            return  # an error of the user's own connect()
        text = without_secrets(f"the database answered {type(error).__name__}: {error}")
        is_passing = bool(names & {"OperationalError", "InterfaceError", "OSError"}) and not _is_of_sql(error)
        raise (TransportError if is_passing else ConfigurationError)(text) from error


def _is_of_sql(error: Exception) -> bool:
    # SQLite and MySQL also raise OperationalError for mistakes in a statement.
    text = str(error).lower()
    return text.startswith(("no such", "near ")) or "syntax error" in text or "unknown column" in text


def _execute(cursor: Any, sql: str, values: Any) -> None:
    cursor.execute(sql, *([] if values is None else [values]))


def _only(row: Any) -> Any:
    if isinstance(row, dict):
        return next(iter(row.values()))
    return row[0]


def _pair(row: Any) -> tuple[Any, Any]:
    first, second = row.values() if isinstance(row, dict) else row
    return first, second


def _as_time(value: Any, column: Column) -> Any:
    if isinstance(value, str):  # SQLite
        value = dt.datetime.fromisoformat(value)
    if not isinstance(value, dt.datetime):
        raise ConfigurationError(f"the database's clock returned {type(value).__name__}, not a time")
    if column.is_aware:
        return value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    return value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value
