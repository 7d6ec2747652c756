"""Unwraps a user's value, before the type of its column is considered."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Any

from ...records import GivenText, UnfitError, UnfitValue, dumped

__all__ = ["parsable", "unwrapped"]


def unwrapped(value: Any) -> Any:
    """Return the value inside an Enum member, a pydantic model, a well-known protobuf message or a NumPy scalar.

    NumPy's ``datetime64`` and ``timedelta64`` are returned unchanged, like all values of other types. Raises UnfitError
    for an UnfitValue, and if a model's own code fails.
    """
    if isinstance(value, Enum):
        return unwrapped(value.value)
    if isinstance(value, UnfitValue):
        raise UnfitError(value.reason)
    if (inner := dumped(value)) is not value:  # such as pydantic's RootModel
        return unwrapped(inner)
    numpy = sys.modules.get("numpy")  # a NumPy scalar exists only if NumPy was imported
    if numpy is None or not isinstance(value, numpy.generic):
        return value
    # The item of a time in nanoseconds is a plain number.
    return value if isinstance(value, numpy.datetime64 | numpy.timedelta64) else value.item()


def parsable(value: str, what: str, parse_text: bool) -> str:
    """Return the text ``value`` if ``parse_text`` is set; otherwise raise UnfitError.

    The error message says to pass ``what`` instead of text; ``what`` is, for example, "a number".
    """
    if isinstance(value, GivenText):
        raise UnfitError(f"the dead letter has text that is not parsed: write {what} in place of the whole object")
    if not parse_text:
        raise UnfitError(f"text is not parsed: pass {what}, or set parse_text=True")
    return value
