"""Reads dead-letter files: the dead letters in them, and the tables that these are for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import ConfigurationError
from ..storage.atomic_file import KeptFile
from ..storage.uris import shown_uri
from .dead_letter import letters_in

__all__ = ["letters_of", "lines_of_letters", "tables_of_letters"]


def tables_of_letters(uri: str) -> list[str]:
    """Return the tables that the file has dead letters for, in alphabetical order.

    Raises the same errors as ``letters_of``.
    """
    return sorted({str(letter["table"]) for letter in letters_of(uri)})


def letters_of(uri: str, table: str | None = None) -> list[dict[str, Any]]:
    """Return the dead letters for ``table``, or all dead letters if ``table`` is None, in the order of the file.

    Numbers with a fraction are rounded to doubles. Raises ConfigurationError if the file is missing, cannot be accessed
    or is not a dead-letter file, or if it is a Parquet file and pyarrow is not installed. Raises TransportError if the
    storage fails.
    """
    return [letter for letter, _ in _letters(uri, table)]


def lines_of_letters(uri: str, table: str) -> list[bytes]:
    """Return the dead letters for ``table`` as JSON text, in the order of the file.

    A text is the line of the file; for a Parquet file, it is a JSON object with only the marker and the record.
    Numbers are as in the file. Raises the same errors as ``letters_of``.
    """
    return [line for _, line in _letters(uri, table)]


def _letters(uri: str, table: str | None) -> Iterator[tuple[dict[str, Any], bytes]]:
    data = KeptFile(uri, "dead-letter file").read()
    if data is None:
        raise ConfigurationError(f"there is no dead-letter file {shown_uri(uri)}")
    wanted = None if table is None else table.replace("`", "").lower()
    for letter, line in letters_in(uri, data):
        if wanted in {None, str(letter["table"]).lower()}:
            yield letter, line
