"""Converts the record of a dead letter to the row that was delivered; see ``markers`` for the form."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, Final

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
    MAP,
    TEXT,
    TIME,
    UNFIT,
    is_marker,
)

__all__ = ["MARKER", "from_letter", "letter_text", "row_of_letter"]

MARKER: Final = "zerobus_dead_letter"
"""The key by which a dead letter is recognised; its value is the version of the format."""


def letter_text(version: int, record: str) -> bytes:
    """Return the JSON text of a letter with only a version and a record, which is given as JSON text."""
    return b'{"%b":%d,"record":%b}' % (MARKER.encode(), version, record.encode(errors="surrogatepass"))


def row_of_letter(letter: bytes) -> Any:
    """Return the row in a dead letter, which is given as JSON text; its numbers are exact for every type of column.

    Return an UnreadableRow if the text cannot be read with certainty, such as an object that has the same key twice.
    """
    text = letter.decode(errors="surrogatepass")
    try:
        parsed = parsed_json(text)
    except UnfitError as error:
        return UnreadableRow(text, str(error))
    version = parsed[MARKER]
    return from_letter(parsed.get("record"), version if isinstance(version, int) else 1)


def from_letter(value: Any, version: int = 2) -> Any:
    """Convert a record, or a value in it, to what the delivery was given; ``version`` is the letter's version.

    Text stays text, dates included if their column parses them. A description of a value becomes an UnfitValue. An
    object that only looks like a marker stays a dict: files of older versions have such dicts of users.
    """
    if isinstance(value, list):
        return [from_letter(item, version) for item in value]
    if not isinstance(value, dict):
        return value
    if is_marker(value, version=version):
        ((key, inner),) = value.items()
        if key == ESCAPED:
            return {name: from_letter(item, version) for name, item in inner.items()}
        if key == TEXT:
            return GivenText(inner) if isinstance(inner, str) else from_letter(inner, version)
        with suppress(ValueError):
            return _pairs(inner, version) if key == MAP else _READERS[key](inner)
    return {key: from_letter(item, version) for key, item in value.items()}


def _pairs(entries: list[Any], version: int) -> list[tuple[Any, Any]]:
    if not all(isinstance(entry, list) and len(entry) == 2 for entry in entries):  # noqa: PLR2004  # a key and a value
        raise ValueError
    return [(from_letter(key, version), from_letter(item, version)) for key, item in entries]


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError from None


_READERS: dict[str, Callable[[str], Any]] = {
    BINARY: partial(b64decode, validate=True),
    DATE: date.fromisoformat,
    DATETIME: datetime.fromisoformat,
    DECIMAL: _decimal,
    FLOAT: float,
    TIME: time.fromisoformat,
    UNFIT: partial(UnfitValue, reason=DESCRIBED),
}
