"""Converts instances of subclasses of datetime to plain datetimes, and NumPy's times to text."""

from __future__ import annotations

from datetime import datetime
from typing import Any

__all__ = ["numpy_time_text", "plain_datetime"]

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


def numpy_time_text(value: Any) -> str:
    """Return the exact text (ISO 8601) of a NumPy datetime64 or timedelta64, which must not be NaT.

    A fraction of a second has six digits, or more if ``value`` has nanoseconds.
    """
    whole, point, fraction = str(value).partition(".")
    fraction = fraction.rstrip("0")
    return whole + point + fraction.ljust(_MICROSECOND_DIGITS, "0") if fraction else whole
