"""The forms of dates and times in dead letters; see ``letter_writer``."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from ..encode.values.moments import plain_datetime
from ..schema.types import DataType, Kind, PrimitiveType
from .markers import DATE, DATETIME, TIME, UNFIT

__all__ = ["MOMENTS", "counted_form", "moment_form"]

MOMENTS = frozenset({Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ})


def moment_form(value: date | time, kind: DataType | None) -> Any:
    """Return the text of a date or time if the column takes it, otherwise a marker."""
    of = kind.kind if isinstance(kind, PrimitiveType) else None
    if isinstance(value, datetime):
        digits = getattr(value, "nanosecond", 0)
        text = value.isoformat() if digits else plain_datetime(value).isoformat()
        if of in MOMENTS or of is Kind.VARIANT:
            return text
        return {UNFIT: text} if digits else {DATETIME: text}
    if isinstance(value, date):
        text = date(value.year, value.month, value.day).isoformat()
        return text if of in {Kind.DATE, Kind.VARIANT} else {DATE: text}
    return value.isoformat() if of is Kind.VARIANT else {TIME: value.isoformat()}


_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}


def counted_form(value: int, unit: str | None, kind: DataType | None) -> Any:
    """Return the text of the time for which the whole number ``value`` was given.

    Text is written in place of the number, because a replay can have another ``epoch_unit``.
    """
    try:
        microseconds = value * _MICROSECONDS[unit] if unit in _MICROSECONDS else _exact_part(value)
        moment = datetime(1970, 1, 1) + timedelta(microseconds=microseconds)
    except (ArithmeticError, ValueError):
        return {UNFIT: f"{value} {unit}"}
    is_utc = isinstance(kind, PrimitiveType) and kind.kind is Kind.TIMESTAMP
    return (moment.replace(tzinfo=UTC) if is_utc else moment).isoformat()


def _exact_part(nanoseconds: int) -> int:
    microseconds, rest = divmod(nanoseconds, 1_000)
    if rest:
        raise ValueError
    return microseconds
