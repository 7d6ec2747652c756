"""The JSON objects with one key by which a dead letter holds values that JSON does not have.

``{"$binary": base64}``, ``{"$decimal": "1.50"}`` and ``{"$float": "nan"}`` are a value of that type.
``{"$date": text}``, ``{"$datetime": text}`` and ``{"$time": text}`` (ISO 8601) are a value of Python's class of that
name. In ``{"$text": text}``, the text is never parsed. ``{"$map": [[key, value], …]}`` is a map, whose keys can be of
any type. ``{"$escaped": dict}`` is a dict of the user that looks like one of these objects.
``{"$unfit": description}`` only describes a value, and fits no column.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = [
    "BINARY",
    "DATE",
    "DATETIME",
    "DECIMAL",
    "DESCRIBED",
    "ESCAPED",
    "FLOAT",
    "MAP",
    "TEXT",
    "TIME",
    "UNFIT",
    "is_marker",
]

BINARY: Final = "$binary"
DATE: Final = "$date"
DATETIME: Final = "$datetime"
DECIMAL: Final = "$decimal"
ESCAPED: Final = "$escaped"
FLOAT: Final = "$float"
MAP: Final = "$map"
TEXT: Final = "$text"
TIME: Final = "$time"
UNFIT: Final = "$unfit"

DESCRIBED: Final = "the dead letter only describes the value: write the value itself there"

_OF_TEXT = frozenset({BINARY, DATE, DATETIME, DECIMAL, FLOAT, TIME, UNFIT})
# Version 1 of the format has only these.
_OF_VERSION_1 = frozenset({BINARY, FLOAT, UNFIT})


def is_marker(value: Any, *, version: int = 2) -> bool:
    """Return whether ``value``, parsed from JSON, is an object that stands for another value."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((key, inner),) = value.items()
    if key == ESCAPED:
        return is_marker(inner, version=version)
    if key == TEXT:  # also with another value, which a person wrote in place of the text
        return version > 1
    if key == MAP:
        return version > 1 and isinstance(inner, list)
    return key in (_OF_TEXT if version > 1 else _OF_VERSION_1) and isinstance(inner, str)
