"""The JSON objects with one key by which a dead letter holds values that JSON does not have.

``{"$binary": base64}``, ``{"$decimal": "1.50"}`` and ``{"$float": "nan"}`` are a value of that type.
``{"$date": text}``, ``{"$datetime": text}`` and ``{"$time": text}`` (ISO 8601) are a value of Python's class of that
name. In ``{"$text": text}``, the text is never parsed. ``{"$map": [[key, value], …]}`` is a map, whose keys can be of
any type. ``{"$json": text}`` is JSON text for a VARIANT that JSON values cannot express, such as one with the same key
twice. ``{"$escaped": dict}`` is a dict of the user that looks like one of these objects.
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
    "JSON",
    "LETTER_KEY",
    "MAP",
    "TEXT",
    "TIME",
    "UNFIT",
    "VERSION",
    "is_marker",
]

LETTER_KEY: Final = "zerobus_dead_letter"
"""The key by which a dead letter is recognised; its value is the version of the format."""

VERSION: Final = 2
"""The newest version of the format of dead letters."""

BINARY: Final = "$binary"
DATE: Final = "$date"
DATETIME: Final = "$datetime"
DECIMAL: Final = "$decimal"
ESCAPED: Final = "$escaped"
FLOAT: Final = "$float"
JSON: Final = "$json"
MAP: Final = "$map"
TEXT: Final = "$text"
TIME: Final = "$time"
UNFIT: Final = "$unfit"

DESCRIBED: Final = "the dead letter only describes the value: write the value itself there"

_NAMES = frozenset({BINARY, DATE, DATETIME, DECIMAL, ESCAPED, FLOAT, JSON, MAP, TEXT, TIME, UNFIT})
# Version 1 of the format has only these, and does not escape a dict whose value is not text.
_NAMES_OF_VERSION_1 = frozenset({BINARY, FLOAT, UNFIT})


def is_marker(value: Any, *, version: int = VERSION) -> bool:
    """Return whether ``value``, parsed from JSON, is an object with the name of a marker."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((key, inner),) = value.items()
    if version > 1:
        return key in _NAMES
    if key == ESCAPED:
        return is_marker(inner, version=version)
    return key in _NAMES_OF_VERSION_1 and isinstance(inner, str)
