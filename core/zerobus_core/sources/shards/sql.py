"""Splits a query into ranges of a key, in the database's order of the key."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ...errors import ConfigurationError
from ..sql import watermark
from ..sql.database import Database, ask
from ..sql.names import checked_name
from ..sql.query import SqlQuery, key_column
from ..sql.statements import Condition
from .form import MARK, VERSION, split_id, sql_fingerprint_of

__all__ = ["split_query"]

# The most characters of a range's end as JSON: shards must be small, because hosts store them.
_LONGEST_END = 300


def split_query(query: SqlQuery, n: int, *, by: str | None, ranges: str) -> list[dict[str, Any]]:
    """See ``split_source``."""
    if by is None:
        raise ConfigurationError(
            'a SqlQuery is split by ranges of a key: pass the name of the key column, for example by="id"'
        )
    key = checked_name("by", by)
    if ranges not in _ENDS:
        raise ConfigurationError(f'ranges must be "quantiles" or "even", not {ranges!r}')

    def questions(connection: Any) -> tuple[list[Any], int, int]:
        database = query.database(connection)
        database.begin()
        column = key_column(database, key)
        nulls = database.count([Condition(f"{column} IS NULL")])
        rows = database.count([Condition(f"{column} IS NOT NULL")])
        return (_ENDS[ranges](database, column, rows, n) if rows else []), rows, nulls

    ends, rows, nulls = ask(query.connect, questions)
    plain = [_plain(end, key) for end in ends]
    parts: list[dict[str, Any]] = []
    if rows:
        size = rows // (len(plain) + 1)
        for after, up_to in zip([None, *plain], [*plain, None], strict=True):
            parts.append({"after": after, "up_to": up_to, "is_null": False, "rows": size})
    if nulls:
        parts.append({"after": None, "up_to": None, "is_null": True, "rows": nulls})
    head = {MARK: VERSION, "kind": "sql", "query": query.digest, "key": key}
    head["split"] = split_id(query.digest, key, parts)
    shards = [{**head, **part, "index": index, "of": len(parts)} for index, part in enumerate(parts)]
    return [{**shard, "fingerprint": sql_fingerprint_of(shard)} for shard in shards]


def _plain(end: Any, key: str) -> dict[str, Any]:
    plain = watermark.to_plain(end, key)
    if len(json.dumps(plain)) > _LONGEST_END:
        raise ConfigurationError(
            f"key {key!r} has values of more than {_LONGEST_END} characters, which the shards would contain; split "
            "by another column"
        )
    return plain


def _even(database: Database, column: str, rows: int, n: int) -> list[Any]:
    low, high = database.extremes(column)
    between = next((make for kinds, make in _BETWEEN if isinstance(low, kinds)), None)
    if between is None or isinstance(low, bool):
        raise ConfigurationError(
            'ranges="even" divides numbers, dates and times, but the values of the key are of type '
            f'{type(low).__name__}; use ranges="quantiles"'
        )
    if not (watermark.is_finite(low) and watermark.is_finite(high)):
        raise ConfigurationError(
            f'ranges="even" needs a key whose lowest and highest values are finite, but they are {low} and {high}; use '
            'ranges="quantiles"'
        )
    ends = [between(low, high, part, n) for part in range(1, n)]
    return [end for end in dict.fromkeys(ends) if low <= end < high]


_ENDS: dict[str, Callable[[Database, str, int, int], list[Any]]] = {"quantiles": Database.quantiles, "even": _even}
# In this order, because a datetime is also a date.
_BETWEEN: list[tuple[type | tuple[type, ...], Callable[[Any, Any, int, int], Any]]] = [
    (int, lambda low, high, part, n: low + (high - low) * part // n),
    ((float, Decimal, dt.datetime), lambda low, high, part, n: low + (high - low) * part / n),
    (dt.date, lambda low, high, part, n: low + dt.timedelta(days=(high - low).days * part // n)),
]
