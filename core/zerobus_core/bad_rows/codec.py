"""How a bad row is written to a dead-letter file so that a person can correct it and send it again.

The form is JSON. Dates, times, decimals and UUIDs are text, which is parsed when the row is sent again. Bytes, and
floats that JSON cannot express, are objects with one key: ``{"$binary": base64}``, ``{"$float": "nan"}``. If a dict in
the user's row looks like one of these objects, it is written as ``{"$escaped": dict}``. If only a description of a
value can be written, the description is written as ``{"$unfit": description}``. This object fits no column.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any
from uuid import UUID

import orjson

from ..schema.types import ArrayType, DataType, Field, Kind, MapType, PrimitiveType, StructType

__all__ = ["from_letter", "from_wire", "to_letter"]

_BINARY, _FLOAT, _ESCAPED, _UNFIT = "$binary", "$float", "$escaped", "$unfit"
_DESCRIBED = "the dead letter only describes the value: write the value itself there"
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_NANOSECONDS = 1_000


def to_letter(value: Any) -> Any:
    """Convert a value of a row to the JSON form that the module's docstring describes."""
    if isinstance(value, Enum):
        return to_letter(value.value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str | int):
        # The characters themselves: a subclass of str can return another text when it is printed.
        return int(value) if isinstance(value, int) else str.__str__(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {_FLOAT: str(float(value))}
    if isinstance(value, bytes | bytearray | memoryview):
        return {_BINARY: b64encode(value).decode()}
    return _from_library(value)


def _from_library(value: Any) -> Any:
    if isinstance(value, Decimal | UUID):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy's scalars and arrays, pandas' arrays
        return _from_numpy(value)
    if hasattr(value, "as_py"):
        return _from_arrow(value)
    return _moment_or_container(value)


def _from_numpy(value: Any) -> Any:
    """Convert a scalar or an array of NumPy or pandas.

    Times are converted without ``tolist``, which returns a number for each time that a ``datetime`` cannot hold.
    """
    if getattr(value, "ndim", 0):
        return [to_letter(item) for item in value]
    if not hasattr(value, "dtype"):
        return to_letter(value.tolist())
    if value.dtype.kind in "Mm":
        return _from_numpy_time(value)
    if value.dtype.names is not None:
        return [to_letter(value[name]) for name in value.dtype.names]
    plain = value.tolist()
    kind = type(plain)
    if not hasattr(plain, "tolist"):
        return to_letter(plain)
    # A number that is longer than a double. Its text would be parsed, and rounded, as that of a double.
    return to_letter(float(plain)) if plain.dtype.kind == "f" and float(plain) == plain else f"{kind.__name__} {plain}"


def _from_numpy_time(value: Any) -> str | None:
    from ..encode.values.moments import numpy_time_text

    if str(value) == "NaT":
        return None
    # The text of a year, such as 1972, would be parsed as a number.
    return f"year {value}" if str(value).lstrip("-").isdecimal() else numpy_time_text(value)


def _from_arrow(value: Any) -> Any:
    """Convert a pyarrow scalar.

    If Python's types cannot hold the value, return text that describes it. A time column does not accept this text.
    """
    try:
        plain = value.as_py()
    except (ValueError, OverflowError) as error:  # also for nanoseconds, if pandas is not installed
        return f"{value.type} {getattr(value, 'value', '')}, which cannot be read: {error}"
    if isinstance(plain, time) and getattr(value.type, "unit", "") == "ns" and value.value % _NANOSECONDS:
        return f"{value.type} {value.value}, which has nanoseconds"
    return to_letter(plain)


def _moment_or_container(value: Any) -> Any:
    if isinstance(value, date | time):
        return None if type(value).__name__ == "NaTType" else value.isoformat()  # pandas' missing time is a datetime
    if isinstance(value, list | tuple | Set) and not hasattr(value, "_asdict"):
        return [to_letter(item) for item in value]
    return _from_object(value)


def _from_object(value: Any) -> Any:
    from ..records import UnfitError, UnfitValue, dumped, members_of

    if isinstance(value, UnfitValue):
        is_known = value.reason == _DESCRIBED
        return {_UNFIT: str(value.value) if is_known else f"{value!r}, which could not be read: {value.reason}"}
    try:
        if (inner := dumped(value)) is not value:
            return to_letter(inner)
        members = members_of(value)
    except UnfitError as unfit:
        return {_UNFIT: f"{value!r}, which {unfit}"}
    if members is None:
        return None if type(value).__name__ == "NAType" else str(value)
    return _from_members(members)


def _from_members(members: Mapping[Any, Any]) -> dict[str, Any]:
    written = {key if isinstance(key, str) else str(to_letter(key)): to_letter(item) for key, item in members.items()}
    if len(written) < len(members):
        return {_UNFIT: f"{dict(members)!r}, in which two keys have the same text"}
    if any(not isinstance(key, str) and to_letter(key) is None for key in members):
        return {_UNFIT: f"{dict(members)!r}, in which a key is None"}
    return {_ESCAPED: written} if _is_marker(written) else written


def _is_marker(value: Any) -> bool:
    """Return whether ``value``, parsed from JSON, is one of this module's objects, such as ``{"$binary": base64}``."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((key, inner),) = value.items()
    return _is_marker(inner) if key == _ESCAPED else key in _READERS and isinstance(inner, str)


def from_letter(value: Any) -> Any:
    """Convert a result of ``to_letter`` back to the values of a row.

    Values that ``to_letter`` has converted to text, such as dates and decimals, stay text. A description of a value
    becomes an UnfitValue. An object such as ``{"$binary": text}`` stays a dict if its text is not valid: older
    versions wrote a dict of this form from a user's row without ``$escaped``.
    """
    if isinstance(value, list):
        return [from_letter(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _is_marker(value):
        ((key, inner),) = value.items()
        if key == _ESCAPED:
            return {name: from_letter(item) for name, item in inner.items()}
        with suppress(ValueError):
            return _READERS[key](inner)
    return {key: from_letter(item) for key, item in value.items()}


def _unfit(text: str) -> Any:
    from ..records import UnfitValue

    return UnfitValue(text, _DESCRIBED)


_READERS: dict[str, Callable[[str], Any]] = {
    _BINARY: partial(b64decode, validate=True),
    _FLOAT: float,
    _UNFIT: _unfit,
}


def from_wire(record: Mapping[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    """Convert a result of ``Encoder.decode`` to values that a user could pass.

    Names for which ``fields`` contains no field are removed.
    """
    kinds = {field.name: field.type for field in fields}
    return {name: _unwired(value, kinds[name]) for name, value in record.items() if name in kinds}


def _unwired(value: Any, kind: DataType) -> Any:
    if value is None:
        return None
    if isinstance(kind, StructType):
        return from_wire(value, kind.fields)
    if isinstance(kind, ArrayType):
        return [_unwired(item, kind.element) for item in value]
    if isinstance(kind, MapType):
        pairs = value.items() if isinstance(value, Mapping) else value
        return {str(_unwired(key, kind.key)): _unwired(item, kind.value) for key, item in pairs}
    if isinstance(kind, PrimitiveType) and kind.kind in _UNWIRED:
        return _UNWIRED[kind.kind](value)
    return value


_UNWIRED: dict[Kind, Callable[[Any], Any]] = {
    # Protobuf's JSON writes 64-bit integers, NaN and Infinity as text.
    Kind.BIGINT: int,
    Kind.FLOAT: float,
    Kind.DOUBLE: float,
    Kind.DATE: lambda value: (_EPOCH + timedelta(days=int(value))).date(),
    Kind.TIMESTAMP: lambda value: (_EPOCH + int(value) * _MICROSECOND).replace(tzinfo=UTC),
    Kind.TIMESTAMP_NTZ: lambda value: _EPOCH + int(value) * _MICROSECOND,
    Kind.BINARY: b64decode,
    Kind.VARIANT: orjson.loads,
}
