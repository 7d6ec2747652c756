"""Reads dead-letter files back: their tables, and the rows as they can be sent again."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigurationError
from ..storage.atomic_file import KeptFile
from ..storage.uris import shown_uri
from .codec import from_letter
from .dead_letter import letters_in

__all__ = ["letter_rows", "tables_of_letters"]


def tables_of_letters(uri: str) -> list[str]:
    """The tables that a dead-letter file has letters of, in the order of the alphabet."""
    return sorted({str(letter["table"]) for letter in _letters(uri)})


def letter_rows(uri: str, table: str) -> list[Any]:
    """The rows of the letters of ``table``, in the order of the file.

    Raises ConfigurationError if there is no file, or one that holds something else; TransportError if the storage
    fails.
    """
    wanted = table.replace("`", "").lower()
    return [from_letter(letter["record"]) for letter in _letters(uri) if str(letter["table"]).lower() == wanted]


def _letters(uri: str) -> list[dict[str, Any]]:
    data = KeptFile(uri, "dead-letter file").read()
    if data is None:
        raise ConfigurationError(f"there is no dead-letter file {shown_uri(uri)}")
    return list(letters_in(uri, data))
