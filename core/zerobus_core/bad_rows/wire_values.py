"""Converts a row that was encoded back to values that a user could pass, for the dead letter of a refused row."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson

from ..encode.values.json_input import parsed_json
from ..records import UnfitError
from ..schema.types import ArrayType, DataType, DecimalType, Field, Kind, MapType, PrimitiveType, StructType

__all__ = ["from_wire", "from_wire_scalar"]

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


def from_wire(record: Mapping[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    """Convert a result of ``Encoder.decode`` to values that a user could pass; leave out names not in ``fields``."""
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
        return {_unwired(key, kind.key): _unwired(item, kind.value) for key, item in pairs}
    return from_wire_scalar(value, kind)


def from_wire_scalar(value: Any, kind: DataType) -> Any:
    """Convert a wire value of a scalar type to a value that a user could pass."""
    if isinstance(kind, DecimalType):
        return Decimal(value)
    if isinstance(kind, PrimitiveType) and kind.kind in _UNWIRED:
        return _UNWIRED[kind.kind](value)
    return value


def _variant(text: str) -> Any:
    try:
        return parsed_json(text)
    except UnfitError:  # for example, the same key twice
        return orjson.Fragment(text)


_UNWIRED: dict[Kind, Callable[[Any], Any]] = {
    # Protobuf's JSON writes 64-bit integers, NaN and Infinity as text.
    Kind.BIGINT: int,
    Kind.FLOAT: float,
    Kind.DOUBLE: float,
    Kind.DATE: lambda value: (_EPOCH + timedelta(days=int(value))).date(),
    Kind.TIMESTAMP: lambda value: (_EPOCH + int(value) * _MICROSECOND).replace(tzinfo=UTC),
    Kind.TIMESTAMP_NTZ: lambda value: _EPOCH + int(value) * _MICROSECOND,
    Kind.BINARY: lambda value: b64decode(value) if isinstance(value, str) else value,
    Kind.VARIANT: _variant,
}
