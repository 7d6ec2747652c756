"""Finds the rows in which orjson may have rounded a number that the table needs exactly; see ``json_values``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple

from ....schema.types import ArrayType, DataType, Field, MapType, StructType
from .exact_json import is_exact, is_real, is_variant

__all__ = ["LONG_DIGITS", "Fields", "has_float", "is_huge", "may_lose_digits"]

_HUGE = 2.0**63
# Every whole number beyond 64 bits has at least 19 digits. A line with 1e300 in a DOUBLE column, but without so many
# digits in a row, is not parsed again.
LONG_DIGITS = re.compile(rb"[0-9]{19}")
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

Check = Callable[[Any], bool]


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
            if check.find_among(column) if isinstance(check, Fields) else any(map(check, column)):
                return True
        return False

    def find_in_others(self, values: Sequence[dict[str, Any]]) -> bool:
        """Return whether a field without a column has a double in one of ``values``."""
        return any(_is_float_among(list(map(dict.get, values, repeat(name)))) for name in self.others)


class Fields:
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
        if checks.reals and any(map(is_huge, map(get, checks.reals))):
            return True
        if checks.nested and any(check(get(name)) for name, check in checks.nested):
            return True
        return bool(checks.others) and any(map(has_float, map(get, checks.others)))

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
            elif check is is_huge:
                reals.append(name)
            elif check is not None:
                nested.append((name, check))
        return _Checks(tuple(plain), tuple(reals), tuple(nested), tuple(others))


def may_lose_digits(text: bytes) -> bool:
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


def is_huge(value: Any) -> bool:
    """Return whether ``value`` is a double that can be the result of rounding a whole number beyond 64 bits."""
    return type(value) is float and abs(value) >= _HUGE


def _may_be_huge(values: Iterable[Any]) -> bool:
    """Return whether one of ``values`` might be huge, in the sense of ``is_huge``.

    The function tests only the sum of the absolute values, which takes half the time of testing each value. The result
    False is always correct. True can be wrong, because the sum can be huge although each value is small.
    """
    numbers = list(filter(None, values))
    try:
        return bool(sum(map(abs, numbers)) >= _HUGE)
    except TypeError:  # a value is not a number
        return any(map(is_huge, numbers))


def has_float(value: Any) -> bool:
    """Return whether ``value`` is a double or contains one."""
    if isinstance(value, dict):
        return any(map(has_float, value.values()))
    return any(map(has_float, value)) if isinstance(value, list) else type(value) is float


def _is_float_among(values: Sequence[Any]) -> bool:
    """Return whether one of ``values`` is a double or contains one."""
    kinds = set(map(type, values))
    return float in kinds or (not kinds.isdisjoint((dict, list)) and any(map(has_float, values)))


def _check(kind: DataType) -> Check | None:
    """Return a function that detects rounded numbers in a column of type ``kind``.

    Returns None instead of a function if rounding does not matter for ``kind``. The function takes one value of the
    column, and returns whether orjson may have rounded a number in it.
    """
    if isinstance(kind, StructType):
        return Fields(kind.fields)
    if isinstance(kind, ArrayType | MapType):
        inner = _check(kind.element if isinstance(kind, ArrayType) else kind.value)
        if inner is is_huge:
            return _has_huge_item
        return None if inner is None else lambda value: _any_item(value, inner)
    if is_variant(kind):
        return has_float
    if is_exact(kind):
        return _is_float
    return is_huge if is_real(kind) else None


def _any_item(value: Any, check: Check) -> bool:
    if isinstance(value, dict):
        return any(map(check, value.values()))
    return isinstance(value, list) and any(map(check, value))


def _has_huge_item(value: Any) -> bool:
    if isinstance(value, dict):
        return _may_be_huge(value.values())
    return isinstance(value, list) and _may_be_huge(value)
