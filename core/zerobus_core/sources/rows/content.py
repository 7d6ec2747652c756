"""A hash of row objects that depends on the type and the value of every field.

For a value of one of Python's plain types, the bytes that pickle writes are hashed. For any other object whose content
can be determined, the name of its type and its content are hashed. The bytes from pickle are only hashed, never stored
or unpickled.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from ...process.signals import is_of_signal
from ...records import UnfitError, dumped, is_record, members_of

__all__ = ["ContentHash", "rows_fingerprint"]

_HASHED_AT_ONCE = 1_000
_PLAIN = frozenset({type(None), bool, int, float, str, bytes, bytearray, list, tuple, dict})
_TOLD_BY_TEXT = frozenset({Decimal, UUID, timedelta})
# Only the datetime classes of these packages are hashed by their text: any other subclass can hold more than its text.
_HOMES_OF_TIMES = frozenset({"datetime", "pandas", "pendulum"})


def rows_fingerprint(rows: Sequence[Any]) -> str | None:
    """Return a hash of the number, order and content of ``rows``; None if a value's content is unknown.

    Equal dicts have different hashes if their keys are in a different order.
    """
    content = ContentHash()
    try:
        for first in range(0, len(rows), _HASHED_AT_ONCE):
            content.add(list(rows[first : first + _HASHED_AT_ONCE]))
    except TypeError:
        return None
    return f"rows:{len(rows)}:{content.hexdigest()}"


class ContentHash:
    """A hash of values that are added one by one."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._writer = _Writer(self, protocol=5)
        # With pickle's memo, an object that occurs twice would be written differently from two equal objects.
        self._writer.fast = True

    def add(self, value: Any) -> None:
        """Add a value of any type; raise TypeError if its content cannot be determined."""
        try:
            self._writer.dump(value)
        except Exception as error:  # the code of a value's class can raise anything
            if is_of_signal(error):
                raise
            raise TypeError(f"the content of {type(value).__name__} is not known: {error}") from error

    def write(self, data: bytes) -> None:
        """Add bytes to the hash; the pickler calls this with its output."""
        self._hash.update(data)

    def hexdigest(self) -> str:
        """Return the first 128 bits of the hash as hexadecimal digits."""
        return self._hash.hexdigest()[:32]


class _Writer(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        """Return None for a value of a plain type; for any other value, return what pickle writes in its place."""
        return None if type(value) in _PLAIN else _content_key(value)


def _content_key(value: Any) -> tuple[Any, ...]:
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(value, datetime | date | time) and kind.__module__.partition(".")[0] in _HOMES_OF_TIMES:
        # isoformat() shows neither fold nor whether tzinfo is None.
        return name, value.isoformat(), getattr(value, "fold", 0), getattr(value, "tzinfo", None) is None
    if kind in _TOLD_BY_TEXT:
        return name, repr(value)
    if isinstance(value, Enum):
        return name, value.name, value.value
    if is_record(value):
        return name, _members(value)
    if kind.__module__ == "numpy" and hasattr(value, "tobytes"):
        return name, *_numpy_content_key(value)
    raise TypeError(f"the content of {name} is not known")


def _members(record: Any) -> Any:
    try:
        if (inner := dumped(record)) is not record:
            return inner
        return list(dict(members_of(record) or {}).items())
    except UnfitError as unfit:
        raise TypeError(str(unfit)) from unfit


def _numpy_content_key(value: Any) -> tuple[Any, ...]:
    if value.dtype == object:
        return "object", value.shape, list(value)
    if value.dtype.hasobject:  # its bytes are addresses
        raise TypeError("the content of a numpy structured array with objects is not known")
    return str(value.dtype), value.shape, value.tobytes()
