"""Casts of text, as CSV files hold it, to the types of a table's columns; used where text is to be parsed.

Cells that say that there is no value are NULL in every column that is not itself text: an empty cell, NA, N/A, NULL
and null.  A text column keeps these words, since Namibia's code is NA.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from ..schema.types import DataType, DecimalType, Kind, PrimitiveType
from .arrow_scalars import UnfitArrayError, as_decimal_text, from_days_checked, microseconds_as
from .arrow_types import working_type

__all__ = ["NULL_WORDS", "text_cast"]

ArrayCast: TypeAlias = Callable[[pa.Array], pa.Array]
NULL_WORDS = ("", "NA", "N/A", "NULL", "null")
_NULLS = pa.array(NULL_WORDS, pa.large_string())
_ZONE = r"[Tt ][0-9:.,]+(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"


def text_cast(kind: DataType) -> ArrayCast | None:
    """The cast from text; None where the cells have to be looked at one by one."""
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
    if kind.kind in {Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT}:
        target = working_type(kind)
        return lambda text: _integers(text).cast(target)
    return {
        Kind.FLOAT: _floats,
        Kind.DOUBLE: lambda text: text.cast(pa.float64()),
        Kind.BOOLEAN: _booleans,
        Kind.DATE: lambda text: from_days_checked(text.cast(pa.date32())),
        Kind.TIMESTAMP: _timestamps,
        Kind.TIMESTAMP_NTZ: lambda text: microseconds_as(
            Kind.TIMESTAMP_NTZ, text.cast(pa.timestamp("us")).cast(pa.int64())
        ),
    }.get(kind.kind)


def _integers(text: pa.Array) -> pa.Array:
    # Data frames write whole numbers of a column with gaps as 517.0; Arrow alone would also take 0x10.
    if not _all_match(text, r"^[+-]?[0-9]+(\.0*)?$"):
        raise UnfitArrayError
    return pc.replace_substring_regex(text, r"^\+|\.0*$", "").cast(pa.int64())


def _decimals(text: pa.Array) -> pa.Array:
    # 256 bits leave room for digits that are then found to be too many.
    return text.cast(pa.decimal256(76, 38))


def _floats(text: pa.Array) -> pa.Array:
    numbers = text.cast(pa.float64())
    single = numbers.cast(pa.float32())
    if not pc.is_finite(single).equals(pc.is_finite(numbers)):
        raise UnfitArrayError
    return single


def _booleans(text: pa.Array) -> pa.Array:
    lower = pc.utf8_lower(text)
    if not _all_match(lower, "^(true|false)$"):
        raise UnfitArrayError
    return pc.equal(lower, "true")


def _timestamps(text: pa.Array) -> pa.Array:
    has_zone = pc.match_substring_regex(text, _ZONE)
    nothing = pa.scalar(None, pa.large_string())
    zoned = pc.if_else(has_zone, text, nothing).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    naive = pc.if_else(has_zone, nothing, text).cast(pa.timestamp("us")).cast(pa.int64())
    return microseconds_as(Kind.TIMESTAMP, pc.coalesce(zoned, naive))


def _all_match(text: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(text, pattern)).as_py() is not False)
