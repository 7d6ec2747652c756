"""Database cursors: the rows of a statement, fetched in parts, and a fingerprint from the statement's text."""

from __future__ import annotations

import hashlib
import json
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import ConfigurationError
from .cursor_thread import CursorThread
from .database_types import DatabaseRows, columns_of
from .iterables import IterableSource
from .row_blocks import RowBlocks

if TYPE_CHECKING:
    from ...options import IngestOptions
    from ...schema import TableSchema
    from .database_types import DatabaseColumn

__all__ = ["CursorSource", "SchemaRows", "sql_fingerprint"]

# The number of rows to fetch at once: small enough that the rows of a slow query do not wait long.
_FETCH_ROWS = 1_000
_MOST_REMEMBERED = 100


def sql_fingerprint(
    statement: str,
    parameters: Mapping[str, Any] | Sequence[Any] | None = None,
    *,
    order_by: str | Sequence[str] | None,
    database: str | None = None,
) -> str | None:
    """Return a hash of the statement, its parameters, its order and the database; None if ``order_by`` is empty.

    ``order_by`` is the order that the user states: without an order, positions of rows would have no meaning. White
    space before and after the statement is not hashed. White space inside the statement is hashed, because it can be
    part of a literal, and a line end can end a comment. ``database`` distinguishes databases in which the same
    statement can run. The hash does not show whether the rows have changed; only the user can know that.
    """
    if not order_by:
        return None
    order = [order_by] if isinstance(order_by, str) else list(order_by)
    facts = [statement.strip(), parameters, order, database]
    return "sql:" + hashlib.sha256(json.dumps(facts, default=repr, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(slots=True)
class _Reading:
    """One reading of a cursor's result; ``is_finished`` says whether all of its rows were fetched."""

    cursor: Callable[[], Any]
    description: Any
    is_finished: bool = False


class CursorSource(IterableSource):
    """The rows of an executed statement, as dicts that map column names to values; can be read once.

    ``fingerprint`` is a result of ``sql_fingerprint``; if it is None, a hash of ``source_version`` is used.
    """

    _readings: ClassVar[deque[_Reading]] = deque(maxlen=_MOST_REMEMBERED)

    def __init__(self, cursor: Any, options: IngestOptions, *, fingerprint: str | None = None) -> None:
        self._cursor = cursor
        self._names = _column_names(cursor)
        self._schema: TableSchema | None = None
        super().__init__(lambda: RowBlocks(self._blocks()), options)
        self.fingerprint = fingerprint or self.fingerprint

    def read_for(self, schema: TableSchema) -> None:
        """See ``Source``: JSON, intervals, arrays and MySQL's booleans become values that the columns accept."""
        self._schema = schema

    def _blocks(self) -> Iterator[Iterable[Any]]:
        before = self._reading_before()
        converted = DatabaseRows(self._names, self._special_columns(), self._schema)
        rows = self._cursor.fetchmany(_FETCH_ROWS)
        # A cursor that was read to its end has rows only if it was executed again.
        if before is not None and not (before.is_finished and rows):
            raise ConfigurationError(
                "an earlier delivery has fetched rows of this cursor, and this delivery would lack them; execute the "
                "statement again, on a new cursor if necessary"
            )
        reading = _Reading(_reference(self._cursor), self._cursor.description)
        self._readings.append(reading)
        while rows:
            yield converted.records(rows, as_tuples=self._as_tuples)
            rows = self._cursor.fetchmany(_FETCH_ROWS)
        reading.is_finished = True

    def _reading_before(self) -> _Reading | None:
        """Return the last reading of the result that the cursor has now; None if this result was not read before.

        If the driver does not show which execution a result comes from, returns the last reading of any of the
        cursor's results.
        """
        if getattr(self._cursor, "rownumber", None) == 0:
            return None
        description = self._cursor.description
        # Most drivers make the description when a statement is executed; others make a new one at each access.
        is_of_execution = description is self._cursor.description
        for reading in reversed(self._readings):
            if reading.cursor() is self._cursor and (not is_of_execution or reading.description is description):
                return reading
        return None

    def _special_columns(self) -> tuple[DatabaseColumn, ...]:
        if isinstance(self._cursor, CursorThread):  # the driver's cursor must be used only in its thread
            return self._cursor.special_columns
        return columns_of(self._cursor)


class SchemaRows(IterableSource):
    """Rows whose form depends on the table to which they are delivered.

    ``start`` returns the rows. It gets two arguments: the table's schema (None if it is unknown), and whether the
    caller accepts TupleRows.
    """

    def __init__(
        self,
        start: Callable[[TableSchema | None, bool], Iterator[Any]],
        options: IngestOptions,
        *,
        can_read_again: bool = False,
    ) -> None:
        self._schema: TableSchema | None = None
        super().__init__(lambda: start(self._schema, self._as_tuples), options, can_read_again=can_read_again)

    def read_for(self, schema: TableSchema) -> None:
        """See ``Source``."""
        self._schema = schema


def _reference(cursor: Any) -> Callable[[], Any]:
    """Return a function without parameters. It returns the cursor, or None once the cursor was freed.

    If the cursor allows weak references, the function holds only a weak reference to it, so that the connection can be
    freed.
    """
    try:
        return weakref.ref(cursor)
    except TypeError:
        return lambda: cursor


def _column_names(cursor: Any) -> list[str]:
    if cursor.description is None:
        raise ConfigurationError("records is a cursor without a result: execute a query on the cursor first")
    names = [str(column[0]) for column in cursor.description]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(
            f"the query returns columns of the same name: {', '.join(twice)}; give them different names with AS"
        )
    return names
