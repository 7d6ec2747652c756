"""How a bad row is written to a dead-letter file so that a person can correct it and send it again.

The form is JSON. In columns where text is parsed, dates, times and decimals are text. Values that JSON cannot express
are objects with one key: ``{"$binary": base64}``, ``{"$float": "nan"}``, ``{"$decimal": "1.50"}``. A dict of the user
that looks like such an object is written as ``{"$escaped": dict}``. A value of which only a description can be written
is ``{"$unfit": description}``, which fits no column. So if a letter is sent again unchanged, a value that was refused
is refused again, and never becomes text in a STRING column.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import partial
from typing import Any
from uuid import UUID

from ..schema.types import ArrayType, DataType, Field, Kind, MapType, PrimitiveType, StringType, StructType

__all__ = ["from_letter", "from_wire", "to_letter"]

_BINARY, _DECIMAL, _FLOAT, _ESCAPED, _UNFIT = "$binary", "$decimal", "$float", "$escaped", "$unfit"
_DESCRIBED = "the dead letter only describes the value: write the value itself there"
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_NANOSECONDS = 1_000


def to_letter(value: Any, kind: DataType | None = None) -> Any:
    """Convert a row's value to JSON-compatible values; ``kind`` is the type of its column, or None if it has none."""
    if isinstance(value, Enum):
        return to_letter(value.value, kind)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str | int):
        # The characters themselves: a subclass of str can return another text when it is printed.
        return int(value) if isinstance(value, int) else str.__str__(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {_FLOAT: str(float(value))}
    if isinstance(value, bytes | bytearray | memoryview):
        return {_BINARY: b64encode(value).decode()}
    return _from_library(value, kind)


def _from_library(value: Any, kind: DataType | None) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        is_parsed = not (isinstance(kind, StringType) or _is_variant(kind))
        return str(value) if is_parsed else {_DECIMAL: str(value)}
    if hasattr(value, "tolist"):  # NumPy's scalars and arrays, pandas' arrays
        return _from_numpy(value, kind)
    if hasattr(value, "as_py"):
        return _from_arrow(value, kind)
    return _moment_or_container(value, kind)


def _is_variant(kind: DataType | None) -> bool:
    return isinstance(kind, PrimitiveType) and kind.kind is Kind.VARIANT


def _moment(text: str, kind: DataType | None) -> Any:
    """Return what a dead letter holds for a date or time whose text is ``text``: usually this text.

    A STRING column accepts text but refuses dates. For such a column, the text is returned as a description, which
    every column refuses.
    """
    return {_UNFIT: text} if isinstance(kind, StringType) else text


def _from_numpy(value: Any, kind: DataType | None) -> Any:
    """Convert a scalar or an array of NumPy, or an array of pandas.

    ``tolist`` is not called on a time, because it returns a number if a datetime cannot hold the time.
    """
    if getattr(value, "ndim", 0):
        return _items(value, kind)
    if not hasattr(value, "dtype"):
        return to_letter(value.tolist(), kind)
    if value.dtype.kind in "Mm":
        return _from_numpy_time(value, kind)
    if value.dtype.names is not None:
        return [to_letter(value[name]) for name in value.dtype.names]
    plain = value.tolist()
    if not hasattr(plain, "tolist"):
        return to_letter(plain, kind)
    # A number that is longer than a double.
    is_double = plain.dtype.kind == "f" and float(plain) == plain
    return to_letter(float(plain)) if is_double else {_UNFIT: f"{type(plain).__name__} {plain}"}


def _from_numpy_time(value: Any, kind: DataType | None) -> Any:
    from ..encode.values.moments import numpy_time_text

    if str(value) == "NaT":
        return None
    if value.dtype.kind == "m":
        return {_UNFIT: numpy_time_text(value)}
    # The text of a year, such as 1972, would be parsed as a number.
    is_year = str(value).lstrip("-").isdecimal()
    return {_UNFIT: f"year {value}"} if is_year else _moment(numpy_time_text(value), kind)


def _from_arrow(value: Any, kind: DataType | None) -> Any:
    """Convert a scalar of pyarrow; a value that Python's types cannot hold is only described."""
    try:
        plain = value.as_py()
    except (ValueError, OverflowError) as error:  # also for nanoseconds, if pandas is not installed
        return {_UNFIT: f"{value.type} {getattr(value, 'value', '')}, which cannot be read: {error}"}
    if isinstance(plain, time) and getattr(value.type, "unit", "") == "ns" and value.value % _NANOSECONDS:
        return _moment(f"{plain.isoformat('microseconds')}{value.value % _NANOSECONDS:03}", kind)
    return to_letter(plain, kind)


def _moment_or_container(value: Any, kind: DataType | None) -> Any:
    if isinstance(value, date | time):
        # pandas' missing time is a datetime
        return None if type(value).__name__ == "NaTType" else _moment(value.isoformat(), kind)
    if isinstance(value, Sequence) and not hasattr(value, "_asdict"):
        return _items(value, kind)
    return _from_object(value, kind)


def _items(values: Any, kind: DataType | None) -> list[Any]:
    inner = kind.element if isinstance(kind, ArrayType) else _inside(kind)
    return [to_letter(item, inner) for item in values]


def _inside(kind: DataType | None) -> DataType | None:
    """Return the type of the items and members of a VARIANT value: VARIANT. Return None if ``kind`` is another type."""
    return kind if _is_variant(kind) else None


def _from_object(value: Any, kind: DataType | None) -> Any:
    from ..records import UnfitError, UnfitValue, dumped, members_of, short_repr

    if isinstance(value, UnfitValue):
        is_known = value.reason == _DESCRIBED
        return {_UNFIT: str(value.value) if is_known else f"{value!r}, which could not be read: {value.reason}"}
    try:
        if (inner := dumped(value)) is not value:
            return to_letter(inner, kind)
        members = members_of(value)
    except UnfitError as unfit:
        return {_UNFIT: f"{value!r}, which {unfit}"}
    if members is None:
        return None if type(value).__name__ == "NAType" else {_UNFIT: short_repr(value)}
    return _from_members(members, kind)


def _from_members(members: Mapping[Any, Any], kind: DataType | None) -> dict[str, Any]:
    kind_of = _kinds_of_members(kind)
    written = {
        key if isinstance(key, str) else _text_of_key(key): to_letter(item, kind_of(key))
        for key, item in members.items()
    }
    if len(written) < len(members):
        return {_UNFIT: f"{dict(members)!r}, in which two keys have the same text"}
    if any(not isinstance(key, str) and to_letter(key) is None for key in members):
        return {_UNFIT: f"{dict(members)!r}, in which a key is None"}
    return {_ESCAPED: written} if _is_marker(written) else written


def _kinds_of_members(kind: DataType | None) -> Callable[[Any], DataType | None]:
    """Return a function that takes a key of a dict and returns the type of the value at this key.

    ``kind`` is the type of the column that contains the dict. The function returns None for a value of unknown type.
    """
    if isinstance(kind, StructType):
        # The delivery also accepts names that differ from the table's only in case.
        kinds = {field.name.lower(): field.type for field in kind.fields}
        return lambda key: kinds.get(key.lower()) if isinstance(key, str) else None
    inner = kind.value if isinstance(kind, MapType) else _inside(kind)
    return lambda key: inner


def _text_of_key(key: Any) -> str:
    written = to_letter(key)
    return str(written[_UNFIT] if isinstance(written, dict) and _UNFIT in written else written)


def _is_marker(value: Any) -> bool:
    """Return whether ``value``, parsed from JSON, is one of this module's objects, such as ``{"$binary": base64}``."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((key, inner),) = value.items()
    return _is_marker(inner) if key == _ESCAPED else key in _READERS and isinstance(inner, str)


def from_letter(value: Any) -> Any:
    """Convert a result of ``to_letter`` back to the values of a row.

    Values that ``to_letter`` has converted to text, such as dates, stay text. A description of a value
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


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError from None


_READERS: dict[str, Callable[[str], Any]] = {
    _BINARY: partial(b64decode, validate=True),
    _DECIMAL: _decimal,
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


def _exact(text: str) -> float | Decimal:
    """Parse a JSON number that has a fraction or an exponent.

    Return a float if its ``repr`` has exactly the value of ``text``; otherwise return a Decimal.
    """
    number, exact = float(text), Decimal(text)
    return number if Decimal(repr(number)) == exact else exact


_UNWIRED: dict[Kind, Callable[[Any], Any]] = {
    # Protobuf's JSON writes 64-bit integers, NaN and Infinity as text.
    Kind.BIGINT: int,
    Kind.FLOAT: float,
    Kind.DOUBLE: float,
    Kind.DATE: lambda value: (_EPOCH + timedelta(days=int(value))).date(),
    Kind.TIMESTAMP: lambda value: (_EPOCH + int(value) * _MICROSECOND).replace(tzinfo=UTC),
    Kind.TIMESTAMP_NTZ: lambda value: _EPOCH + int(value) * _MICROSECOND,
    Kind.BINARY: b64decode,
    Kind.VARIANT: partial(json.loads, parse_float=_exact),
}
