"""The rules for parsing text, for whole columns and for single values alike.

White space around is ignored.  Numerals have ASCII digits without separators; a whole number may end in ``.0``, as data
frames write those of a column with gaps.  Dates and times are ISO 8601.  An empty text, NA, N/A, NULL and null say that
there is no value, except to types that take the text itself: Namibia's code is NA.

Every function returns the value, or raises UnfitError with the reason.
"""

from __future__ import annotations

import math
import re
from base64 import b64decode
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation

from ...records import UnfitError
from ...schema.types import DataType, DecimalType, Kind, PrimitiveType

__all__ = [
    "NOT_FINITE",
    "NULL_WORDS",
    "WHOLE_NUMBER",
    "base64_bytes",
    "boolean",
    "day",
    "decimal_number",
    "is_parsed",
    "moment",
    "real_number",
    "says_nothing",
    "whole_number",
]

NULL_WORDS = ("", "NA", "N/A", "NULL", "null")
# Patterns of the whole text, for Arrow's RE2 and for re alike.
WHOLE_NUMBER = r"[+-]?[0-9]+(\.0*)?"
NOT_FINITE = r"[+-]?(?i:inf|infinity|nan)"
_NUMERAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE_NUMBER, _NOT_FINITE = re.compile(WHOLE_NUMBER), re.compile(NOT_FINITE)
# What datetime.fromisoformat cuts off without a word.
_NANOSECONDS = re.compile(r"[.,][0-9]{6}0*[1-9]")


def is_parsed(kind: DataType) -> bool:
    """Whether text stands for a value of the type, and is not the value itself."""
    if isinstance(kind, PrimitiveType):
        return kind.kind not in {Kind.VARIANT, Kind.BINARY}
    return isinstance(kind, DecimalType)


def says_nothing(text: str) -> bool:
    """Whether the text stands for NULL."""
    return str.strip(text) in NULL_WORDS


def whole_number(text: str) -> int:
    """The number, of any size."""
    text = str.strip(text)
    try:
        if _WHOLE_NUMBER.fullmatch(text):
            return int(text.partition(".")[0])
    except ValueError:  # more than Python's own limit of 4,300 digits
        pass
    raise UnfitError("the text is not a whole number")


def real_number(text: str) -> float:
    """The nearest double; an infinity only if the text says so."""
    text = str.strip(text)
    if not _NUMERAL.fullmatch(text):
        if _NOT_FINITE.fullmatch(text):
            return float(text)
        raise UnfitError("the text is not a number")
    number = float(text)
    if math.isinf(number):
        raise UnfitError("too large for 64 bits")
    return number


def decimal_number(text: str) -> Decimal:
    """The number with all its digits."""
    text = str.strip(text)
    try:
        if _NUMERAL.fullmatch(text):
            return Decimal(text)
    except InvalidOperation:  # an exponent beyond all bounds
        pass
    raise UnfitError("the text is not a number")


def boolean(text: str, *, numeric: bool = False) -> bool:
    """True or false, in any case; also 1 or 0 if numbers are taken."""
    lower = str.strip(text).lower()
    if numeric and _WHOLE_NUMBER.fullmatch(lower) and (number := whole_number(lower)) in {0, 1}:
        return bool(number)
    if lower not in {"true", "false"}:
        raise UnfitError("the text is neither true nor false")
    return lower == "true"


def base64_bytes(text: str) -> bytes:
    """The bytes of base64 text (RFC 4648, the usual alphabet, padded); line breaks, as MIME has them, are ignored."""
    try:
        return b64decode(str.replace(str.replace(text, "\n", ""), "\r", ""), validate=True)
    except ValueError:
        raise UnfitError("the text is not base64") from None


def day(text: str) -> date:
    """A date, also with the time of midnight after it, as databases and spreadsheets write dates."""
    text = str.strip(text)
    try:
        return date.fromisoformat(text)
    except ValueError:
        at = moment(text)
    if at.tzinfo is not None or at.time() != time.min:
        raise UnfitError("the text has a time of day or a time zone, and a DATE has neither")
    return at.date()


def moment(text: str) -> datetime:
    """A datetime, with a time zone if the text has one."""
    text = str.strip(text)
    if _NANOSECONDS.search(text):
        raise UnfitError("has nanoseconds, and the column counts microseconds")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise UnfitError("the text is not ISO 8601") from None
