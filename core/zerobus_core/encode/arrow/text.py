"""Casts text, as in CSV files, to the types of a table's columns; used if ``parse_text`` is set.

The rules are those of ``values.text``. Arrow's own casts accept some strings that the rules refuse; for these strings,
this module raises UnfitArrayError. Arrow's own casts also refuse some strings that the rules accept, so each
string that a cast refuses is converted again by the exact rules for single values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from ...schema.types import INTEGER_KINDS, DataType, DecimalType, Kind, PrimitiveType
from ..values.arrow_types import working_type
from ..values.text import NOT_FINITE, NULL_WORDS, WHOLE_NUMBER
from .scalars import UnfitArrayError, as_decimal_text, from_days_checked, microseconds_as

__all__ = ["text_cast"]

ArrayCast: TypeAlias = Callable[[pa.Array], pa.Array]
_NULLS = pa.array(NULL_WORDS, pa.large_string())
# Numbers that fit 256 bits with 38 digits after the point; only short numbers can have an exponent. Arrow multiplies
# before it checks for overflow, so other numbers could silently become wrong ones.
_ROOMY = r"[+-]?([0-9]{0,38}(\.[0-9]{0,38})?|[0-9]{0,18}(\.[0-9]{0,18})?[eE][+-]?(1?[0-9]|20))"
_MIDNIGHT = r"[Tt ]00:00(:00([.,]0{1,9})?)?$"
_ZONE = r"[Tt ][0-9:.,]+(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"


def text_cast(kind: DataType) -> ArrayCast | None:
    """Return a function that casts an array of text to the column type ``kind``.

    Return None if the cells have to be checked one by one.
    """
    parse = _parser(kind)
    if parse is None:
        return None
    return lambda array: parse(_words(array))


def _words(array: pa.Array) -> pa.Array:
    text = pc.utf8_trim_whitespace(array.cast(pa.large_string()))
    return pc.if_else(pc.is_in(text, value_set=_NULLS), pa.scalar(None, pa.large_string()), text)


def _parser(kind: DataType) -> ArrayCast | None:
    if isinstance(kind, DecimalType):
        return lambda text: as_decimal_text(_decimals(text), kind)
    if not isinstance(kind, PrimitiveType):
        return None
    if kind.kind in INTEGER_KINDS:
        target = working_type(kind)
        return lambda text: _integers(text).cast(target)
    return {
        Kind.FLOAT: _floats,
        Kind.DOUBLE: _doubles,
        Kind.BOOLEAN: _booleans,
        Kind.DATE: lambda text: from_days_checked(_days(text)),
        Kind.TIMESTAMP: _timestamps,
        Kind.TIMESTAMP_NTZ: lambda text: microseconds_as(
            Kind.TIMESTAMP_NTZ, text.cast(pa.timestamp("us")).cast(pa.int64())
        ),
    }.get(kind.kind)


def _integers(text: pa.Array) -> pa.Array:
    _check_all(text, WHOLE_NUMBER)  # Arrow itself would also accept 0x10
    return pc.replace_substring_regex(text, r"^\+|\.0*$", "").cast(pa.int64())


def _decimals(text: pa.Array) -> pa.Array:
    _check_all(text, _ROOMY)
    return text.cast(pa.decimal256(76, 38))


def _doubles(text: pa.Array) -> pa.Array:
    numbers = text.cast(pa.float64())
    # Arrow reads 1e400 as an infinity and nan(x) as NaN.
    _check_all(pc.filter(text, pc.invert(pc.is_finite(numbers))), NOT_FINITE)
    return numbers


def _floats(text: pa.Array) -> pa.Array:
    numbers = _doubles(text)
    single = numbers.cast(pa.float32())
    if not pc.is_finite(single).equals(pc.is_finite(numbers)):
        raise UnfitArrayError
    return single


def _booleans(text: pa.Array) -> pa.Array:
    lower = pc.utf8_lower(text)
    _check_all(lower, "true|false")
    return pc.equal(lower, "true")


def _timestamps(text: pa.Array) -> pa.Array:
    has_zone = pc.match_substring_regex(text, _ZONE)
    nothing = pa.scalar(None, pa.large_string())
    zoned = pc.if_else(has_zone, text, nothing).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    naive = pc.if_else(has_zone, nothing, text).cast(pa.timestamp("us")).cast(pa.int64())
    return microseconds_as(Kind.TIMESTAMP, pc.coalesce(zoned, naive))


def _days(text: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(text, _MIDNIGHT, "").cast(pa.date32())


def _check_all(text: pa.Array, pattern: str) -> None:
    if pc.all(pc.match_substring_regex(text, f"^({pattern})$")).as_py() is False:
        raise UnfitArrayError
