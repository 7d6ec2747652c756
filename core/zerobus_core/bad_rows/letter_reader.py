"""Converts the record of a dead letter to the row that was delivered; see ``markers`` for the form."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

import orjson

from ..encode.values.json_input import parsed_json
from ..records import GivenText, UnfitError, UnfitValue, UnreadableRow
from .markers import (
    BINARY,
    DATE,
    DATETIME,
    DECIMAL,
    DESCRIBED,
    ESCAPED,
    FLOAT,
    JSON,
    LETTER_KEY,
    MAP,
    TEXT,
    TIME,
    UNFIT,
    VERSION,
    is_marker,
)

__all__ = ["from_letter", "letter_text", "row_of_letter"]

_PAIR = 2


def letter_text(version: int, record: str) -> bytes:
    """Return the JSON text of a letter with only a version and a record, which is given as JSON text."""
    return b'{"%b":%d,"record":%b}' % (LETTER_KEY.encode(), version, record.encode(errors="surrogatepass"))


def row_of_letter(letter: bytes) -> Any:
    """Return the row in a dead letter, which is given as JSON text; its numbers are exact for every type of column.

    Return an UnreadableRow if the text cannot be read with certainty, such as an object that has the same key twice, or
    if the letter has an unknown version.
    """
    text = letter.decode(errors="surrogatepass")
    try:
        parsed = parsed_json(text)
    except UnfitError as error:
        return UnreadableRow(text, str(error))
    version = parsed[LETTER_KEY]
    if type(version) is not int or version not in range(1, VERSION + 1):
        return UnreadableRow(text, f"{LETTER_KEY} is not a version from 1 to {VERSION}")
    try:
        return from_letter(parsed.get("record"), version)
    except RecursionError:
        return UnreadableRow(text, "nested too deeply")


def from_letter(value: Any, version: int = VERSION) -> Any:
    """Convert a record, or a value in it, to what the delivery was given; ``version`` is the letter's version.

    Text stays text, dates included if their column parses them. A description of a value becomes an UnfitValue, and so
    does an object that a person has broken, such as ``{"$decimal": "1,5"}``. In letters of version 1, such an object
    stays a dict, because they have dicts of users that look like this.
    """
    if isinstance(value, list):
        return [from_letter(item, version) for item in value]
    if not isinstance(value, dict):
        return value
    if is_marker(value, version=version):
        ((key, inner),) = value.items()
        with suppress(ValueError, InvalidOperation):
            return _marked(key, inner, version)
        if version > 1:
            return UnfitValue(value, f"not a valid {key} of a dead letter")
    return {key: from_letter(item, version) for key, item in value.items()}


def _marked(key: str, inner: Any, version: int) -> Any:
    """Return the value of a marker; raise ValueError or InvalidOperation if it has none."""
    if key == ESCAPED:
        if not isinstance(inner, dict):
            raise ValueError
        return {name: from_letter(item, version) for name, item in inner.items()}
    if key == MAP:
        if not isinstance(inner, list) or not all(isinstance(entry, list) and len(entry) == _PAIR for entry in inner):
            raise ValueError
        return [(from_letter(name, version), from_letter(item, version)) for name, item in inner]
    # A person can write the value itself in place of the text.
    return _READERS[key](inner) if isinstance(inner, str) else from_letter(inner, version)


_READERS: dict[str, Callable[[str], Any]] = {
    BINARY: partial(b64decode, validate=True),
    DATE: date.fromisoformat,
    DATETIME: datetime.fromisoformat,
    DECIMAL: Decimal,
    FLOAT: float,
    JSON: orjson.Fragment,
    TEXT: GivenText,
    TIME: time.fromisoformat,
    UNFIT: partial(UnfitValue, reason=DESCRIBED),
}
