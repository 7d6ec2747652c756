"""Converts JSON text to the binary VARIANT that Arrow batches carry: one metadata and one value per cell.

The encoding is Parquet's (VariantEncoding.md of apache/parquet-format, version 1): the metadata is a sorted list of all
field names, and the value is a tree of typed nodes.

Every digit is kept: a number becomes a decimal if neither a double nor a 64-bit integer keeps all its digits. A number
that needs more than 38 digits is refused.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Sequence
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Any

import orjson
import pyarrow as pa

from ...records import UnfitError
from .rebuild import bitmap_of, retype_nested
from .variant_value import variant_value

__all__ = ["check_variant", "decoded_variant", "encoded_variant", "variant_array"]

_PRIMITIVE, _SHORT_STRING, _OBJECT, _ARRAY = 0, 1, 2, 3
_NULL, _TRUE, _FALSE, _DOUBLE, _STRING = 0, 1, 2, 7, 16
_INTEGERS = ((3, 1), (4, 2), (5, 4), (6, 8))  # primitive type, bytes
_DECIMALS = ((8, 4, 9), (9, 8, 18), (10, 16, 38))  # primitive type, bytes, digits
_MAX_DIGITS = 38
# A fixed limit: otherwise the possible depth would depend on how deep Python's stack already is.
_MAX_DEPTH = 100
# Numerals that a double or a 64-bit integer might not hold exactly; up to 15 digits are always safe. A match inside a
# string does no harm; it only takes time.
_LONG_NUMERAL = re.compile(r"[0-9.]{16}|[0-9][eE]")
_SHORT = 64
_LARGE = 256
_VERSION, _SORTED = 1, 1 << 4


def variant_array(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Convert an array to ``target``, the type that the service expects: JSON text becomes binary VARIANT."""
    return retype_nested(array, target, _leaf)


def _leaf(array: pa.Array, target: pa.DataType) -> pa.Array:
    cells = [None if text is None else encoded_variant(text) for text in array.to_pylist()]
    metadata = pa.array([b"" if cell is None else cell[0] for cell in cells], pa.large_binary())
    value = pa.array([b"" if cell is None else cell[1] for cell in cells], pa.large_binary())
    return pa.Array.from_buffers(target, len(array), [bitmap_of(array)], children=[metadata, value])


def check_variant(text: str) -> None:
    """Raise UnfitError for JSON text that the encoding cannot hold.

    Such text is nested too deeply, or has a number with too many digits.
    """
    if text.count("[") + text.count("{") > _MAX_DEPTH or _LONG_NUMERAL.search(text):
        _collect(_parsed(text), set(), 0)


def encoded_variant(text: str) -> tuple[bytes, bytes]:
    """Return the metadata and the value that encode a JSON text; raise UnfitError as ``check_variant`` does."""
    value = _parsed(text)
    names: set[str] = set()
    _collect(value, names, 0)
    ordered = sorted(names, key=str.encode)
    ids = {name: index for index, name in enumerate(ordered)}
    return _metadata([name.encode() for name in ordered]), _node(value, ids)


def _parsed(text: str) -> Any:
    if not _LONG_NUMERAL.search(text):
        return orjson.loads(text)
    try:
        return json.loads(text, parse_int=_whole, parse_float=_real)
    except RecursionError:
        raise _depth_error() from None


def _whole(numeral: str) -> int | float | Decimal:
    if len(numeral.lstrip("-")) > _MAX_DIGITS:
        return _real(numeral)
    number = int(numeral)
    return number if -(1 << 63) <= number < 1 << 63 else Decimal(number)


def _real(numeral: str) -> float | Decimal:
    # The range of a context's exponents is small by default: without one of its own, 1e-2000000 would become 0.
    context = Context(prec=len(numeral), Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[InvalidOperation])
    try:
        exact, double = Decimal(numeral, context), float(numeral)
    except InvalidOperation:  # an exponent that no Decimal can have
        raise _digits_error() from None
    if math.isfinite(double) and Decimal(repr(double)) == exact:
        return double
    short = exact.normalize(context)  # without zeros at the end, and not rounded
    _, digits, exponent = short.as_tuple()
    assert isinstance(exponent, int)  # JSON has no NaN
    if max(len(digits) + max(exponent, 0), -exponent) > _MAX_DIGITS:
        raise _digits_error()
    return short


