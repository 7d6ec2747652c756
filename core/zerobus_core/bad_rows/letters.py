"""Reads dead-letter files; returns the names of their tables, or their rows in a form that can be sent again."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigurationError
from ..storage.atomic_file import KeptFile
from ..storage.uris import shown_uri
from .codec import from_letter
from .dead_letter import letters_in

__all__ = ["letter_rows", "letters_of", "tables_of_letters"]


def tables_of_letters(uri: str) -> list[str]:
    """Return the names of all tables for which the file contains dead letters, in alphabetical order.

    Raises the same errors as ``letter_rows``.
    """
    return sorted({str(letter["table"]) for letter in letters_of(uri)})


def letter_rows(uri: str, table: str) -> list[Any]:
    """Return the rows of the dead letters for ``table``, in the order of the file.

    Raises ConfigurationError if the file is missing, cannot be accessed or is not a dead-letter file, or if it is a
    Parquet file and pyarrow is not installed. Raises TransportError if the storage fails.
    """
    return [from_letter(letter["record"]) for letter in letters_of(uri, table)]


def letters_of(uri: str, table: str | None = None) -> list[dict[str, Any]]:
    """Return the dead letters for ``table``, or all dead letters if ``table`` is None, in the order of the file.

    Raises the same errors as ``letter_rows``.
    """
    data = KeptFile(uri, "dead-letter file").read()
    if data is None:
        raise ConfigurationError(f"there is no dead-letter file {shown_uri(uri)}")
    wanted = None if table is None else table.replace("`", "").lower()
    return [letter for letter in letters_in(uri, data) if wanted in {None, str(letter["table"]).lower()}]
