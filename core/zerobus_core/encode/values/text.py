"""The rules for parsing text; they are the same for whole columns and for single values.

White space at the start and end is ignored, except in base64. Numerals have ASCII digits without separators. A whole
number can end in ``.0``, because data frames write whole numbers this way if the column has nulls. Dates and times are
ISO 8601.

An empty text, NA, N/A, NULL and null stand for NULL in columns of numbers, booleans, dates and times, but not in other
columns. For example, NA in a STRING column can be the country code of Namibia.

Every function that parses a text returns the value, or raises UnfitError with the reason.
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
# Patterns that must match the whole text. Both Arrow's RE2 and Python's re support them.
WHOLE_NUMBER = r"[+-]?[0-9]+(\.0*)?"
NOT_FINITE = r"[+-]?(?i:inf|infinity|nan)"
_NUMERAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE_NUMBER, _NOT_FINITE = re.compile(WHOLE_NUMBER), re.compile(NOT_FINITE)
# Numbers, dates and words in forms that are not parsed; for these, the reason has a hint.
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}([.,'\u2019 \u00a0\u202f]?[0-9]{3})*([.,][0-9]+)?")
_WITH_SIGN = re.compile(r"[$\u20ac\u00a3\u00a5].*|.*[$\u20ac\u00a3\u00a5%]")
_OTHER_DATE = re.compile(r"[0-9]{1,4}[./ -][0-9A-Za-z]{1,9}[./ -][0-9]{1,4}\b.*")
_OTHER_NULLS = frozenset({"\\N", "-", "--", "?", ".", "#n/a", "n.a.", "nan", "nil", "none", "(null)", "<na>", "nat"})
# Nanoseconds, which datetime.fromisoformat would silently cut off.
_NANOSECONDS = re.compile(r"[.,][0-9]{6}0*[1-9]")


def is_parsed(kind: DataType) -> bool:
    """Return whether text can be parsed into values of this type, for example into numbers or dates."""
    if isinstance(kind, PrimitiveType):
        return kind.kind not in {Kind.VARIANT, Kind.BINARY}
    return isinstance(kind, DecimalType)


def says_nothing(text: str) -> bool:
    """Return whether the text stands for NULL."""
    return str.strip(text) in NULL_WORDS


def whole_number(text: str) -> int:
    """Parse a whole number; it can have more than 64 bits."""
    text = str.strip(text)
    try:
        if _WHOLE_NUMBER.fullmatch(text):
            return int(text.partition(".")[0])
    except ValueError:  # more than Python's own limit of 4,300 digits
        pass
    raise UnfitError(f"the text is not a whole number{_number_hint(text)}")


def real_number(text: str) -> float:
    """Parse a number as the nearest double; the result is infinite only if the text is an infinity."""
    text = str.strip(text)
    if not _NUMERAL.fullmatch(text):
        if _NOT_FINITE.fullmatch(text):
            return float(text)
        raise UnfitError(f"the text is not a number{_number_hint(text)}")
    number = float(text)
    if math.isinf(number):
        raise UnfitError("too large for 64 bits")
    return number


def decimal_number(text: str) -> Decimal:
    """Parse a number with all its digits."""
    text = str.strip(text)
    try:
        if _NUMERAL.fullmatch(text):
            return Decimal(text)
    except InvalidOperation:  # an exponent that is too large for a Decimal
        pass
    raise UnfitError(f"the text is not a number{_number_hint(text)}")


def boolean(text: str, *, numeric: bool = False) -> bool:
    """Parse the word true or false, in upper, lower or mixed case; if ``numeric``, also parse 1 or 0."""
    lower = str.strip(text).lower()
    if numeric and _WHOLE_NUMBER.fullmatch(lower) and (number := whole_number(lower)) in {0, 1}:
        return bool(number)
    if lower not in {"true", "false"}:
        hint = _null_hint(lower) or ": for a CSV file, set other words with CsvFormat(true_values=…, false_values=…)"
        raise UnfitError(f"the text is neither true nor false{hint}")
    return lower == "true"


def base64_bytes(text: str) -> bytes:
    """Decode base64 text (RFC 4648, standard alphabet, padded); line breaks, as in MIME, are ignored."""
    try:
        return b64decode(str.replace(str.replace(text, "\n", ""), "\r", ""), validate=True)
    except ValueError:
        raise UnfitError("the text is not base64") from None


def day(text: str) -> date:
    """Parse a date.

    The date can be followed by 00:00:00, because databases and spreadsheets often write dates this way.
    """
    text = str.strip(text)
    try:
        return date.fromisoformat(text)
    except ValueError:
        at = moment(text)
    if at.tzinfo is not None or at.time() != time.min:
        raise UnfitError("the text has a time of day or a time zone, but a DATE has neither")
    return at.date()


def moment(text: str) -> datetime:
    """Parse a datetime; it has a time zone if the text has one."""
    text = str.strip(text)
    if _NANOSECONDS.search(text):
        raise UnfitError("has nanoseconds, but the column stores microseconds")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        hint = _null_hint(text)
        if _OTHER_DATE.fullmatch(text):
            hint = ": for a CSV file, describe its form with CsvFormat(date_format=…, timestamp_format=…)"
        raise UnfitError(f"the text is not ISO 8601{hint}") from None


def _number_hint(text: str) -> str:
    if _GROUPED.fullmatch(text) and not text.replace(".", "", 1).lstrip("+-").isdecimal():
        return ": for a CSV file, describe its form with CsvFormat(decimal_char=…, thousands_char=…)"
    if _WITH_SIGN.fullmatch(text):
        return ": remove the currency or percent sign with a transform, or deliver the text to a STRING column"
    return _null_hint(text)


def _null_hint(text: str) -> str:
    is_null = text.lower() in _OTHER_NULLS or text in _OTHER_NULLS
    return ": if it stands for NULL in a CSV file, list it with CsvFormat(null_values=…)" if is_null else ""
