"""Checks the column, the bounds and the options of slices of rows; the errors say what to do instead."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError, WatermarkPrecisionError
from ...sources.sql.statements import VALUE, Condition

if TYPE_CHECKING:
    from ...sources.sql.database import Column
    from ..state import Position

__all__ = [
    "after",
    "check_comparable",
    "checked_lag",
    "checked_lag_rows",
    "precision_error",
]


def after(column: Column, lower: Any) -> list[Condition]:
    """Return conditions that select the values greater than ``lower``.

    If ``lower`` is None, all values except NULL are selected. But if ``column.infinities`` is set, NaN and both
    infinities are never selected.
    """
    if lower is not None:
        first = Condition(f"{column.sql} > {VALUE}", (lower,))
    else:
        first = column.infinities[0] if column.infinities else Condition(f"{column.sql} IS NOT NULL")
    return [first, column.infinities[1]] if column.infinities else [first]


def check_comparable(what: str, column: Column, lower: Any) -> None:
    """Raise ConfigurationError if ``lower`` cannot be compared with the column's values.

    For example, text cannot be compared with times. The message calls the column ``what``, for example "column 'id'".
    """
    like = column.like
    is_time = isinstance(lower, dt.date)
    is_other = is_time != column.is_time or (not is_time and like is not None and _family(lower) != _family(like))
    if is_other:
        raise ConfigurationError(
            f"{what} holds {'times' if column.is_time else _family(like)}, which cannot be compared with {lower!r}: "
            "pass a value of the column's type as initial"
        )
    if isinstance(lower, dt.datetime) and not column.is_date and (lower.tzinfo is not None) != column.is_aware:
        has, give = ("a", "with one") if column.is_aware else ("no", "without one")
        raise ConfigurationError(
            f"{what} holds times that have {has} time zone: initial must be a time {give}, not {lower!r}"
        )


def _family(value: Any) -> str:
    if isinstance(value, int | float | Decimal):
        return "numbers"
    if isinstance(value, bytes | bytearray | memoryview):
        return "bytes"
    return "text" if isinstance(value, str) else f"values of type {type(value).__name__}"


def precision_error(column: str, end: Position) -> WatermarkPrecisionError:
    """Return the error for a value that the driver has changed; the message suggests a cast."""
    casts = {
        "float": "DOUBLE PRECISION",
        "decimal": "NUMERIC(38, 9)",
        "datetime": "TIMESTAMP(6)",
        "text": "VARCHAR",
    }
    cast = casts.get(end["type"], "a type that the driver returns exactly")
    return WatermarkPrecisionError(
        f"the database finds no row whose {column!r} equals {end['value']}, although it returned this value: the "
        "driver has changed the value. In the query, convert the column to a type that the driver returns exactly, "
        f"such as CAST({column} AS {cast}) AS {column}_exact, and pass the new column's name as `column`"
    )


def checked_lag(value: Any) -> float | None:
    """Return ``value``, the user's ``lag``, as a float or None; raise ConfigurationError if it is invalid."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**9:
        raise ConfigurationError(f"lag must be a number of seconds, at least 0, not {value!r}")
    return float(value)


def checked_lag_rows(value: Any) -> int | None:
    """Return ``value``, the user's ``lag_rows``, unchanged; raise ConfigurationError if it is invalid."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**7:
        raise ConfigurationError(f"lag_rows must be a number of rows, at least 0, not {value!r}")
    return value
