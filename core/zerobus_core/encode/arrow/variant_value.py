"""Reads the binary VARIANTs of Arrow's type ``arrow.parquet.variant``, which DuckDB produces.

The encoding is Parquet's (VariantEncoding.md of apache/parquet-format, version 1). The module ``variant`` writes only
types that JSON has; this module reads all types of the encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import pyarrow as pa

from ...records import UnfitError

__all__ = ["is_variant", "variant_value"]

_NAMES = ("arrow.parquet.variant", "parquet.variant")
_PRIMITIVE, _SHORT_STRING, _OBJECT = 0, 1, 2
_EPOCH, _EPOCH_UTC = datetime(1970, 1, 1), datetime(1970, 1, 1, tzinfo=UTC)
_EXACT = Context(prec=80)
_MAX_DEPTH = 100


def is_variant(field: pa.Field) -> bool:
    """Return whether Arrow marks the field as a VARIANT."""
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType):
        return kind.extension_name in _NAMES
    return (field.metadata or {}).get(b"ARROW:extension:name", b"").decode(errors="replace") in _NAMES


def variant_value(cell: Any) -> Any:
    """Return the Python value of a cell.

    The cell must be a dict whose keys are ``metadata`` and ``value``, and whose values are bytes.
    Raises UnfitError for any other cell, such as a shredded VARIANT, and for bytes that cannot be read: invalid bytes,
    values that are nested too deeply, and values that no Python type can hold, such as times with nanoseconds.
    """
    if not isinstance(cell, dict) or set(cell) != {"metadata", "value"} or not isinstance(cell["value"], bytes):
        raise UnfitError("is a VARIANT in shredded form, which is not supported; write it without shredding")
    try:
        return _value(cell["value"], 0, _field_names(cell["metadata"]), 0)
    except (IndexError, struct.error, UnicodeDecodeError, OverflowError, ValueError) as error:
        raise UnfitError(f"is not a valid VARIANT: {error}") from None


def _read(data: bytes, at: int, width: int) -> int:
    part = data[at : at + width]
    if len(part) < width:
        raise IndexError("the data ends too early")
    return int.from_bytes(part, "little")


def _part(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise IndexError("the data ends too early")
    return data[at : at + size]


def _field_names(metadata: bytes) -> list[str]:
    if metadata[0] & 15 != 1:
        raise ValueError(f"version {metadata[0] & 15} of the VARIANT encoding is not supported")
    width = (metadata[0] >> 6) + 1
    count = _read(metadata, 1, width)
    ends = [_read(metadata, 1 + width * (1 + index), width) for index in range(count + 1)]
    first = 1 + width * (count + 2)
    return [_part(metadata, first + a, b - a).decode() for a, b in pairwise(ends)]


def _value(data: bytes, at: int, names: Sequence[str], depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise UnfitError(f"nested deeper than {_MAX_DEPTH} levels")
    basic, header = data[at] & 3, data[at] >> 2
    if basic == _SHORT_STRING:
        return _part(data, at + 1, header).decode()
    if basic == _PRIMITIVE:
        return _primitive(data, at + 1, header)
    is_object = basic == _OBJECT
    id_width = (header >> 2 & 3) + 1 if is_object else 0
    size = 4 if header >> (4 if is_object else 2) & 1 else 1
    width = (header & 3) + 1
    count = _read(data, at + 1, size)
    ids = at + 1 + size
    offsets = ids + count * id_width
    first = offsets + (count + 1) * width
    # The values of an object can be in another order than its names.
    members = [
        _value(data, first + _read(data, offsets + index * width, width), names, depth + 1) for index in range(count)
    ]
    if not is_object:
        return members
    return dict(zip((names[_read(data, ids + i * id_width, id_width)] for i in range(count)), members, strict=True))


def _primitive(data: bytes, at: int, kind: int) -> Any:
    if kind in _CONSTANTS:
        return _CONSTANTS[kind]
    if kind in _DECIMALS:
        unscaled = int.from_bytes(_part(data, at + 1, _DECIMALS[kind]), "little", signed=True)
        return Decimal(unscaled).scaleb(-data[at], _EXACT)
    if kind in _LONG:
        content = _part(data, at + 4, _read(data, at, 4))
        return content.decode() if kind == _STRING else content
    if kind not in _SIZED:
        raise ValueError(f"the value type {kind} is not supported")
    size, convert = _SIZED[kind]
    return convert(_part(data, at, size))


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _at(epoch: datetime) -> Callable[[bytes], datetime]:
    return lambda data: epoch + timedelta(microseconds=_signed(data))


def _at_nanoseconds(epoch: datetime) -> Callable[[bytes], Any]:
    def convert(data: bytes) -> Any:
        whole, rest = divmod(_signed(data), 1_000)
        if rest:
            raise UnfitError("holds a time with nanoseconds, but Python's datetime stores microseconds")
        return epoch + timedelta(microseconds=whole)

    return convert


_STRING, _LONG = 16, frozenset({15, 16})
_CONSTANTS = {0: None, 1: True, 2: False}
_DECIMALS = {8: 4, 9: 8, 10: 16}
_SIZED: dict[int, tuple[int, Callable[[bytes], Any]]] = {
    3: (1, _signed),
    4: (2, _signed),
    5: (4, _signed),
    6: (8, _signed),
    7: (8, lambda data: struct.unpack("<d", data)[0]),
    11: (4, lambda data: date(1970, 1, 1) + timedelta(days=_signed(data))),
    12: (8, _at(_EPOCH_UTC)),
    13: (8, _at(_EPOCH)),
    14: (4, lambda data: struct.unpack("<f", data)[0]),
    17: (8, lambda data: (datetime.min + timedelta(microseconds=_signed(data))).time()),
    18: (8, _at_nanoseconds(_EPOCH_UTC)),
    19: (8, _at_nanoseconds(_EPOCH)),
    20: (16, lambda data: UUID(bytes=data)),
}
