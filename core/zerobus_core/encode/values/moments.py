"""Writes dates and times as text, and converts instances of subclasses of datetime to plain datetimes."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

__all__ = ["moment_text", "numpy_time_text", "plain_datetime"]

_MICROSECOND_DIGITS = 6


def plain_datetime(value: datetime) -> datetime:
    """Return ``value`` as a plain datetime; the nanoseconds that a subclass can store are dropped."""
    # Subclasses subtract differently: pandas returns a Timedelta, which has a smaller range; pendulum, whose datetimes
    # Airflow uses, subtracts only from its own datetimes.
    if type(value) is datetime:
        return value
    return datetime(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        tzinfo=value.tzinfo,
        fold=value.fold,
    )


def moment_text(value: date | time) -> str:
    """Return a date, datetime or time as ISO 8601 text, with the nanoseconds that a subclass of datetime can store."""
    if isinstance(value, datetime):
        return value.isoformat() if getattr(value, "nanosecond", 0) else plain_datetime(value).isoformat()
    if isinstance(value, date):
        return date(value.year, value.month, value.day).isoformat()
    return value.isoformat()


def numpy_time_text(value: Any) -> str:
    """Return the exact text (ISO 8601) of a NumPy datetime64 or timedelta64, which must not be NaT.

    A fraction of a second has six digits, or more if ``value`` has nanoseconds.
    """
    whole, point, fraction = str(value).partition(".")
    fraction = fraction.rstrip("0")
    return whole + point + fraction.ljust(_MICROSECOND_DIGITS, "0") if fraction else whole
