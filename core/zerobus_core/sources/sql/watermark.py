"""Converts a column's values to JSON and back. No I/O.

A value that was converted to JSON and back equals the value that the driver returned.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

from ...errors import ConfigurationError

__all__ = ["from_plain", "is_finite", "is_time", "parsed", "shown", "to_plain"]

Plain = dict[str, Any]


def is_time(value: Any) -> bool:
    """Return whether the value is a datetime or a date."""
    return isinstance(value, dt.date)


def is_finite(value: Any) -> bool:
    """Return whether the value is neither NaN nor infinite."""
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, Decimal) or value.is_finite()


def to_plain(value: Any, column: str) -> Plain:
    """Return the value as a JSON object; raise ConfigurationError for a type that cannot be a watermark."""
    plain = _plain(value)
    if plain is None:
        raise ConfigurationError(
            f"column {column!r} has values of type {type(value).__name__}, which cannot be a watermark; a "
            "watermark can be a time, a date, a whole number, a decimal, a float, text, a UUID or bytes"
        )
    return plain


def _plain(value: Any) -> Plain | None:  # noqa: PLR0911 - one line for each type
    if isinstance(value, dt.datetime):
        return {"type": "datetime", "value": value.isoformat()}
    if isinstance(value, dt.date):
        return {"type": "date", "value": value.isoformat()}
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return {"type": "int", "value": str(value)}
    if isinstance(value, float):
        return {"type": "float", "value": repr(value)}
    if isinstance(value, Decimal):
        return {"type": "decimal", "value": str(value)}
    if isinstance(value, str):
        return {"type": "text", "value": value}
    if isinstance(value, UUID):
        return {"type": "uuid", "value": str(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"type": "bytes", "value": bytes(value).hex()}
    return None


def from_plain(plain: Plain) -> Any:
    """Return the value that ``to_plain`` converted; bytes of any kind come back as ``bytes``.

    Raises ConfigurationError for an unknown type.
    """
    kind, text = plain["type"], plain["value"]
    readers: dict[str, Callable[[str], Any]] = {
        "datetime": dt.datetime.fromisoformat,
        "date": dt.date.fromisoformat,
        "int": int,
        "float": float,
        "decimal": Decimal,
        "text": str,
        "uuid": UUID,
        "bytes": bytes.fromhex,
    }
    read = readers.get(kind)
    if read is None:
        raise ConfigurationError(f"this release does not support a watermark of type {kind!r}")
    return read(text)


def parsed(text: str, like: Any) -> Any:
    """Convert text that a person entered to the type of ``like``, an existing value of the column.

    If ``like`` is None, return a whole number or a datetime if the text is one, otherwise the text. Raises
    ConfigurationError if the text is not a value of the type. Also raises ConfigurationError if the text is a time with
    a time zone and ``like`` has none, or the reverse.
    """
    if like is None:
        return _guessed(text)
    try:
        value = from_plain({"type": to_plain(like, "")["type"], "value": text})
    except (ValueError, ArithmeticError) as error:
        raise ConfigurationError(
            f"{text!r} cannot be converted to the type of the column's values, such as {like!r}: {error}"
        ) from error
    if isinstance(like, dt.datetime) and (like.tzinfo is None) != (value.tzinfo is None):
        raise ConfigurationError(
            f"{text!r} is not a time like those of the column, such as {like.isoformat()}: only one of the two has a "
            "time zone"
        )
    return value


def _guessed(text: str) -> Any:
    for read in (int, dt.datetime.fromisoformat):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def shown(plain: Plain | None, *, values: bool) -> Any:
    """Return a watermark as a JSON value for people to read; mask text and bytes unless ``values`` is True."""
    if plain is None:
        return None
    kind, text = plain["type"], plain["value"]
    if kind in {"text", "bytes"} and not values:
        return f"({kind} of {len(text) if kind == 'text' else len(text) // 2})"
    return int(text) if kind == "int" and abs(int(text)) < 2**53 else text
