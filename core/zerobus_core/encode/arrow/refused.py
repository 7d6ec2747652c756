"""Converts the values of refused rows to Python values: for an error's message, and for a dead letter.

Some values of Arrow have no equal Python value, for example times outside of the years 1 to 9999, and text that is not
valid UTF-8. A message shows text instead. A dead letter must not hold such text as the value, because a STRING or
VARIANT column would accept it when the letter is replayed. It gets an UnfitValue, which fits no column.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

import pyarrow as pa

from ...records import UnfitValue
from ...schema.types import ArrayType, DataType, Field, Kind, MapType, PrimitiveType, StructType
from .values import FINE_TIME, NANOSECONDS, NO_VALUE, in_utc, loses_digits, types_in, unknown_zone

__all__ = ["kept_value", "shown_value"]

_Leaf: TypeAlias = Callable[[pa.Scalar, DataType | None], Any]

_VARIANT = PrimitiveType(Kind.VARIANT)
_TIMESTAMP = PrimitiveType(Kind.TIMESTAMP)
_NANOSECONDS_OF_A_DAY = 86_400_000_000_000


def shown_value(scalar: pa.Scalar) -> Any:
    """Return the scalar as a Python value for a message; values without an equal Python value become text.

    The text of a time is its number, for example ``timestamp[s] 100000000000``. Only times of day with nanoseconds are
    in ISO form, and times in an unknown time zone are in UTC. In invalid UTF-8, each invalid byte becomes an escape
    such as ``\\xff``. A struct with two fields of the same name becomes an UnfitValue.
    """
    return _converted(scalar, None, _shown_leaf)


def kept_value(scalar: pa.Scalar, kind: DataType | None) -> Any:
    """Return the scalar as a Python value for a dead letter; ``kind`` is the type of its column, or None if unknown.

    Values without an equal Python value become an UnfitValue, also inside of other values. There are three exceptions.
    A time that is beyond the years 1 to 9999 only in its own time zone becomes the time in UTC. A time of day with
    nanoseconds in a VARIANT column becomes ISO text, as every time does in a VARIANT. A time in an unknown time zone in
    a TIMESTAMP column becomes the time in UTC, because this column does not need the time zone.
    """
    return _converted(scalar, kind, _kept_leaf)


def _converted(scalar: pa.Scalar, kind: DataType | None, leaf: _Leaf) -> Any:
    """Return the scalar as a Python value, with the result of ``leaf`` for each value without an equal Python value."""
    with suppress(*NO_VALUE):
        if FINE_TIME not in types_in(scalar.type) or not loses_digits(scalar):
            return scalar.as_py()
    inner = getattr(scalar, "value", None)
    if isinstance(inner, pa.Scalar):  # of a dictionary, a union or an extension type, for example
        return _converted(inner, kind, leaf)
    if isinstance(scalar, pa.StructScalar):
        members = [(name, _converted(member, _member(kind, name), leaf)) for name, member in scalar.items()]
        by_name = dict(members)
        return by_name if len(by_name) == len(members) else UnfitValue(members, "has two fields of the same name")
    if isinstance(scalar, pa.MapScalar):
        kinds = (kind.key, kind.value) if isinstance(kind, MapType) else (_inside(kind),) * 2
        return [
            tuple(_converted(part, of, leaf) for part, of in zip(pair.values(), kinds, strict=True))
            for pair in scalar.values
        ]
    if isinstance(scalar, pa.ListScalar):
        return [_converted(item, _element(kind), leaf) for item in scalar.values]
    return leaf(scalar, kind)


def _inside(kind: DataType | None) -> DataType | None:
    return kind if kind == _VARIANT else None


def _member(kind: DataType | None, name: str) -> DataType | None:
    if isinstance(kind, StructType):
        return next((field.type for field in kind.fields if field.name == name), None)
    return _inside(kind)


def _element(kind: DataType | None) -> DataType | None:
    if isinstance(kind, MapType):  # Polars keeps maps as lists of structs of key and value
        return StructType((Field("key", kind.key), Field("value", kind.value)))
    return kind.element if isinstance(kind, ArrayType) else _inside(kind)


def _shown_leaf(scalar: pa.Scalar, kind: DataType | None) -> str:
    if scalar.type == FINE_TIME:
        return str(scalar.cast(pa.string()))
    if hasattr(scalar, "as_buffer"):
        text: str = scalar.as_buffer().to_pybytes().decode(errors="backslashreplace")
        return text
    known = _known_in_utc(scalar)
    return _number(scalar) if known is None else str(known)


def _kept_leaf(scalar: pa.Scalar, kind: DataType | None) -> Any:
    if scalar.type == FINE_TIME and 0 <= scalar.value < _NANOSECONDS_OF_A_DAY:
        text = str(scalar.cast(pa.string()))
        return text if kind == _VARIANT else UnfitValue(text, "has nanoseconds")
    if hasattr(scalar, "as_buffer"):
        return UnfitValue(scalar.as_buffer().to_pybytes(), "is not valid UTF-8")
    zone, known = unknown_zone(scalar.type), _known_in_utc(scalar)
    if known is None:
        return UnfitValue(_number(scalar), _reason(scalar))
    if zone is None or kind == _TIMESTAMP:
        return known
    return UnfitValue(str(known), f"is in the unknown time zone {zone!r}, and shown in UTC")


def _known_in_utc(scalar: pa.Scalar) -> Any:
    """Return a time in UTC; return None if it has no time zone, or if Python's years do not reach it."""
    if in_utc(scalar.type).equals(scalar.type):
        return None
    with suppress(*NO_VALUE):
        return scalar.cast(in_utc(scalar.type)).as_py()
    return None


def _number(scalar: pa.Scalar) -> str:
    """Return text with the type and the number that Arrow stores, such as ``date32[day] 4000000``."""
    return f"{scalar.type} {getattr(scalar, 'value', '')}"


def _reason(scalar: pa.Scalar) -> str:
    kind = scalar.type
    if pa.types.is_time(kind):
        return "is not a time of day"
    if getattr(kind, "unit", "") == "ns" and scalar.value % NANOSECONDS:  # if pandas is not installed
        return "has nanoseconds"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "is beyond the years 1 to 9999"
    return "is beyond Python's durations" if pa.types.is_duration(kind) else "has no Python value"
