"""Parses JSON texts into rows, with exact numbers wherever the table needs them.

Each line is parsed with orjson, which is fast but rounds some numbers: numbers with a fraction or an exponent, and
whole numbers beyond 64 bits, become doubles. Python's json module is slower and gives exact numbers. So a line is
parsed again with the json module if one of these is true:

* A DECIMAL, integer or VARIANT column has a double. These columns need every number exactly.
* A DOUBLE or FLOAT column has a double so large that it can be a whole number beyond 64 bits. Such a whole number is
  refused if the column would round it, so it is needed exactly.

A line is also parsed again if orjson refuses it, or if an object in it might have the same key twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import repeat
from operator import contains
from typing import Any, NoReturn

import orjson

from ....bad_rows import MARKER, from_letter
from ....encode.values.json_text import may_have_key_twice
from ....records import UnreadableRecord
from ....schema.types import ArrayType, DataType, DecimalType, Field, Kind, MapType, PrimitiveType, StructType

__all__ = ["JsonValues", "LineWithKeyTwice", "UnreadableLine"]

_EXACT_KINDS = {Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT}
_REALS = {Kind.FLOAT, Kind.DOUBLE}
_INT64_BITS = 63
_HUGE = 2.0**_INT64_BITS
# Every whole number beyond 64 bits has at least 19 digits. A line with 1e300 in a DOUBLE column, but without so many
# digits in a row, is not parsed again.
_LONG_DIGITS = re.compile(rb"[0-9]{19}")
# A number with a larger exponent has more than this many digits when it is written out; no column accepts it.
_MAX_EXPONENT = 1_000

Check = Callable[[Any], bool]
Settle = Callable[[Any], Any]


class UnreadableLine(UnreadableRecord):
    """A line that cannot be read as JSON. It is yielded in place of a row, and fits no table."""

    reason = "the line cannot be read as JSON"

    def __new__(cls, text: str, why: str = "") -> UnreadableLine:  # noqa: D102  # text is immutable, and has no __init__
        line = super().__new__(cls, text)
        line.reason = f"{cls.reason}: {why}" if why else cls.reason
        return line


class LineWithKeyTwice(UnreadableLine):
    """A line in which an object has the same key twice, so that it is unclear which of the two values is meant."""

    reason = "the line has one key twice in one object"


class JsonValues:
    """Parses JSON texts into rows. Numbers are exact wherever the types of ``columns`` require it.

    If ``columns`` is empty, numbers can be rounded to doubles.
    """

    def __init__(self, columns: Sequence[Field] = ()) -> None:
        self._settle = (_settler(StructType(tuple(columns))) or _unchanged) if columns else _all_settled
        checks = [(column.name, _check(column.type)) for column in columns]
        self._plain = tuple(name for name, check in checks if check is _is_float)
        self._reals = tuple(name for name, check in checks if check is _is_huge)
        of_whole_columns = {_is_float, _is_huge}
        self._nested = [(name, check) for name, check in checks if check is not None and check not in of_whole_columns]

    def record(self, text: str) -> Any:
        """Return the row in ``text``, the JSON text of the ``record`` field of a dead letter."""
        return self.row(b'{"%s":1,"record":%s}' % (MARKER.encode(), text.encode(errors="surrogatepass")))

    def row(self, line: bytes) -> Any:
        """Return the row in ``line``, which must not be blank.

        For a dead letter, the row is the record in it. For a line that cannot be read, the row is an UnreadableLine.
        """
        try:
            value = orjson.loads(line)
            if not may_have_key_twice(line, value):
                row = _opened(value)
                return row if not self._is_rounded(line, row) else self._exact_row(line)
        except (orjson.JSONDecodeError, RecursionError):
            pass  # orjson refuses valid JSON with integers beyond any double or with half a surrogate pair
        return self._exact_row(line)

    def rows(self, lines: Sequence[bytes]) -> list[Any]:
        """Return the row of each line, like ``row``, but usually much faster: ordinary lines are checked together."""
        try:
            values = list(map(orjson.loads, lines))
            if _are_plain_objects(lines, values) and not self._are_some_rounded(values):
                return values
            pairs = zip(lines, values, strict=True)
            return [value if self._is_settled(line, value) else self.row(line) for line, value in pairs]
        except (orjson.JSONDecodeError, RecursionError):
            return list(map(self.row, lines))

    def _is_settled(self, line: bytes, value: Any) -> bool:
        is_plain = type(value) is dict and MARKER not in value
        return is_plain and not may_have_key_twice(line, value) and not self._is_rounded(line, value)

    def _are_some_rounded(self, values: Sequence[dict[str, Any]]) -> bool:
        if any(float in set(map(type, map(dict.get, values, repeat(name)))) for name in self._plain):
            return True
        if any(_may_be_huge(map(dict.get, values, repeat(name))) for name in self._reals):
            return True
        return any(any(map(check, map(dict.get, values, repeat(name)))) for name, check in self._nested)

    def _is_rounded(self, line: bytes, row: Any) -> bool:
        if not isinstance(row, dict):
            return False
        get = row.get
        if float in map(type, map(get, self._plain)) or any(check(get(name)) for name, check in self._nested):
            return True
        return any(map(_is_huge, map(get, self._reals))) and _LONG_DIGITS.search(line) is not None

    def _exact_row(self, line: bytes) -> Any:
        kind: type[UnreadableLine]
        try:
            return self._settle(_opened(_DECODER.decode(line.decode(errors="surrogatepass"))))
        except _KeyTwiceError:
            kind, why = LineWithKeyTwice, ""
        except json.JSONDecodeError as error:
            kind, why = UnreadableLine, f"{error.msg[:1].lower()}{error.msg[1:]} at character {error.pos + 1}"
        except UnicodeDecodeError as error:
            kind, why = UnreadableLine, f"byte {error.start + 1} is not UTF-8"
        except RecursionError:
            kind, why = UnreadableLine, "it is nested too deeply"
        except (ValueError, ArithmeticError) as error:
            kind, why = UnreadableLine, str(error) if isinstance(error, _UnfitNumberError) else ""
        return kind(line.decode(errors="replace").rstrip("\r\n"), why)


def _are_plain_objects(lines: Sequence[bytes], values: Sequence[Any]) -> bool:
    """Return whether every value is certainly an object that has no repeated keys and is not a dead letter."""
    if set(map(type, values)) != {dict} or any(map(contains, values, repeat(MARKER))):
        return False
    # A line cannot have fewer keys than its value, so if the sums are equal, the numbers are equal in every line.
    return not may_have_key_twice(b"".join(lines), values)


def _unchanged(row: Any) -> Any:
    return row


def _opened(value: Any) -> Any:
    """If ``value`` is a dead letter, return the record in it; otherwise, return ``value`` unchanged."""
    return from_letter(value.get("record")) if isinstance(value, dict) and MARKER in value else value


# Checks for lines that have to be parsed again


def _is_float(value: Any) -> bool:
    return type(value) is float


def _is_huge(value: Any) -> bool:
    """Return whether ``value`` is a double that can be the result of rounding a whole number beyond 64 bits."""
    return type(value) is float and abs(value) >= _HUGE


def _may_be_huge(values: Iterable[Any]) -> bool:
    """Return whether one of ``values`` might be huge, in the sense of ``_is_huge``.

    The function tests only the sum of the absolute values, which takes half the time of testing each value. The result
    False is always correct. True can be wrong, because the sum can be huge although each value is small.
    """
    numbers = list(filter(None, values))
    try:
        return bool(sum(map(abs, numbers)) >= _HUGE)
    except TypeError:  # a value is not a number
        return any(map(_is_huge, numbers))


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_float, value.values()))
    return any(map(_has_float, value)) if isinstance(value, list) else type(value) is float


def _check(kind: DataType) -> Check | None:
    """Return a function that detects rounded numbers in a column of type ``kind``.

    Returns None instead of a function if rounding does not matter for ``kind``. The function takes one value of the
    column, and returns whether orjson may have rounded a number in it.
    """
    if isinstance(kind, StructType):
        members = [(field.name, check) for field in kind.fields if (check := _check(field.type)) is not None]
        return (lambda value: _any_member(value, members)) if members else None
    if isinstance(kind, ArrayType | MapType):
        inner = _check(kind.element if isinstance(kind, ArrayType) else kind.value)
        if inner is _is_huge:
            return _has_huge_item
        return None if inner is None else lambda value: _any_item(value, inner)
    if _is_variant(kind):
        return _has_float
    if _is_exact(kind):
        return _is_float
    return _is_huge if _is_real(kind) else None


def _any_member(value: Any, members: Sequence[tuple[str, Check]]) -> bool:
    return isinstance(value, dict) and any(check(value.get(name)) for name, check in members)


def _any_item(value: Any, check: Check) -> bool:
    if isinstance(value, dict):
        return any(map(check, value.values()))
    return isinstance(value, list) and any(map(check, value))


def _has_huge_item(value: Any) -> bool:
    if isinstance(value, dict):
        return _may_be_huge(value.values())
    return isinstance(value, list) and _may_be_huge(value)


def _is_real(kind: DataType) -> bool:
    return isinstance(kind, PrimitiveType) and kind.kind in _REALS


def _is_variant(kind: DataType) -> bool:
    return isinstance(kind, PrimitiveType) and kind.kind is Kind.VARIANT


def _is_exact(kind: DataType) -> bool:
    return isinstance(kind, DecimalType) or (isinstance(kind, PrimitiveType) and kind.kind in _EXACT_KINDS)


# Parsing with exact numbers


class _KeyTwiceError(ValueError):
    pass


class _UnfitNumberError(ValueError):
    """Raised for NaN and Infinity, which JSON does not allow, and for a number that no column can hold."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _KeyTwiceError
    return members


