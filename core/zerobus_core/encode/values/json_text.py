"""Writes values as JSON text, keeping all digits of Decimals, and checks text that is already JSON."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import orjson

from ...records import GivenText, UnfitError, UnfitValue, dumped, members_of
from .json_input import JsonNumber, plain_number
from .missing import is_null
from .moments import moment_text, numpy_time_text

__all__ = ["checked_text", "json_text", "may_have_key_twice"]

# Dataclasses are passed to _default, because orjson itself would leave out private and computed fields.
# Keys are sorted, because equal objects must become equal text, whatever the order of their keys.
# NumPy values are passed to _default, because some versions of orjson end the process at a datetime64 far before year 1
# or far after year 9999.
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
_INT64, _UINT64 = -(2**63), 2**64 - 1
_TIME = re.compile(rb'"[0-9-]+T[0-9]{2}:[0-9]{2}:[0-9]{2}')
# orjson 3.13 drops a zero of a time's fraction: 10 ms are written as .10000, which is 100 ms.
_SHORT_FRACTION = re.compile(rb'"[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{1,5}["+-]')
_EXACT_OPTIONS = _OPTIONS | orjson.OPT_PASSTHROUGH_DATETIME


def json_text(value: Any) -> str:
    """Return the value as JSON text.

    A ``str`` becomes a JSON string; the text of an ``orjson.Fragment`` is returned if it is valid JSON. Raises
    UnfitError if the value, or a value inside it, cannot be written as JSON; NaN and bytes, for example, cannot.
    """
    try:
        text = orjson.dumps(value, default=_default, option=_OPTIONS)
        if ("numpy" in sys.modules and _TIME.search(text)) or _SHORT_FRACTION.search(text):
            text = _exact_text(value)  # orjson also cuts nanoseconds off
    except (TypeError, ValueError):  # orjson raises both
        text = _exact_text(value)
    # orjson writes NaN as null without an error.
    if b"null" in text and not _is_finite(value):
        raise UnfitError("JSON has no NaN or infinity")
    _check(text)  # orjson writes a Fragment as it is, whatever it holds
    return text.decode()


def checked_text(value: Any) -> str:
    """Return the JSON text of a value; if the value is text, it must already be JSON and is returned unchanged.

    Raises UnfitError for text that is not JSON, and for values that ``json_text`` refuses.
    """
    if not isinstance(value, str) or isinstance(value, GivenText):
        return json_text(value)
    _check(value)
    return value


def may_have_key_twice(text: bytes, value: Any) -> bool:
    """Return whether an object in a JSON text might have the same key twice.

    ``value`` is the parsed text. False means that no object has a key twice. True can be wrong, because strings in the
    text can look like keys.
    """
    if not isinstance(value, dict | list):
        return False
    written = text.translate(None, b" \t\r\n").count(b'":')
    if isinstance(value, dict) and written == len(value):
        return False
    if isinstance(value, list) and set(map(type, value)) == {dict} and written == sum(map(len, value)):
        return False
    return written != _count_keys(value)


def _count_keys(value: Any) -> int:
    # Not recursive: orjson parses text that is nested deeper than Python's calls may be.
    count, holders = 0, [value]
    while holders:
        holder = holders.pop()
        if isinstance(holder, dict):
            count += len(holder)
            members: Iterable[Any] = holder.values()
        else:
            members = holder
        holders += [member for member in members if isinstance(member, dict | list)]
    return count


def _check(text: str | bytes) -> None:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UnfitError(f"not JSON text: {error}") from None


def _exact_text(value: Any) -> bytes:
    """Return the JSON text of ``value``; slow, but accepts whole numbers beyond 64 bits and keeps NumPy's nanoseconds.

    Raises UnfitError if ``value`` cannot be written as JSON.
    """
    try:
        return orjson.dumps(_exact(value), default=_default, option=_EXACT_OPTIONS)
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(error.__cause__, UnfitError):  # the reason why a record inside the value could not be read
            raise error.__cause__ from None
        raise UnfitError(f"cannot be written as JSON: {error}") from None


def _exact(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if _INT64 <= value <= _UINT64 else orjson.Fragment(str(int(value)))
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if type(value) in {list, tuple}:
        return list(map(_exact, value))
    return _exact_object(value)


def _exact_object(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray) and value.dtype.kind in "MO":
        return [_exact(item) for item in value]
    if numpy is not None and isinstance(value, numpy.datetime64):
        return None if is_null(value, nan_is_null=False) else numpy_time_text(value)
    plain = _plain(value)
    return value if plain is value else _exact(plain)


def _numpy_value(value: Any) -> Any:
    """Return a NumPy scalar or array as a value that orjson can write; raise UnfitError if that is impossible.

    A number is written with the digits of its own type: float32(0.1) as 0.1, not as 0.10000000149011612.
    """
    kind = value.dtype.kind
    if kind in "biuf":
        one_piece = value.astype(value.dtype.newbyteorder("="), order="C")
        with suppress(TypeError):  # orjson does not write numbers that are longer than a double
            return orjson.Fragment(orjson.dumps(one_piece, option=orjson.OPT_SERIALIZE_NUMPY))
    if value.ndim:
        return list(value)
    if kind == "M":
        return None if is_null(value, nan_is_null=False) else numpy_time_text(value)
    raise UnfitError(f"cannot be written as JSON: {_without_form(value)}")


def _number(value: Decimal) -> Any:
    if isinstance(value, JsonNumber) and isinstance(double := plain_number(value), float):
        return double  # orjson writes it with its exponent
    if not value.is_finite():
        raise UnfitError("JSON has no NaN or infinity")
    return orjson.Fragment(format(value, "f"))


def _default(value: Any) -> Any:
    if isinstance(value, Decimal):
        return _number(value)
    if is_null(value, nan_is_null=False):
        return None
    if isinstance(value, date | time):
        return moment_text(value)  # orjson does not write instances of subclasses
    if isinstance(value, UUID):
        return str(value)
    numpy = sys.modules.get("numpy")  # a NumPy value exists only if NumPy was imported
    if numpy is not None and isinstance(value, numpy.generic | numpy.ndarray):
        return _numpy_value(value)
    if isinstance(value, UnfitValue):
        raise UnfitError(value.reason)
    plain = _plain(value)
    if plain is not value:
        return plain
    raise UnfitError(f"cannot be written as JSON: {_without_form(value)}")


def _without_form(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return "bytes have no JSON form; pass text, such as base64.b64encode(value).decode()"
    return f"{type(value).__name__} has no JSON form; pass text, a number, a list or a dict"


def _is_finite(value: Any) -> bool:
    """Return whether ``value`` contains neither NaN nor an infinity.

    Call this function only for a value that was written as JSON without an error.
    """
    if isinstance(value, float):
        return math.isfinite(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.floating | numpy.ndarray):
        return value.dtype.kind != "f" or bool(numpy.isfinite(value).all())
    return all(map(_is_finite, _members(value)))


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, Enum):
        return (value.value,)
    plain = _plain(value)
    return () if plain is value else (plain,)


def _plain(value: Any) -> Any:
    """Convert a mapping, dataclass or similar record to a dict, and a sequence such as a range to a list.

    Return the content of a pydantic model or a well-known protobuf message. Return any other value unchanged.
    """
    if isinstance(value, dict):
        return value
    if (inner := dumped(value)) is not value:
        return inner
    members = members_of(value)
    if members is not None:
        return dict(members)
    is_other = isinstance(value, Sequence) and not isinstance(
        value, str | list | tuple | bytes | bytearray | memoryview
    )
    return list(value) if is_other else value
