"""Parses JSON texts with exact numbers, and converts the numbers to what the columns of a table need."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NoReturn

from ....schema.types import (
    INTEGER_KINDS,
    REAL_KINDS,
    ArrayType,
    DataType,
    DecimalType,
    Field,
    Kind,
    MapType,
    PrimitiveType,
    StructType,
    is_primitive,
)

__all__ = [
    "EXACT_DECODER",
    "KeyTwiceError",
    "UnfitNumberError",
    "is_exact",
    "is_real",
    "is_variant",
    "settler",
]

_INT64_BITS = 63
# A number with a larger exponent has more than this many digits when it is written out; no column accepts it.
_MAX_EXPONENT = 1_000

Settle = Callable[[Any], Any]


def settler(columns: Sequence[Field]) -> Settle:
    """Return a function that converts the numbers in a row for ``columns``; to doubles if there are no columns."""
    return (_settler(StructType(tuple(columns))) or _unchanged) if columns else _all_settled


def _unchanged(row: Any) -> Any:
    return row


def is_real(kind: DataType) -> bool:
    """Return whether the type is FLOAT or DOUBLE."""
    return is_primitive(kind, REAL_KINDS)


def is_variant(kind: DataType) -> bool:
    """Return whether the type is VARIANT."""
    return kind == PrimitiveType(Kind.VARIANT)


def is_exact(kind: DataType) -> bool:
    """Return whether the type is DECIMAL or a type of whole numbers, which need exact numbers."""
    return isinstance(kind, DecimalType) or is_primitive(kind, INTEGER_KINDS)


class KeyTwiceError(ValueError):
    """Raised for an object that has the same key twice."""


class UnfitNumberError(ValueError):
    """Raised for NaN and Infinity, which JSON does not allow, and for a number that no column can hold."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise KeyTwiceError
    return members


def _number(text: str) -> Decimal:
    number = Decimal(text)
    if number and abs(number.adjusted()) > _MAX_EXPONENT:
        raise UnfitNumberError("a number of this size fits no column")
    return number


def _no_json(constant: str) -> NoReturn:
    raise UnfitNumberError(f'{constant} is not valid JSON; write null, or "{constant}" for a DOUBLE column')


EXACT_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_no_json, object_pairs_hook=_object)


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
    if is_variant(kind):
        return _settled_variant
    if is_exact(kind):
        return None
    return _settled_real if is_real(kind) else _all_settled


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
