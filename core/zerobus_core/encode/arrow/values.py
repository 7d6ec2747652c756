"""Converts single values of Arrow arrays to Python values, in the form that the exact walk takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa

from ...schema.types import ArrayType, DataType, MapType, StructType

__all__ = [
    "FINE_TIME",
    "NANOSECONDS",
    "NO_VALUE",
    "has_map",
    "in_utc",
    "loses_digits",
    "types_in",
    "unknown_zone",
    "value_reader",
    "with_pairs",
]

# What pyarrow raises if there is no equal Python value; LookupError is for an unknown time zone.
NO_VALUE = (ValueError, OverflowError, LookupError)
FINE_TIME = pa.time64("ns")
NANOSECONDS = 1_000  # in a microsecond, the finest unit of Python's times


def value_reader(array: pa.Array) -> Callable[[int], Any]:
    """Return a function that takes an index and returns the array's value at this index as a Python value.

    The function raises ValueError or OverflowError for a value that pyarrow cannot convert to an equal Python value.
    Examples are times outside of the years 0001 to 9999 in UTC, times in an unknown time zone, times of day with
    nanoseconds, and invalid UTF-8.

    A time can be in the years 0001 to 9999 in UTC, but outside of them in its own time zone. In columns of most types,
    such a time is returned in UTC.
    """
    read = partial(_read, array)
    if FINE_TIME not in types_in(array.type):
        return read

    def read_checked(index: int) -> Any:
        if loses_digits(array[index]):
            raise ValueError("the time of day has nanoseconds: cast it to microseconds or to text")
        return read(index)

    return read_checked


def _read(array: pa.Array, index: int) -> Any:
    try:
        return array[index].as_py()
    except NO_VALUE:
        if (zone := unknown_zone(array.type)) is not None:
            raise ValueError(
                f"the time zone {zone!r} is unknown; cast the times to UTC, or install tzdata if the zone exists"
            ) from None
        utc_type = in_utc(array.type)
        if utc_type.equals(array.type) or _has_null_type(utc_type):
            raise
    return array.slice(index, 1).view(utc_type)[0].as_py()


def types_in(kind: pa.DataType) -> Iterator[pa.DataType]:
    """Yield ``kind`` and all types that are nested in it."""
    yield kind
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        yield from types_in(kind.value_type)
    else:
        for index in range(kind.num_fields):
            yield from types_in(kind.field(index).type)


def loses_digits(scalar: pa.Scalar) -> bool:
    """Return whether ``as_py`` would cut off the nanoseconds of a time of day anywhere in ``scalar``."""
    if not scalar.is_valid:
        return False
    inner: Any = getattr(scalar, "value", None)
    if isinstance(inner, pa.Scalar):  # of a dictionary, for example
        return loses_digits(inner)
    if isinstance(scalar, pa.StructScalar):
        return any(map(loses_digits, scalar.values()))
    if pa.types.is_nested(scalar.type):
        return any(map(loses_digits, scalar.values))
    return bool(scalar.type == FINE_TIME) and inner % NANOSECONDS != 0


def unknown_zone(kind: pa.DataType) -> str | None:
    """Return the first time zone in ``kind`` that is unknown to Python; return None if all time zones are known."""
    for one in types_in(kind):
        if pa.types.is_timestamp(one) and one.tz is not None:
            try:
                pa.scalar(0, one).as_py()
            except (ValueError, LookupError, OSError):
                return str(one.tz)
    return None


def _has_null_type(kind: pa.DataType) -> bool:
    # Like pyarrow's casts, its views damage children of type Null in a slice.
    return pa.types.is_null(kind) or any(_has_null_type(kind.field(i).type) for i in range(kind.num_fields))


def in_utc(kind: pa.DataType) -> pa.DataType:
    """Return the type with UTC in place of each time zone in it."""
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return pa.timestamp(kind.unit, "UTC")
    if pa.types.is_struct(kind):
        return pa.struct([kind.field(i).with_type(in_utc(kind.field(i).type)) for i in range(kind.num_fields)])
    if pa.types.is_map(kind):
        return pa.map_(
            kind.key_field.with_type(in_utc(kind.key_type)), kind.item_field.with_type(in_utc(kind.item_type))
        )
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        field = kind.value_field.with_type(in_utc(kind.value_type))
        return pa.list_(field) if pa.types.is_list(kind) else pa.large_list(field)
    return kind


def has_map(kind: DataType) -> bool:
    """Return whether the type is a MAP or contains one."""
    if isinstance(kind, ArrayType):
        return has_map(kind.element)
    return isinstance(kind, MapType) or (isinstance(kind, StructType) and any(has_map(f.type) for f in kind.fields))


def with_pairs(value: Any, kind: DataType) -> Any:
    """Return ``value`` with each MAP of Polars converted to a list of pairs; ``kind`` is the type of the column.

    Polars stores a MAP as a list of structs with the fields ``key`` and ``value``. pyarrow converts this list to a
    Python list of dicts.
    """
    if isinstance(value, dict):
        members = {field.name: field.type for field in kind.fields} if isinstance(kind, StructType) else {}
        return {name: with_pairs(v, members[name]) if name in members else v for name, v in value.items()}
    if not isinstance(value, list):
        return value
    if isinstance(kind, ArrayType):
        return [with_pairs(item, kind.element) for item in value]
    if not isinstance(kind, MapType):
        return value
    return [
        (pair["key"], with_pairs(pair["value"], kind.value))
        if isinstance(pair, dict) and pair.keys() == {"key", "value"}
        else (pair[0], with_pairs(pair[1], kind.value))
        if isinstance(pair, tuple)
        else pair
        for pair in value
    ]