def _number(text: str) -> Decimal:
    number = Decimal(text)
    if number and abs(number.adjusted()) > _MAX_EXPONENT:
        raise _UnfitNumberError("a number of this size fits no column")
    return number


def _no_json(constant: str) -> NoReturn:
    raise _UnfitNumberError(f'{constant} is not valid JSON; write null, or "{constant}" for a DOUBLE column')


_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_no_json, object_pairs_hook=_object)


def _settler(kind: DataType) -> Settle | None:
    """Return a function that converts the numbers in a column of type ``kind``.

    Returns None instead of a function if no conversion is needed. The function takes one value of the column, as parsed
    by Python's json module with exact numbers. It returns the value with its numbers converted to the Python types that
    ``kind`` needs.
    """
    if isinstance(kind, StructType):
        members = {field.name: settle for field in kind.fields if (settle := _settler(field.type)) is not None}
        return (lambda value: _settled_members(value, members)) if members else None
    if isinstance(kind, ArrayType | MapType):
        inner = _settler(kind.element if isinstance(kind, ArrayType) else kind.value)
        return None if inner is None else lambda value: _settled_items(value, inner)
    if _is_variant(kind):
        return _settled_variant
    if _is_exact(kind):
        return None
    return _settled_real if _is_real(kind) else _all_settled