def _digits_error() -> UnfitError:
    return UnfitError(f"holds a number that has more than {_MAX_DIGITS} digits and is not rounded automatically")


def _depth_error() -> UnfitError:
    return UnfitError(f"nested deeper than {_MAX_DEPTH} levels")


def _collect(value: Any, names: set[str], depth: int) -> None:
    """Add the names of all fields in ``value`` to ``names``; raise UnfitError if ``value`` is nested too deeply."""
    if depth > _MAX_DEPTH:
        raise _depth_error()
    if isinstance(value, dict):
        names.update(value)
        for member in value.values():
            _collect(member, names, depth + 1)
    elif isinstance(value, list):
        for member in value:
            _collect(member, names, depth + 1)


def _width(number: int) -> int:
    return max(1, (number.bit_length() + 7) // 8)


def _numbers(numbers: Sequence[int], width: int) -> bytes:
    return b"".join(number.to_bytes(width, "little") for number in numbers)


def _offsets_of(parts: Sequence[bytes]) -> list[int]:
    offsets = [0]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return offsets


def _metadata(names: Sequence[bytes]) -> bytes:
    offsets = _offsets_of(names)
    width = max(_width(len(names)), _width(offsets[-1]))
    header = _VERSION | _SORTED | (width - 1) << 6
    return bytes([header]) + _numbers([len(names), *offsets], width) + b"".join(names)


def _node(value: Any, ids: dict[str, int]) -> bytes:
    if isinstance(value, str):
        return _text(value.encode())
    if isinstance(value, dict):
        return _object(value, ids)
    if isinstance(value, list):
        return _array([_node(member, ids) for member in value])
    if value is None:
        return bytes([_NULL << 2])
    if isinstance(value, bool):
        return bytes([(_TRUE if value else _FALSE) << 2])
    return _number(value)


def _number(value: float | Decimal) -> bytes:
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, int):
        primitive, size = next(
            (p, size) for p, size in _INTEGERS if -(1 << (8 * size - 1)) <= value < 1 << (8 * size - 1)
        )
        return bytes([primitive << 2]) + value.to_bytes(size, "little", signed=True)
    return bytes([_DOUBLE << 2]) + struct.pack("<d", value)


def _decimal(value: Decimal) -> bytes:
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    scale = max(0, -exponent)
    unscaled = int(value.scaleb(scale, Context(prec=2 * _MAX_DIGITS)))
    length = max(len(digits) + max(exponent, 0), scale)
    primitive, size = next((p, size) for p, size, room in _DECIMALS if length <= room)
    return bytes([primitive << 2, scale]) + unscaled.to_bytes(size, "little", signed=True)


def _text(data: bytes) -> bytes:
    if len(data) < _SHORT:
        return bytes([_SHORT_STRING | len(data) << 2]) + data
    return bytes([_STRING << 2]) + len(data).to_bytes(4, "little") + data


def _array(parts: Sequence[bytes]) -> bytes:
    offsets = _offsets_of(parts)
    width, is_large = _width(offsets[-1]), len(parts) >= _LARGE
    header = _ARRAY | (width - 1) << 2 | is_large << 4
    count = len(parts).to_bytes(4 if is_large else 1, "little")
    return bytes([header]) + count + _numbers(offsets, width) + b"".join(parts)


def _object(value: dict[str, Any], ids: dict[str, int]) -> bytes:
    names = sorted(value, key=str.encode)
    parts = [_node(value[name], ids) for name in names]
    offsets = _offsets_of(parts)
    members = [ids[name] for name in names]
    id_width, width, is_large = _width(max(members, default=0)), _width(offsets[-1]), len(parts) >= _LARGE
    header = _OBJECT | (width - 1) << 2 | (id_width - 1) << 4 | is_large << 6
    count = len(parts).to_bytes(4 if is_large else 1, "little")
    return bytes([header]) + count + _numbers(members, id_width) + _numbers(offsets, width) + b"".join(parts)


def decoded_variant(metadata: bytes, value: bytes) -> str:
    """Return the JSON text of a VARIANT that ``encoded_variant`` encoded.

    The dead letter of a row that the service refused contains this text.
    """
    read = variant_value({"metadata": metadata, "value": value})
    return orjson.dumps(read, default=_numeral).decode()


def _numeral(value: Decimal) -> orjson.Fragment:
    return orjson.Fragment(format(value, "f"))
