"""The forms of dates and times in dead letters; see ``letter_writer``."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from ..encode.values.moments import moment_text
from ..schema.types import TIMESTAMP_KINDS, DataType, Kind, PrimitiveType
from .markers import DATE, DATETIME, TIME, UNFIT

__all__ = ["MOMENTS", "counted_form", "moment_form"]

MOMENTS = TIMESTAMP_KINDS | {Kind.DATE}


def moment_form(value: date | time, kind: DataType | None) -> Any:
    """Return the text of a date or time if the column takes it, otherwise a marker."""
    of = kind.kind if isinstance(kind, PrimitiveType) else None
    text = moment_text(value)
    if isinstance(value, datetime):
        if of in MOMENTS or of is Kind.VARIANT:
            return text
        return {UNFIT: text} if getattr(value, "nanosecond", 0) else {DATETIME: text}
    if isinstance(value, date):
        return text if of in {Kind.DATE, Kind.VARIANT} else {DATE: text}
    return text if of is Kind.VARIANT else {TIME: text}


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
    is_utc = kind == PrimitiveType(Kind.TIMESTAMP)
    return (moment.replace(tzinfo=UTC) if is_utc else moment).isoformat()


def _exact_part(nanoseconds: int) -> int:
    microseconds, rest = divmod(nanoseconds, 1_000)
    if rest:
        raise ValueError
    return microseconds
