"""Converts instances of subclasses of datetime to plain datetimes."""

from __future__ import annotations

from datetime import datetime

__all__ = ["plain_datetime"]


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