def _settled_members(value: Any, members: Mapping[str, Settle]) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: members[name](item) if name in members else item for name, item in value.items()}


def _settled_items(value: Any, settle: Settle) -> Any:
    if isinstance(value, dict):
        return {key: settle(item) for key, item in value.items()}
    return [settle(item) for item in value] if isinstance(value, list) else value


def _settled_real(value: Any) -> Any:
    if not isinstance(value, Decimal):
        return value  # a whole number stays an int, which the table refuses if the column would round it
    number = _as_float(value)
    # As text, the number is refused because of its size; as a Decimal, it would be refused because of its type.
    return number if isinstance(number, float) else str(value)


def _settled_variant(value: Any) -> Any:
    """Replace whole numbers beyond 64 bits with Decimals, because orjson cannot write such integers."""
    if isinstance(value, dict):
        return {key: _settled_variant(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_settled_variant(item) for item in value]
    return Decimal(value) if type(value) is int and value.bit_length() > _INT64_BITS else value


def _all_settled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _all_settled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_all_settled(item) for item in value]
    return _as_float(value) if isinstance(value, Decimal) else value


def _as_float(value: Decimal | int) -> Any:
    """Return the double nearest to ``value``. If that is infinite, return ``value``, so that the table refuses it."""
    try:
        number = float(value)
    except OverflowError:
        return value
    return value if number in {float("inf"), float("-inf")} else number
