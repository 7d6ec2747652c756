"""Converts whole numbers to microseconds since 1970, and refuses numbers whose unit is in doubt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ...records import UnfitError

__all__ = ["DOUBTFUL", "FACTORS", "microseconds_of"]

# The number of microseconds in each unit.
FACTORS = {"s": 1_000_000, "ms": 1_000, "us": 1}
# A number in this range is a time in the first four months of 1970 if it counts microseconds, but probably a time in
# the present if it counts seconds or milliseconds.
DOUBTFUL = (10**8, 10**13)
_NANOSECONDS = 1_000
_LATEST_SECONDS = 10**11  # the year 5138
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds_of(number: int, unit: str | None) -> int:
    """Convert ``number`` from ``unit`` to microseconds; ``number`` is a time since the start of 1970.

    If ``unit`` is None, the number is taken as microseconds; raises UnfitError if the number more likely counts seconds
    or milliseconds. If ``unit`` is ``ns``, raises UnfitError unless the time is a whole number of microseconds.
    """
    if unit is None:
        if DOUBTFUL[0] <= number < DOUBTFUL[1]:
            raise UnfitError(_doubt(number))
        return number
    if unit == "ns":
        if number % _NANOSECONDS:
            raise UnfitError("has nanoseconds, but the column stores microseconds")
        return number // _NANOSECONDS
    return number * FACTORS[unit]


def _doubt(number: int) -> str:
    unit, name = ("s", "seconds") if number < _LATEST_SECONDS else ("ms", "milliseconds")
    meant = _EPOCH + timedelta(microseconds=number * FACTORS[unit])
    read = _EPOCH + timedelta(microseconds=number)
    return (
        f"is {read:%Y-%m-%d} when read as microseconds since 1970; if it counts {name} ({meant:%Y-%m-%d}), set "
        f'epoch_unit="{unit}"; if it counts microseconds, set epoch_unit="us"'
    )
