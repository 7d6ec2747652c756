"""Reads dead-letter files back: their tables, and the rows as they can be sent again."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigurationError
from ..storage.atomic_file import KeptFile
from ..storage.uris import shown_uri
from .codec import from_letter
from .dead_letter import letters_in

__all__ = ["letter_rows", "letters_of", "tables_of_letters"]


def tables_of_letters(uri: str) -> list[str]:
    """The tables that a dead-letter file has letters of, in the order of the alphabet."""
    return sorted({str(letter["table"]) for letter in letters_of(uri)})


def letter_rows(uri: str, table: str) -> list[Any]:
    """The rows of the letters of ``table``, in the order of the file.

    Raises ConfigurationError if there is no file, or one that holds something else; TransportError if the storage
    fails.
    """
    return [from_letter(letter["record"]) for letter in letters_of(uri, table)]


def letters_of(uri: str, table: str | None = None) -> list[dict[str, Any]]:
    """The letters of ``table``, or all of them, in the order of the file; raises what ``letter_rows`` does."""
    data = KeptFile(uri, "dead-letter file").read()
    if data is None:
        raise ConfigurationError(f"there is no dead-letter file {shown_uri(uri)}")
    wanted = None if table is None else table.replace("`", "").lower()
    return [letter for letter in letters_in(uri, data) if wanted in {None, str(letter["table"]).lower()}]
