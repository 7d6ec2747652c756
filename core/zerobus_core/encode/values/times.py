"""Converts dates and times to days and microseconds, exactly or not at all; see ``scalars``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from ...records import UnfitError
from . import text
from .epochs import microseconds_of
from .given import parsable, unwrapped
from .moments import plain_datetime

if TYPE_CHECKING:
    from .rules import ConversionRules

__all__ = ["DAY_RANGE", "MICROSECOND_RANGE", "date_converter", "timestamp_converter", "timestamp_ntz_converter"]

_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_NAIVE = datetime(1970, 1, 1)  # the wall-clock epoch of TIMESTAMP_NTZ
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
# The years 0001 to 9999, which Delta supports. A number outside of these ranges probably counts another unit.
DAY_RANGE = (date.min.toordinal() - _EPOCH_DAY, date.max.toordinal() - _EPOCH_DAY)
MICROSECOND_RANGE = ((datetime.min - _EPOCH_NAIVE) // _MICROSECOND, (datetime.max - _EPOCH_NAIVE) // _MICROSECOND)


def date_converter(*, parse_text: bool) -> Callable[[Any], int]:
    """Return a converter from dates, datetimes at midnight, day numbers and text to days since 1970-01-01."""
    low, high = DAY_RANGE

    def convert(value: Any) -> int:
        value = _from_numpy_time(unwrapped(value), "D")
        if isinstance(value, str):
            value = text.day(parsable(value, "a date", parse_text))
        if isinstance(value, datetime):
            if value.tzinfo is not None or value.time() != time.min or _nanoseconds(value):
                raise UnfitError("has a time or a time zone: pass value.date()")
            return value.toordinal() - _EPOCH_DAY
        if isinstance(value, date):
            return value.toordinal() - _EPOCH_DAY
        if isinstance(value, int) and not isinstance(value, bool):
            if not low <= value <= high:
                raise UnfitError(f"not a day number (days since 1970-01-01, from {low} to {high})")
            return int(value)
        raise UnfitError("not a date")

    return convert


def timestamp_converter(rules: ConversionRules) -> Callable[[Any], int]:
    """Return a converter from datetimes, whole numbers and text to microseconds since 1970-01-01 00:00 UTC.

    Datetimes without a time zone are read as UTC.
    """
    read = _moment(rules)

    def convert(value: Any) -> int:
        moment = read(unwrapped(value))
        if isinstance(moment, int):
            return moment
        if moment.utcoffset() is None:
            return (moment.replace(tzinfo=None) - _EPOCH_NAIVE) // _MICROSECOND
        microseconds = (moment - _EPOCH_UTC) // _MICROSECOND
        if not _is_in_range(microseconds):
            raise UnfitError("outside of the years 0001 to 9999 in UTC")
        return microseconds

    return convert


def timestamp_ntz_converter(rules: ConversionRules) -> Callable[[Any], int]:
    """Return a converter from datetimes, whole numbers and text to microseconds since 1970-01-01 00:00 local time.

    The converter refuses datetimes that have a time zone.
    """
    read = _moment(rules)

    def convert(value: Any) -> int:
        moment = read(unwrapped(value))
        if isinstance(moment, int):
            return moment
        if moment.utcoffset() is not None:
            raise UnfitError("has a time zone, but TIMESTAMP_NTZ has none: pass value.replace(tzinfo=None)")
        return (moment.replace(tzinfo=None) - _EPOCH_NAIVE) // _MICROSECOND

    return convert


def _moment(rules: ConversionRules) -> Callable[[Any], datetime | int]:
    """Return a function that converts a value to a datetime or to microseconds since 1970.

    Datetimes and text become datetimes. Whole numbers and NumPy times become microseconds within MICROSECOND_RANGE.
    """
    parse_text, epoch_unit = rules.parse_text, "us" if rules.wire_text else rules.epoch_unit

    def read(value: Any) -> datetime | int:
        if type(value).__name__ == "datetime64":
            return _in_range(_from_numpy_time(value, "us"), "")
        if isinstance(value, str):
            value = text.moment(parsable(value, "a datetime", parse_text))
        if isinstance(value, datetime):
            if _nanoseconds(value):
                raise UnfitError("has nanoseconds, but the column stores microseconds: pass value.floor('us')")
            return plain_datetime(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return _in_range(microseconds_of(int(value), epoch_unit), _READ_AS[epoch_unit])
        raise UnfitError("a date has no time: pass a datetime" if isinstance(value, date) else "not a datetime")

    return read


_READ_AS = {
    None: " when read as microseconds since 1970; is it nanoseconds?",
    "us": " when read as microseconds since 1970; is it nanoseconds?",
    "s": " when read as seconds since 1970",
    "ms": " when read as milliseconds since 1970",
    "ns": " when read as nanoseconds since 1970",
}


def _in_range(microseconds: int, read_as: str) -> int:
    if not _is_in_range(microseconds):
        raise UnfitError(f"outside of the years 0001 to 9999{read_as}")
    return microseconds


def _nanoseconds(value: datetime) -> int:
    extra: int = getattr(value, "nanosecond", 0)  # pandas.Timestamp
    return extra


def _is_in_range(microseconds: int) -> bool:
    low, high = MICROSECOND_RANGE
    return low <= microseconds <= high


# The NumPy units that are finer than the column's unit. If the cast changes a value that has another unit, the value is
# out of range.
_FINER = {"us": {"ns", "ps", "fs", "as"}, "D": {"h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"}}
_TOO_FINE = {"us": "has nanoseconds, but the column stores microseconds", "D": "has a time: pass a date"}


def _from_numpy_time(value: Any, unit: str) -> Any:
    """Return a NumPy datetime64 as a whole number of ``unit`` since 1970; return any other value unchanged.

    Raises UnfitError for a datetime64 that is not a whole number of ``unit`` or is out of range.
    """
    if type(value).__name__ != "datetime64":
        return value
    whole = value.astype(f"datetime64[{unit}]")
    # NumPy overflows silently in casts, and in comparisons of values with different units. So cast the result back to
    # the unit of ``value``, and compare the two numbers.
    if int(whole.astype(value.dtype).astype("int64")) != int(value.astype("int64")):
        is_finer = sys.modules["numpy"].datetime_data(value.dtype)[0] in _FINER[unit]
        raise UnfitError(_TOO_FINE[unit] if is_finer else "outside of the years 0001 to 9999")
    return int(whole.astype("int64"))
