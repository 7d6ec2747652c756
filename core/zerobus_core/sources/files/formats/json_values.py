"""Parses JSON texts into rows, with exact numbers wherever the table needs them.

Each line is parsed with orjson, which is fast but rounds some numbers: numbers with a fraction or an exponent, and
whole numbers beyond 64 bits, become doubles. Python's json module is slower and gives exact numbers. So a line is
parsed again with the json module if one of these is true:

* A DECIMAL, integer or VARIANT column has a double. These columns need every number exactly.
* A DOUBLE or FLOAT column has a double so large that it can be a whole number beyond 64 bits. Such a whole number is
  refused if the column would round it, so it is needed exactly.
* A field without a column has a double, and the line has a number that a double changes. Such fields can be collected
  in a VARIANT or in the rescue column. A number in them is a double if the double is written with the same value, and a
  Decimal otherwise.

A line is also parsed again if orjson refuses it, or if an object in it might have the same key twice. Names of columns,
and of the fields of a STRUCT, are compared without case, as everywhere in a delivery.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple, NoReturn

import orjson

from ....bad_rows import MARKER, row_of_letter
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
# A double keeps every number of at most 15 digits, unless the number is so close to 0 that its exponent has 3 digits.
# Both are looked for in the text after every digit and every point has become 0, which is faster than a pattern.
_AS_ZEROS = bytes.maketrans(b"123456789.E", b"0000000000e")
_MANY_DIGITS = b"0" * 16
_CLOSE_TO_0 = b"e-000"
# Whole numbers with fewer digits are within 64 bits, and so orjson does not make doubles of them.
_UNSAFE_DIGITS = 19
_LONG_NUMBER = re.compile(rb"[0-9][0-9.]{15,}(?:[eE][+-]?[0-9]+)?")
# With more names of other fields, testing each row by itself is faster than testing each field in all rows.
_MOST_OTHER_NAMES = 50
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
        self._fields = _Fields(columns) if columns else None

    def row(self, line: bytes) -> Any:
        """Return the row in ``line``, which must not be blank.

        For a dead letter, the row is the record in it. For a line that cannot be read, the row is an UnreadableLine.
        """
        try:
            value = orjson.loads(line)
            if not may_have_key_twice(line, value):
                if isinstance(value, dict) and MARKER in value:
                    return row_of_letter(line)
                return self._exact_row(line) if self._is_rounded(line, value) else value
        except (orjson.JSONDecodeError, RecursionError):
            pass  # orjson refuses valid JSON with integers beyond any double or with half a surrogate pair
        return self._exact_row(line)

    def rows(self, lines: Sequence[bytes]) -> list[Any]:
        """Return the row of each line, like ``row``, but usually much faster: ordinary lines are checked together."""
        try:
            values = list(map(orjson.loads, lines))
            names = _names_of_plain_objects(lines, values)
            if names is not None and not self._are_some_rounded(lines, values, names):
                return values
            pairs = zip(lines, values, strict=True)
            return [value if self._is_settled(line, value) else self.row(line) for line, value in pairs]
        except (orjson.JSONDecodeError, RecursionError):
            return list(map(self.row, lines))

    def _is_settled(self, line: bytes, value: Any) -> bool:
        is_plain = type(value) is dict and MARKER not in value
        return is_plain and not may_have_key_twice(line, value) and not self._is_rounded(line, value)

    def _are_some_rounded(self, lines: Sequence[bytes], values: Sequence[dict[str, Any]], names: set[str]) -> bool:
        """Return whether a number that is needed exactly might be rounded in ``values``, whose keys are ``names``."""
        if self._fields is None:
            return False
        checks = self._fields.checks_of_all(names)
        if checks is None or checks.find_in_columns(values):
            return True
        return checks.find_in_others(values) and _may_lose_digits(b"\n".join(lines))

    def _is_rounded(self, line: bytes, row: Any) -> bool:
        if self._fields is None or not isinstance(row, dict):
            return False
        checks, get = self._fields.checks_of(row), row.get
        if float in map(type, map(get, checks.plain)) or any(check(get(name)) for name, check in checks.nested):
            return True
        if any(map(_is_huge, map(get, checks.reals))) and _LONG_DIGITS.search(line) is not None:
            return True
        return any(map(_has_float, map(get, checks.others))) and _may_lose_digits(line)

    def _exact_row(self, line: bytes) -> Any:
        kind: type[UnreadableLine]
        try:
            value = _DECODER.decode(line.decode(errors="surrogatepass"))
            return row_of_letter(line) if isinstance(value, dict) and MARKER in value else self._settle(value)
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


def _names_of_plain_objects(lines: Sequence[bytes], values: Sequence[Any]) -> set[str] | None:
    """Return the keys of all values if each is certainly an object without repeated keys and no dead letter, else None.

    ``values`` are the parsed ``lines``. The keys are those at the top of the objects.
    """
    if set(map(type, values)) != {dict}:
        return None
    names: set[str] = set().union(*values)
    # A line cannot have fewer keys than its value, so if the sums are equal, the numbers are equal in every line.
    return None if MARKER in names or may_have_key_twice(b"".join(lines), values) else names


def _unchanged(row: Any) -> Any:
    return row


# Checks for lines that have to be parsed again


def _types_in_column(values: Sequence[dict[str, Any]], name: str) -> set[type]:
    try:
        return set(map(type, map(itemgetter(name), values)))  # takes half the time of dict.get
    except KeyError:
        return set(map(type, map(dict.get, values, repeat(name))))


class _Checks(NamedTuple):
    """What has to be tested in objects that have certain keys."""

    plain: tuple[str, ...]
    """The keys of columns that need every number exactly."""
    reals: tuple[str, ...]
    """The keys of columns of doubles."""
    nested: tuple[tuple[str, Check], ...]
    """The keys of all other columns that hold numbers, with the functions that test their values."""
    others: tuple[str, ...]
    """The keys without a column."""

    def find_in_columns(self, values: Sequence[dict[str, Any]]) -> bool:
        """Return whether a column may have a rounded number in one of ``values``."""
        if any(float in _types_in_column(values, name) for name in self.plain):
            return True
        if any(_may_be_huge(map(dict.get, values, repeat(name))) for name in self.reals):
            return True
        for name, check in self.nested:
            column = map(dict.get, values, repeat(name))
            if check.find_among(column) if isinstance(check, _Fields) else any(map(check, column)):
                return True
        return False

    def find_in_others(self, values: Sequence[dict[str, Any]]) -> bool:
        """Return whether a field without a column has a double in one of ``values``."""
        return any(_is_float_among(list(map(dict.get, values, repeat(name)))) for name in self.others)


class _Fields:
    """The columns of a table or the fields of a STRUCT, found by their names without regard to case."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._by_lower = {field.name.lower(): _check(field.type) for field in fields}  # no two differ only in case
        self._names = {field.name for field in fields}
        self._own = self._checks_for(self._names)

    def checks_of(self, value: dict[str, Any]) -> _Checks:
        """Return the checks for one object."""
        return self._own if value.keys() <= self._names else self._checks_for(value)

    def checks_of_all(self, names: set[str]) -> _Checks | None:
        """Return checks for objects whose keys are ``names``; None if there are too many names for that."""
        if names <= self._names:
            return self._own
        return self._checks_for(names) if len(names) <= len(self._names) + _MOST_OTHER_NAMES else None

    def find_among(self, values: Iterable[Any]) -> bool:
        """Return whether one of ``values``, which belong to a STRUCT, might have a rounded number; see ``__call__``."""
        structs = [value for value in values if type(value) is dict]
        checks = self.checks_of_all(set().union(*structs))
        if checks is None:
            return any(map(self, structs))
        return checks.find_in_columns(structs) or checks.find_in_others(structs)

    def __call__(self, value: Any) -> bool:
        """Return whether ``value``, which belongs to a STRUCT, might have a rounded number that is needed exactly."""
        if not isinstance(value, dict):
            return False
        checks, get = self.checks_of(value), value.get
        if checks.plain and float in map(type, map(get, checks.plain)):
            return True
        if checks.reals and any(map(_is_huge, map(get, checks.reals))):
            return True
        if checks.nested and any(check(get(name)) for name, check in checks.nested):
            return True
        return bool(checks.others) and any(map(_has_float, map(get, checks.others)))

    def _checks_for(self, names: Iterable[str]) -> _Checks:
        plain: list[str] = []
        reals: list[str] = []
        nested: list[tuple[str, Check]] = []
        others: list[str] = []
        for name in names:
            lower = name.lower()
            if lower not in self._by_lower:
                others.append(name)
                continue
            check = self._by_lower[lower]
            if check is _is_float:
                plain.append(name)
            elif check is _is_huge:
                reals.append(name)
            elif check is not None:
                nested.append((name, check))
        return _Checks(tuple(plain), tuple(reals), tuple(nested), tuple(others))


