"""Functions that cast Arrow arrays of scalar types; see ``cast`` for the rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from ...records import UnfitError
from ...schema.types import DataType, DecimalType, Kind, StringType
from ..values.arrow_types import working_type
from ..values.epochs import DOUBTFUL, FACTORS
from ..values.numbers import FLOAT32_LIMIT
from ..values.scalars import null_test, scalar_converter
from ..values.times import DAY_RANGE, MICROSECOND_RANGE

if TYPE_CHECKING:
    from ..values.rules import ConversionRules

__all__ = [
    "SCALAR_CASTS",
    "UnfitArrayError",
    "as_decimal_text",
    "check_range",
    "decimal_cast",
    "epoch_cast",
    "string_cast",
    "value_cast",
]

ArrayCast: TypeAlias = Callable[[pa.Array], pa.Array]
_MAX_DIGITS = 38
_WIDE = pa.decimal256(76, 38)
_INTEGER_DIGITS = 20  # of the largest uint64
_is_string_view: Callable[[pa.DataType], bool] = getattr(types, "is_string_view", lambda _: False)
_is_binary_view: Callable[[pa.DataType], bool] = getattr(types, "is_binary_view", lambda _: False)


# Array.cast looks up the function and builds options for each array, which takes as long as casting 1,000 numbers.
_CAST = pc.get_function("cast")


def _to(target: pa.DataType) -> ArrayCast:
    """Return a function that casts an array to ``target``, and refuses values that do not fit."""
    options = pc.CastOptions.safe(target)
    return lambda array: _CAST.call([array], options)


class UnfitArrayError(ValueError):
    """The error for an array with a value that does not fit; the caller has to find this value and the reason."""


def check_range(array: pa.Array, low: int, high: int) -> None:
    """Raise UnfitArrayError unless all values of a numeric array are from ``low`` to ``high``, inclusive."""
    ends = pc.min_max(array)
    if ends["min"].is_valid and not low <= ends["min"].as_py() <= ends["max"].as_py() <= high:
        raise UnfitArrayError


def _integer(target: pa.DataType) -> Callable[[pa.DataType], ArrayCast | None]:
    def cast_from(source: pa.DataType) -> ArrayCast | None:
        if types.is_integer(source):
            return _to(target)
        if types.is_floating(source):
            return lambda array: _nan_to_null(array).cast(target)
        if types.is_decimal(source):
            return lambda array: array.cast(pa.int64()).cast(target)
        return None

    return cast_from


def _nan_to_null(array: pa.Array) -> pa.Array:
    # Data frames mark missing values by NaN. This function is called only for columns whose type has no NaN.
    array = array.cast(pa.float64())
    return pc.if_else(pc.is_nan(array), pa.scalar(None, pa.float64()), array)


def _float(source: pa.DataType) -> ArrayCast | None:
    if types.is_integer(source):
        # The cast refuses whole numbers beyond 24 bits; the exact walk accepts those that a 32-bit float holds exactly.
        return lambda array: array.cast(pa.float32())
    if types.is_floating(source):
        return _single
    return None


def _single(array: pa.Array) -> pa.Array:
    if array.type.bit_width <= pa.float32().bit_width:
        return array.cast(pa.float32())
    size = pc.abs(array)
    if pc.any(pc.and_(pc.greater_equal(size, FLOAT32_LIMIT), pc.is_finite(size))).as_py():
        raise UnfitArrayError
    return array.cast(pa.float32())


def _double(source: pa.DataType) -> ArrayCast | None:
    if types.is_integer(source) or types.is_floating(source):
        return _to(pa.float64())
    return None


def _boolean(source: pa.DataType) -> ArrayCast | None:
    return (lambda array: array) if types.is_boolean(source) else None


def string_cast(source: pa.DataType, kind: StringType) -> ArrayCast | None:
    """Return a function that casts text to ``kind``; return None if ``source`` is not a type of text.

    ``kind`` is STRING, VARCHAR(n) or CHAR(n), where n is a number of characters.
    """
    if not (types.is_string(source) or types.is_large_string(source) or _is_string_view(source)):
        return None
    as_text = _to(pa.large_string())

    def convert(array: pa.Array) -> pa.Array:
        text = as_text(array)
        _check_utf8(text)
        if kind.length is not None:
            check_range(pc.utf8_length(text), 0, kind.length)
        return text

    return convert


def _check_utf8(text: pa.LargeStringArray) -> None:
    """Raise pyarrow.ArrowInvalid for invalid UTF-8, which arrays from files and from unchecked casts can contain."""
    _, offsets, data = text.buffers()
    if data is not None and len(text):
        ends = memoryview(offsets).cast("q")
        start, stop = ends[text.offset], ends[text.offset + len(text)]
        # Checking all bytes of the column at once takes a twentieth of the time of checking its values one by one.
        if memoryview(data)[start:stop].tobytes().isascii():
            return
    text.validate(full=True)


def _binary(source: pa.DataType) -> ArrayCast | None:
    is_binary = types.is_binary(source) or types.is_large_binary(source) or types.is_fixed_size_binary(source)
    if is_binary or _is_binary_view(source):
        return lambda array: array.cast(pa.large_binary())
    return None


def _date(source: pa.DataType) -> ArrayCast | None:
    if types.is_date32(source) or types.is_integer(source):

        def from_days(array: pa.Array) -> pa.Array:
            days = array.cast(pa.int32())
            check_range(days, *DAY_RANGE)
            return days.cast(pa.date32())

        return from_days
    if types.is_date64(source) or (types.is_timestamp(source) and source.tz is None):

        def from_midnight(array: pa.Array) -> pa.Array:
            days = array.cast(pa.date32(), safe=False)
            # A cast to days silently drops the time of day.
            if not days.cast(source).equals(array):
                raise UnfitArrayError
            return from_days_checked(days)

        return from_midnight
    return None


def from_days_checked(days: pa.Array) -> pa.Array:
    """Return the date32 array ``days``; raise UnfitArrayError unless all years are 0001 to 9999."""
    check_range(days.cast(pa.int32()), *DAY_RANGE)
    return days


def _moment(kind: Kind) -> Callable[[pa.DataType], ArrayCast | None]:
    def cast_from(source: pa.DataType) -> ArrayCast | None:
        if not types.is_timestamp(source) or (kind is Kind.TIMESTAMP_NTZ and source.tz is not None):
            return None
        # The time zone stays the same, so that only the unit is cast. Arrow's numbers count from 1970 in UTC, whatever
        # the zone is; times without a zone are taken as UTC.
        as_microseconds = _to(pa.timestamp("us", source.tz))
        return lambda array: microseconds_as(kind, as_microseconds(array).view(pa.int64()))

    return cast_from


def epoch_cast(kind: Kind, unit: str | None) -> ArrayCast | None:
    """Return a function that casts whole numbers to the timestamp type ``kind``; return None if ``unit`` is ``ns``.

    The numbers are times since the start of 1970, and ``unit`` is their unit; see ``values.epochs``.
    """
    if unit == "ns":
        return None

    def convert(array: pa.Array) -> pa.Array:
        numbers = array.cast(pa.int64())
        if unit is not None:
            return microseconds_as(kind, pc.multiply_checked(numbers, FACTORS[unit]))
        low, high = DOUBTFUL
        if pc.any(pc.and_(pc.greater_equal(numbers, low), pc.less(numbers, high))).as_py():
            raise UnfitArrayError
        return microseconds_as(kind, numbers)

    return convert


def microseconds_as(kind: Kind, microseconds: pa.Array) -> pa.Array:
    """Return microseconds since 1970 as Arrow timestamps; raise UnfitArrayError unless all years are 0001 to 9999."""
    check_range(microseconds, *MICROSECOND_RANGE)
    return microseconds.view(pa.timestamp("us", "UTC" if kind is Kind.TIMESTAMP else None))


def decimal_cast(source: pa.DataType, kind: DecimalType) -> ArrayCast | None:
    """Return a function that casts an array to decimal text for a DECIMAL(p, s).

    Return None if the values of the type ``source`` have to be checked one by one.
    """
    if types.is_decimal(source):
        # Whether 256 bits hold the digits before the point in addition to 38 digits after it.
        is_roomy = source.scale <= _WIDE.scale and source.precision - source.scale <= _WIDE.precision - _WIDE.scale
        return (lambda array: as_decimal_text(array, kind)) if is_roomy else None
    if types.is_integer(source):
        return lambda array: as_decimal_text(array.cast(pa.decimal128(_INTEGER_DIGITS, 0)), kind)
    return None


def as_decimal_text(array: pa.Array, kind: DecimalType) -> pa.Array:
    """Return decimals as text without an exponent; raise ArrowInvalid if a decimal has too many digits for ``kind``."""
    if array.type.precision + kind.scale - array.type.scale > _MAX_DIGITS:
        # Arrow multiplies before it checks for overflow: 327 cast to DECIMAL(38, 38) would silently be a wrong number.
        array = array.cast(_WIDE)
    exact = array.cast(pa.decimal128(kind.precision, kind.scale))
    text = exact.cast(pa.large_string())
    if not pc.any(pc.match_substring(text, "E")).as_py():
        return text
    # Arrow writes very small numbers as 1E-9.
    return pa.array([None if v is None else format(v, "f") for v in exact.to_pylist()], pa.large_string())


def value_cast(kind: DataType, rules: ConversionRules) -> ArrayCast:
    """Return a function that casts an array by passing each value to the exact converter.

    The function takes about a microsecond per value.
    """
    convert_value = scalar_converter(kind, rules)
    is_null = null_test(kind, rules, nan_is_null=True)
    target = working_type(kind)

    def convert(array: pa.Array) -> pa.Array:
        try:
            return pa.array([None if is_null(v) else convert_value(v) for v in array.to_pylist()], target)
        except (UnfitError, UnicodeDecodeError):
            raise UnfitArrayError from None

    return convert


SCALAR_CASTS: dict[Kind, Callable[[pa.DataType], ArrayCast | None]] = {
    Kind.TINYINT: _integer(pa.int8()),
    Kind.SMALLINT: _integer(pa.int16()),
    Kind.INT: _integer(pa.int32()),
    Kind.BIGINT: _integer(pa.int64()),
    Kind.FLOAT: _float,
    Kind.DOUBLE: _double,
    Kind.BOOLEAN: _boolean,
    Kind.BINARY: _binary,
    Kind.DATE: _date,
    Kind.TIMESTAMP: _moment(Kind.TIMESTAMP),
    Kind.TIMESTAMP_NTZ: _moment(Kind.TIMESTAMP_NTZ),
}
