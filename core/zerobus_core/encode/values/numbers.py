"""Converts numbers to wire values, exactly or not at all; see ``scalars``."""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation
from typing import Any

from ...records import UnfitError
from ...schema.types import DecimalType, Kind
from . import text
from .given import parsable, unwrapped
from .json_input import JsonNumber

__all__ = [
    "EXACT_IN_SINGLE",
    "FLOAT32_LIMIT",
    "INTEGER_BITS",
    "decimal_converter",
    "float_converter",
    "integer_converter",
]

INTEGER_BITS = {Kind.TINYINT: 8, Kind.SMALLINT: 16, Kind.INT: 32, Kind.BIGINT: 64}
# The smallest double that becomes an infinity when it is rounded to 32 bits.
FLOAT32_LIMIT = 3.4028235677973366e38
# Up to this limit, a 32-bit float (a single) holds every whole number exactly.
EXACT_IN_SINGLE = 2**24
# Enough digits for any double, which has at most 309 of them before the point.
_ROUNDING = Context(prec=400, rounding=ROUND_HALF_UP)


def integer_converter(bits: int, *, parse_text: bool) -> Callable[[Any], int]:
    """Return a converter to signed whole numbers; it refuses numbers that do not fit in ``bits`` bits."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def convert(value: Any) -> int:
        number = _whole(unwrapped(value), parse_text=parse_text)
        if not low <= number <= high:
            raise UnfitError(f"out of range, which is {low} to {high}")
        return number

    return convert


def _whole(value: Any, *, parse_text: bool) -> int:
    if isinstance(value, bool):
        raise UnfitError("a boolean is not a number")
    if isinstance(value, str):
        return text.whole_number(parsable(value, "a number", parse_text))
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            raise UnfitError("not a finite number")
        if value != (whole := int(value)):
            raise UnfitError("has a fraction and is not rounded automatically")
        return whole
    try:
        return int(operator.index(value))
    except TypeError:
        raise UnfitError("not a whole number") from None


def float_converter(*, is_single: bool, parse_text: bool, finite: bool) -> Callable[[Any], float]:
    """Return a converter to doubles.

    The converter refuses ints that a double cannot hold exactly. If ``is_single``, it also refuses ints that a 32-bit
    float cannot hold exactly, and numbers that are too large for a 32-bit float. If ``finite``, it also refuses NaN and
    infinities.
    """

    def convert(value: Any) -> float:
        given = unwrapped(value)
        number = _real(given, parse_text=parse_text)
        if math.isfinite(number):
            if is_single:
                _check_single(given, number)
        elif finite:
            raise UnfitError(
                'JSON has no NaN or infinity: set record_format to "protobuf" or "arrow", or send None (NULL) instead'
            )
        return number

    return convert


def _check_single(given: Any, number: float) -> None:
    """Raise UnfitError for a number too large for a 32-bit float, and for an int that such a float cannot hold exactly.

    Floats and numbers in text are accepted even if a 32-bit float cannot hold them exactly.
    """
    if abs(number) >= FLOAT32_LIMIT:
        raise UnfitError("too large for 32 bits")
    if (
        isinstance(given, int)
        and abs(number) > EXACT_IN_SINGLE
        and struct.unpack("f", struct.pack("f", number)) != (number,)
    ):
        raise UnfitError("a FLOAT cannot hold this whole number exactly: pass float(value) to round it")


def _real(value: Any, *, parse_text: bool) -> float:
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bool):
        raise UnfitError("a boolean is not a number")
    if isinstance(value, int):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if number != value:
            raise UnfitError("a double cannot hold this whole number exactly")
        return number
    if isinstance(value, str):
        return text.real_number(parsable(value, "a number", parse_text))
    if isinstance(value, JsonNumber):
        return text.real_number(str(value))
    if isinstance(value, Decimal):
        raise UnfitError("a Decimal is not rounded to a float automatically: pass float(value)")
    raise UnfitError("not a number")


def decimal_converter(kind: DecimalType, *, parse_text: bool, round_floats: bool) -> Callable[[Any], str]:
    """Return a converter from numbers to decimal text, which is the wire value of a DECIMAL."""
    before, scale = kind.precision - kind.scale, kind.scale
    unit = Decimal(1).scaleb(-scale)
    exact = Context(prec=kind.precision + 2, traps=[Inexact, InvalidOperation])

    def convert(value: Any) -> str:
        value = unwrapped(value)
        number = (
            _rounded(value, scale) if round_floats and isinstance(value, float) else _exact_number(value, parse_text)
        )
        if number and number.adjusted() >= before:
            raise UnfitError(f"has more than {before} digits before the point")
        if -int(number.as_tuple().exponent) <= scale:  # finite, so the exponent is a number
            return format(number, "f")
        try:
            return format(number.quantize(unit, context=exact), "f")
        except (Inexact, InvalidOperation):
            raise UnfitError(f"has more than {scale} digits after the point and is not rounded automatically") from None

    return convert


def _exact_number(value: Any, parse_text: bool) -> Decimal:
    if isinstance(value, str):
        return text.decimal_number(parsable(value, "a Decimal", parse_text))
    if isinstance(value, bool):
        raise UnfitError("a boolean is not a number")
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise UnfitError("not a finite number")
        return value
    if isinstance(value, float):
        raise UnfitError("a float is not exact: pass Decimal(str(value)), or set round_floats=True")
    raise UnfitError("not a decimal number")


def _rounded(value: float, scale: int) -> Decimal:
    """Return the number that ``repr(value)`` shows, rounded half up to ``scale`` digits after the point."""
    if not math.isfinite(value):
        raise UnfitError("not a finite number")
    number = Decimal(repr(value))
    if -int(number.as_tuple().exponent) <= scale:
        return number
    return number.quantize(Decimal(1).scaleb(-scale), context=_ROUNDING)