def _may_lose_digits(text: bytes) -> bool:
    """Return whether a double might have another value than a number in the JSON ``text``; True can be wrong."""
    zeros = text.translate(_AS_ZEROS)
    if _CLOSE_TO_0 in zeros:
        return True
    return _MANY_DIGITS in zeros and not all(map(_is_kept, _LONG_NUMBER.findall(text)))


def _is_kept(written: bytes) -> bool:
    """Return whether orjson keeps the value of a number, or of digits in a string, which orjson keeps anyway."""
    text = written.decode()
    if text.isdigit():
        return len(text) < _UNSAFE_DIGITS
    try:
        shortest = repr(float(text))
        return shortest == text or Decimal(shortest) == Decimal(text)
    except (ValueError, ArithmeticError):
        return True  # orjson does not accept it as a number, so it is in a string


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


def _is_float_among(values: Sequence[Any]) -> bool:
    """Return whether one of ``values`` is a double or contains one."""
    kinds = set(map(type, values))
    return float in kinds or (not kinds.isdisjoint((dict, list)) and any(map(_has_float, values)))


def _check(kind: DataType) -> Check | None:
    """Return a function that detects rounded numbers in a column of type ``kind``.

    Returns None instead of a function if rounding does not matter for ``kind``. The function takes one value of the
    column, and returns whether orjson may have rounded a number in it.
    """
    if isinstance(kind, StructType):
        return _Fields(kind.fields)
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
        members = {field.name: _settler(field.type) or _unchanged for field in kind.fields}
        by_lower = {name.lower(): settle for name, settle in members.items()}
        return lambda value: _settled_members(value, members, by_lower)
    if isinstance(kind, ArrayType | MapType):
        inner = _settler(kind.element if isinstance(kind, ArrayType) else kind.value)
        return None if inner is None else lambda value: _settled_items(value, inner)
    if _is_variant(kind):
        return _settled_variant
    if _is_exact(kind):
        return None
    return _settled_real if _is_real(kind) else _all_settled


def _settled_members(value: Any, members: Mapping[str, Settle], by_lower: Mapping[str, Settle]) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        name: (members.get(name) or by_lower.get(name.lower(), _settled_other))(item) for name, item in value.items()
    }


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


def _settled_other(value: Any) -> Any:
    """Convert the numbers in a field without a column: to doubles, except those whose value a double does not have.

    A VARIANT can hold both. Doubles are what orjson gives, and what the user's ``transform`` can calculate with.
    """
    if isinstance(value, dict):
        return {key: _settled_other(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_settled_other(item) for item in value]
    if isinstance(value, Decimal):
        number = _as_float(value)
        return number if number is value or Decimal(repr(number)) == value else value
    return _settled_variant(value)


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
