"""``NewRows``: the rows of a query whose watermark is greater than that of every row delivered before."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError
from ...sources.rows.cursor import SchemaRows
from ...sources.rows.cursor_thread import CursorThread
from ...sources.rows.database_types import DatabaseRows
from ...sources.rows.drivers import execute_on_server
from ...sources.rows.row_blocks import RowBlocks
from ...sources.sql import watermark
from ...sources.sql.database import Column, Database, ask, translating_database_errors
from ...sources.sql.names import checked_name, spelled
from ...sources.sql.statements import VALUE, Condition, checked_query, tables_in
from ..source import Bounds, Context, IntervalSource, Plan
from .bounds import after, check_comparable, checked_lag, checked_lag_rows, precision_error
from .ranges import conditions_of_part, parts_of_range

if TYPE_CHECKING:
    from ...options import IngestOptions
    from ...schema import TableSchema
    from ..parts import Parts
    from ..state import PastSlice, Position

__all__ = ["NewRows"]

_log = logging.getLogger("zerobus_core")

_FETCH_ROWS = 1_000
_DAY = 86_400.0
# How often a plan is tried: if a row is updated between two queries, the second one does not find the row's old value.
_MOST_LOOKS = 5


class NewRows(IntervalSource):
    """The new rows of ``query``: rows that have a greater value of ``column`` than every row delivered before.

    ``connect`` returns a new DB-API connection.  A slice holds the rows with ``lower < column <= upper``, ordered by
    ``column`` and ``key`` (one or several columns that distinguish rows with equal values of ``column``).  The first
    slice begins after the value ``initial``; if ``initial`` is None, it begins with the first row.

    A row whose transaction commits late would be missed. So one of these options must say how late a row can be:

    * ``lag``, if the column holds times: the longest time, in seconds, from a row's time to the commit of the row.
    * ``lag_rows``, if the column holds other values: how many of the newest rows to leave for the next run. Rows with
      the same value as the oldest of these rows are left for the next run, too.
    * ``commits_in_order=True``: the values of ``column`` become visible in ascending order, so no row is late.

    ``clock`` is a SQL expression for the present time; it must use the same clock as the times in the column. By
    default, the database's clock is used; if the column has no time zone, the present time is taken in UTC or in the
    session's time zone, whichever is earlier (for DuckDB and SQLite, in UTC). ``paramstyle`` has the meaning that
    DB-API gives it; pass it if the driver does not define it.

    If every change of a row increases the value in ``column``, a row that changes while its slice is open belongs to a
    later slice: the last version of every row is delivered, but versions in between can be missed. A change that does
    not increase the value is not noticed, and neither is the deletion of a row. Rows in which ``column`` is NULL are
    not delivered. On some databases, rows in which ``column`` is NaN or infinite are not delivered, either.
    """

    kind = "rows"

    def __init__(  # noqa: PLR0913 - what a user can say of a query, everything by name
        self,
        connect: Callable[[], Any],
        query: str,
        *,
        column: str,
        key: str | Sequence[str] | None = None,
        lag: float | None = None,
        lag_rows: int | None = None,
        commits_in_order: bool = False,
        initial: Any = None,
        clock: str | None = None,
        paramstyle: str | None = None,
    ) -> None:
        if not callable(connect):
            raise ConfigurationError(f"connect must be a function that returns a connection, not {connect!r}")
        self._connect = connect
        self._query = checked_query(query)
        self._column = checked_name("column", column)
        keys = [key] if isinstance(key, str) else list(key or ())
        self._key = [checked_name("key", name) for name in keys]
        self._lag = checked_lag(lag)
        self._lag_rows = checked_lag_rows(lag_rows)
        self._commits_in_order = commits_in_order
        self._initial = None if initial is None else watermark.to_plain(initial, column)
        self._clock = clock
        self._paramstyle = paramstyle
        if lag is None and lag_rows is None and not commits_in_order:
            raise ConfigurationError(
                f"rows that commit late would be lost: say how late a row can be. If column {column!r} holds times, "
                "pass lag, the seconds within which every transaction commits (lag=300.0). Otherwise, pass lag_rows, "
                "the number of newest rows that wait for the next run (lag_rows=1000). If no row can be late, pass "
                "commits_in_order=True"
            )

    def __repr__(self) -> str:
        return f"NewRows(column={self._column!r})"

    def identity(self) -> dict[str, Any]:
        """See HandoffSource."""
        tables = tables_in(self._query)
        of = ", ".join(tables) if tables else hashlib.sha256(self._query.encode()).hexdigest()[:16]
        return {"column": self._column, "key": self._key, "tables": of}

    def prepare(self, context: Context) -> None:
        """See HandoffSource."""

    def options(self, bounds: Bounds, options: IngestOptions) -> IngestOptions:
        """See HandoffSource."""
        return replace(options, source_version=bounds.id)

    # freezing

    def plan(
        self,
        done: Position,
        last: PastSlice | None,
        context: Context,
    ) -> tuple[Plan | None, dict[str, Any]]:
        """See HandoffSource."""
        start, end = done or self._initial, None
        for _ in range(_MOST_LOOKS):
            plan, notes, is_found = ask(self._connect, lambda connection: self._planned(connection, start, last))
            if plan is None or is_found:
                self._tell(notes)
                return plan, notes
            end = plan.end
        raise precision_error(self._column, end)

    def _planned(
        self, connection: Any, start: Position, last: PastSlice | None
    ) -> tuple[Plan | None, dict[str, Any], bool]:
        database = Database(connection, self._query, self._paramstyle)
        database.begin()
        lower = None if start is None else watermark.from_plain(start)
        name, code = self._described(database)
        column = database.column(name, code, lower=lower)
        if column is None:
            nothing = Column(sql=database.dialect.column(name), is_time=False)
            return None, self._counted(database, nothing, None, [], last), True
        self._check_column(column, lower)
        new = after(column, lower)
        upper = self._newest(database, column, [*new, *self._bound(database, column)])
        notes = self._counted(database, column, upper, new, last)
        if upper is None:
            return None, notes, True
        end = watermark.to_plain(upper, self._column)
        again = watermark.from_plain(end)
        is_found = database.count([Condition(f"{column.sql} = {VALUE}", (again,))]) > 0
        return Plan(end=end), notes, is_found

    def _described(self, database: Database) -> tuple[str, Any]:
        """Return the column's name as the database spells it, and the driver's code for the column's type."""
        columns = database.columns()
        for what, wanted in (("column", self._column), *(("key", name) for name in self._key)):
            if spelled(wanted, columns) is None:
                raise ConfigurationError(
                    f"{what} {wanted!r} is not a column of the query, which has {', '.join(map(repr, columns))}"
                )
        name = spelled(self._column, columns)
        assert name is not None
        return name, columns[name]

    def _check_column(self, column: Column, lower: Any) -> None:
        what = f"column {self._column!r}"
        if not column.is_time and self._lag is not None:
            raise ConfigurationError(
                f"{what} holds no times, so lag={self._lag:g} does not apply to it: pass lag_rows (how many of the "
                "newest rows wait for the next run) or commits_in_order=True"
            )
        if column.is_time and self._lag is None and not self._commits_in_order:
            raise ConfigurationError(f"{what} holds times: pass lag, in seconds, instead of lag_rows")
        if column.is_date and (self._lag or 0.0) < _DAY and not self._commits_in_order:
            raise ConfigurationError(
                f"{what} holds dates, and rows with a given date can arrive until the end of that day: lag must be at "
                f"least {_DAY:g} seconds"
            )
        if column.like is not None:
            watermark.to_plain(column.like, self._column)
        if lower is not None:
            check_comparable(what, column, lower)

    def _bound(self, database: Database, column: Column) -> list[Condition]:
        if not column.is_time:
            return []
        bound = database.now(column, self._clock) - dt.timedelta(seconds=self._lag or 0.0)
        if column.is_date:
            bound = bound.date()
        return [Condition(f"{column.sql} <= {VALUE}", (bound,))]

    def _newest(self, database: Database, column: Column, conditions: list[Condition]) -> Any:
        if self._lag_rows:
            return database.newest_leaving(column.sql, conditions, self._lag_rows)
        return database.newest(column.sql, conditions)

    def _counted(
        self, database: Database, column: Column, upper: Any, new: list[Condition], last: PastSlice | None
    ) -> dict[str, Any]:
        """Return the counts of undelivered rows, by reason; counts of 0 are left out.

        ``null_rows`` counts rows without a value in the column, ``not_finite_rows`` counts rows with NaN or an infinite
        value, and ``waiting_rows`` counts rows that are left for a later run. ``late_rows`` says how many more rows the
        range of the last slice holds now than were delivered.
        """
        sql = column.sql
        notes = {"null_rows": database.count([Condition(f"{sql} IS NULL")])}
        if column.infinities:
            finite = database.count(list(column.infinities))
            notes["not_finite_rows"] = database.count([Condition(f"{sql} IS NOT NULL")]) - finite
        above = new if upper is None else after(column, upper)
        if above:
            notes["waiting_rows"] = database.count(above)
        if last is not None and last.end is not None:
            lower = last.start or self._initial
            former = after(column, None if lower is None else watermark.from_plain(lower))
            former.append(Condition(f"{sql} <= {VALUE}", (watermark.from_plain(last.end),)))
            notes["late_rows"] = max(0, database.count(former) - last.counts.get("rows_read", 0))
        return {name: count for name, count in notes.items() if count}

    def _tell(self, notes: dict[str, Any]) -> None:
        if notes.get("null_rows"):
            _log.warning("%d rows have no value in column %r, and are not delivered", notes["null_rows"], self._column)
        if notes.get("not_finite_rows"):
            _log.warning(
                "%d rows have NaN or an infinite value in column %r, and are not delivered",
                notes["not_finite_rows"],
                self._column,
            )
        if notes.get("late_rows"):
            _log.warning(
                "The range of the last slice has %d rows more than were delivered: they were committed later than lag "
                "allows. Deliver this range again (zerobus-ingest handoff run --from … --to …), and make lag longer",
                notes["late_rows"],
            )

    # reading

    @contextmanager
    def open(
        self,
        bounds: Bounds,
        options: IngestOptions,
        context: Context,
    ) -> Generator[Any]:
        """See HandoffSource."""
        with ExitStack() as opened:
            yield self._source(bounds, opened, options)

    def split(self, bounds: Bounds, n: int, context: Context) -> Parts:
        """See SplittableSource. Each part is a range of the column's values, in the database's order."""

        def questions(connection: Any) -> Parts:
            database = Database(connection, self._query, self._paramstyle)
            database.begin()
            return parts_of_range(database, *self._range(database, bounds), n)

        return ask(self._connect, questions)

    @contextmanager
    def open_part(self, bounds: Bounds, index: int, options: IngestOptions, context: Context) -> Generator[Any]:
        """See SplittableSource."""
        with ExitStack() as opened:
            yield self._source(bounds, opened, options, index)

    def _range(self, database: Database, bounds: Bounds) -> tuple[str, list[Condition]]:
        """Return the column as SQL, and the conditions that select the rows of a slice."""
        start = bounds.start or self._initial
        lower = None if start is None else watermark.from_plain(start)
        name, code = self._described(database)
        column = database.column(name, code, lower=lower) or Column(sql=database.dialect.column(name), is_time=False)
        upper = watermark.from_plain(bounds.end)
        return column.sql, [*after(column, lower), Condition(f"{column.sql} <= {VALUE}", (upper,))]

    def _source(self, bounds: Bounds, opened: ExitStack, options: IngestOptions, part: int | None = None) -> SchemaRows:
        return SchemaRows(
            lambda schema, as_tuples: RowBlocks(self._blocks(bounds, opened, schema, part, as_tuples=as_tuples)),
            options,
            can_read_again=True,
        )

    def _blocks(
        self, bounds: Bounds, opened: ExitStack, schema: TableSchema | None, part: int | None, *, as_tuples: bool
    ) -> Iterator[Iterable[Any]]:
        def execute(connection: Any) -> Any:
            database = Database(connection, self._query, self._paramstyle)
            column, range_ = self._range(database, bounds)
            if part is not None:
                range_ += conditions_of_part(column, bounds, part)
            columns = database.columns()
            order = [column, *(database.dialect.column(spelled(key, columns) or key) for key in self._key)]
            statement = database.dialect.statement("*", self._query, range_, order)
            return execute_on_server(connection, *statement, as_text=True)

        opened.close()  # ends an earlier reading, which this one replaces
        with translating_database_errors():
            cursor = opened.enter_context(CursorThread(self._connect, execute, name="database of the handoff"))
            names = [str(column[0]) for column in cursor.description]
        converted = DatabaseRows(names, cursor.special_columns, schema)
        while True:
            with translating_database_errors():
                rows = cursor.fetchmany(_FETCH_ROWS)
            if not rows:
                return
            yield converted.records(rows, as_tuples=as_tuples)

    # afterwards

    def settled(self, bounds: Bounds, context: Context) -> Position:
        """See HandoffSource."""
        return bounds.end

    def after_finish(self, done: Position) -> Position | None:
        """See HandoffSource."""
        return None

    def parsed(self, value: Any) -> Position:
        """See HandoffSource."""
        if isinstance(value, str):
            value = watermark.parsed(value, self._like())
        return None if value is None else watermark.to_plain(value, self._column)

    def _like(self) -> Any:
        def questions(connection: Any) -> Any:
            database = Database(connection, self._query, self._paramstyle)
            name, code = self._described(database)
            column = database.column(name, code, lower=None)
            if column is None or column.like is not None:
                return None if column is None else column.like
            zone = dt.UTC if column.is_aware else None
            return dt.date(2026, 1, 1) if column.is_date else dt.datetime(2026, 1, 1, tzinfo=zone)

        return ask(self._connect, questions)

    def between(self, start: Position, end: Position, context: Context) -> Plan:
        """See HandoffSource."""
        if end is None:
            raise ConfigurationError("an explicit slice needs an end")
        return Plan(end=end)

    def shown(self, position: Position, *, values: bool = True) -> Any:
        """See HandoffSource."""
        return watermark.shown(position or self._initial, values=values)

    def nothing_new(self, done: Position) -> str:
        """See HandoffSource."""
        since = self.shown(done, values=False)
        return "no row is there yet" if since is None else f"no row is new since {self._column} = {since}"
