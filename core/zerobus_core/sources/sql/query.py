"""``SqlQuery``: a query that is split into ranges of a key, and the source that reads one range."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError
from ..rows.cursor_thread import CursorThread
from ..rows.database_types import DatabaseRows
from ..rows.drivers import execute_on_server
from ..rows.iterables import IterableSource
from ..rows.row_blocks import RowBlocks
from . import watermark
from .database import Database, translating_database_errors
from .names import spelled
from .statements import VALUE, Condition, checked_query

if TYPE_CHECKING:
    from ...options import IngestOptions
    from ...schema import TableSchema

__all__ = ["SqlQuery", "SqlRangeSource", "key_column", "range_conditions"]

_FETCH_ROWS = 1_000


class SqlQuery:
    """A query for ``split_source`` and ``read_shard``, with a function that connects to the database.

    ``connect`` must return a new DB-API connection each time. ``query`` is one SELECT without ORDER BY and without
    placeholders. ``paramstyle`` is DB-API's name for the way in which values are bound, such as "qmark". It is needed
    only if the driver's module does not define it. Shards contain neither ``query`` nor ``connect``, so stored shards
    contain no secrets.
    """

    def __init__(self, connect: Callable[[], Any], query: str, *, paramstyle: str | None = None) -> None:
        if not callable(connect):
            raise ConfigurationError(f"connect must be a function that returns a connection, not {connect!r}")
        self.connect = connect
        self.query = checked_query(query)
        self.paramstyle = paramstyle

    def __repr__(self) -> str:
        return f"SqlQuery({self.digest})"

    @property
    def digest(self) -> str:
        """A hash of the query's text; white space before and after the text is ignored."""
        return hashlib.sha256(self.query.strip().encode()).hexdigest()[:32]

    def database(self, connection: Any) -> Database:
        """Return a Database that asks questions about the query over ``connection``."""
        return Database(connection, self.query, self.paramstyle)


class SqlRangeSource(IterableSource):
    """The rows of a shard: those in one range of a key, ordered by the key, or all rows whose key is NULL.

    Each time the source is read, it queries the database again.
    """

    def __init__(self, query: SqlQuery, shard: Mapping[str, Any], options: IngestOptions) -> None:
        self._query = query
        self._shard = shard
        self._schema: TableSchema | None = None
        super().__init__(lambda: RowBlocks(self._blocks()), options, can_read_again=True)
        # Rows whose key is NULL have no order, so their positions have no meaning.
        self.fingerprint = None if shard["is_null"] else shard["fingerprint"]

    def read_for(self, schema: TableSchema) -> None:
        """See ``Source``. JSON, arrays and MySQL's booleans are converted to values that the table's columns accept."""
        self._schema = schema

    def _blocks(self) -> Iterator[Iterable[Any]]:
        with ExitStack() as opened:
            with translating_database_errors():
                cursor = opened.enter_context(
                    CursorThread(self._query.connect, self._execute, name="database of the shard")
                )
            names = [str(column[0]) for column in cursor.description]
            converted = DatabaseRows(names, cursor.special_columns, self._schema)
            while rows := self._fetch(cursor):
                yield converted.records(rows, as_tuples=self._as_tuples)

    def _fetch(self, cursor: CursorThread) -> Any:
        with translating_database_errors():
            return cursor.fetchmany(_FETCH_ROWS)

    def _execute(self, connection: Any) -> Any:
        database = self._query.database(connection)
        column = key_column(database, self._shard["key"])
        order = [] if self._shard["is_null"] else [column]
        conditions = range_conditions(column, self._shard)
        statement = database.dialect.statement("*", self._query.query, conditions, order)
        return execute_on_server(connection, *statement, as_text=True)


def key_column(database: Database, key: str) -> str:
    """Return the quoted key column; raise ConfigurationError if the query does not have it."""
    columns = database.columns()
    name = spelled(key, columns)
    if name is None:
        raise ConfigurationError(f"key {key!r} is not a column of the query, which has {', '.join(map(repr, columns))}")
    return database.dialect.column(name)


def range_conditions(column: str, shard: Mapping[str, Any]) -> list[Condition]:
    """Return the conditions that select the rows of a shard. The database compares the values, in its own order."""
    if shard["is_null"]:
        return [Condition(f"{column} IS NULL")]
    conditions = [
        Condition(f"{column} {sign} {VALUE}", (watermark.from_plain(shard[end]),))
        for sign, end in ((">", "after"), ("<=", "up_to"))
        if shard[end] is not None
    ]
    return conditions or [Condition(f"{column} IS NOT NULL")]
