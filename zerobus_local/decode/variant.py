"""Converts VARIANTs from Arrow (a struct of two binaries) to the JSON text that the local tables store.

The encoding is Parquet's "Variant Binary Encoding", version 1. Decimals become JSON numbers with all digits. Some
values become text, because JSON has no type for them: binaries (base64), dates and timestamps (ISO 8601, with digits up
to microseconds), times, and UUIDs. NaN and infinite numbers are refused, because JSON cannot represent them.
"""

from __future__ import annotations

import base64
import math
import struct
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from typing import Any, Final

import orjson
import pyarrow as pa

from .refusal import RefusedRecordError

__all__ = ["variant_texts"]

_VERSION: Final = 1
_MAX_DEPTH: Final = 100
# A decimal has up to 38 digits, but Python's default context rounds to 28.
_WIDE: Final = Context(prec=80)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _NotFiniteError(Exception):
    """A number in a VARIANT is NaN or infinite."""


def variant_texts(column: pa.StructArray, name: str) -> pa.Array:
    """Return the JSON text of each row. The text is NULL if the row's struct is NULL.

    Raises RefusedRecordError for the first row that cannot be decoded as a VARIANT, or that contains NaN or an infinite
    number. The ``field`` of the error is ``name``.
    """
    texts: list[str | None] = []
    for row, value in enumerate(column.to_pylist()):
        if value is None:
            texts.append(None)
            continue
        try:
            names = _names(value["metadata"])
            texts.append(orjson.dumps(_value(value["value"], names, 0)).decode())
        except _NotFiniteError as error:
            reason = f"contains {error}, which zerobus-local cannot store: it stores a VARIANT as JSON text"
            raise RefusedRecordError(row, name, reason) from error
        except (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
            raise RefusedRecordError(row, name, f"is not a VARIANT in Parquet's binary encoding: {error!r}") from error
    return pa.array(texts, pa.string())


def _names(metadata: bytes) -> list[str]:
    """Return the field names in the metadata of a VARIANT. The VARIANT's value refers to these names by index."""
    if metadata[0] & 0x0F != _VERSION:
        raise ValueError(f"the metadata has the unsupported version {metadata[0] & 0x0F}")
    width = (metadata[0] >> 6) + 1
    count = _number(metadata, 1, width)
    offsets = [_number(metadata, 1 + width * (index + 1), width) for index in range(count + 1)]
    begin = 1 + width * (count + 2)
    return [metadata[begin + offsets[i] : begin + offsets[i + 1]].decode() for i in range(count)]


def _value(data: bytes, names: list[str], depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
    kind, header = data[0] & 0x03, data[0] >> 2
    if kind == 0:
        return _PRIMITIVES[header](data[1:])
    if kind == 1:
        return _exactly(data[1:], header).decode()
    if kind == 2:  # noqa: PLR2004  # the encoding's number for objects
        return _object(data, header, names, depth)
    return _array(data, header, names, depth)


def _object(data: bytes, header: int, names: list[str], depth: int) -> dict[str, Any]:
    offset_width, id_width = (header & 0x03) + 1, ((header >> 2) & 0x03) + 1
    count_width = 4 if header & 0x10 else 1
    count = _number(data, 1, count_width)
    ids_at = 1 + count_width
    offsets_at = ids_at + count * id_width
    values_at = offsets_at + (count + 1) * offset_width
    members = {}
    for index in range(count):
        name = names[_number(data, ids_at + index * id_width, id_width)]
        offset = _number(data, offsets_at + index * offset_width, offset_width)
        members[name] = _value(data[values_at + offset :], names, depth + 1)
    return members


def _array(data: bytes, header: int, names: list[str], depth: int) -> list[Any]:
    offset_width = (header & 0x03) + 1
    count_width = 4 if header & 0x04 else 1
    count = _number(data, 1, count_width)
    offsets_at = 1 + count_width
    values_at = offsets_at + (count + 1) * offset_width
    offsets = [_number(data, offsets_at + index * offset_width, offset_width) for index in range(count)]
    return [_value(data[values_at + offset :], names, depth + 1) for offset in offsets]


def _number(data: bytes, at: int, width: int) -> int:
    return int.from_bytes(_exactly(data[at:], width), "little")


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) < size:
        raise ValueError(f"{len(data)} bytes are left, but the value needs {size}")
    return data[:size]


def _unpacked(form: str) -> Callable[[bytes], Any]:
    return lambda data: struct.unpack_from(form, data)[0]


def _finite(form: str) -> Callable[[bytes], float]:
    def decode(data: bytes) -> float:
        number: float = struct.unpack_from(form, data)[0]
        if not math.isfinite(number):
            raise _NotFiniteError(number)
        return number

    return decode


def _decimal(width: int) -> Callable[[bytes], orjson.Fragment]:
    def decode(data: bytes) -> orjson.Fragment:
        unscaled = int.from_bytes(_exactly(data[1:], width), "little", signed=True)
        return orjson.Fragment(format(Decimal(unscaled).scaleb(-data[0], _WIDE), "f"))

    return decode


def _sized(data: bytes) -> bytes:
    return _exactly(data[4:], _number(data, 0, 4))


def _moment(data: bytes, *, per_second: int, zone: bool) -> str:
    ticks = struct.unpack_from("<q", data)[0]
    moment = _EPOCH + timedelta(microseconds=ticks * 1_000_000 // per_second)
    return moment.isoformat() if zone else moment.replace(tzinfo=None).isoformat()


_PRIMITIVES: Final[dict[int, Callable[[bytes], Any]]] = {
    0: lambda _data: None,
    1: lambda _data: True,
    2: lambda _data: False,
    3: _unpacked("<b"),
    4: _unpacked("<h"),
    5: _unpacked("<i"),
    6: _unpacked("<q"),
    7: _finite("<d"),
    8: _decimal(4),
    9: _decimal(8),
    10: _decimal(16),
    11: lambda data: (date(1970, 1, 1) + timedelta(days=struct.unpack_from("<i", data)[0])).isoformat(),
    12: lambda data: _moment(data, per_second=1_000_000, zone=True),
    13: lambda data: _moment(data, per_second=1_000_000, zone=False),
    14: _finite("<f"),
    15: lambda data: base64.b64encode(_sized(data)).decode(),
    16: lambda data: _sized(data).decode(),
    17: lambda data: str(timedelta(microseconds=struct.unpack_from("<q", data)[0])),
    18: lambda data: _moment(data, per_second=1_000_000_000, zone=True),
    19: lambda data: _moment(data, per_second=1_000_000_000, zone=False),
    20: lambda data: str(uuid.UUID(bytes=_exactly(data, 16))),
}
