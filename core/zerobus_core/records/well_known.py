"""Converts most of protobuf's well-known messages to the Python values that they represent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from .unreadable import UnfitError

__all__ = ["well_known_reader"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS = 1_000


def well_known_reader(kind: type) -> Callable[[Any], Any] | None:
    """Return the function that converts messages of class ``kind``, or None if this module does not convert them."""
    return _READERS.get(getattr(getattr(kind, "DESCRIPTOR", None), "full_name", ""))


def _instant(message: Any) -> datetime:
    return _EPOCH + _duration(message)


def _duration(message: Any) -> timedelta:
    if message.nanos % _NANOSECONDS:
        raise UnfitError("has nanoseconds, but the column stores microseconds")
    return timedelta(seconds=message.seconds, microseconds=message.nanos // _NANOSECONDS)


def _wrapped(message: Any) -> Any:
    return message.value


def _value(message: Any) -> Any:
    kind = message.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    value = getattr(message, kind)
    return {"struct_value": _struct, "list_value": _list}.get(kind, _same)(value)


def _struct(message: Any) -> dict[str, Any]:
    return {name: _value(value) for name, value in message.fields.items()}


def _list(message: Any) -> list[Any]:
    return [_value(value) for value in message.values]


def _same(value: Any) -> Any:
    return value


_WRAPPERS = ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
_READERS: dict[str, Callable[[Any], Any]] = {
    "google.protobuf.Timestamp": _instant,
    "google.protobuf.Duration": _duration,
    "google.protobuf.Value": _value,
    "google.protobuf.Struct": _struct,
    "google.protobuf.ListValue": _list,
    **{f"google.protobuf.{name}Value": _wrapped for name in _WRAPPERS},
}
