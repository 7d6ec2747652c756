"""The allowed values of options that change columns, such as ``constants``, and functions that check the values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

__all__ = [
    "EXTRA_COLUMNS",
    "METADATA",
    "RESCUE",
    "RESCUED",
    "SHAPED",
    "constants_problem",
    "extra_columns_problem",
    "is_kept",
    "metadata_columns_problem",
    "transform_problem",
    "variant_column",
]

EXTRA_COLUMNS = '"error", "drop", "variant:COLUMN" or "rescue"'
RESCUE = "rescue"
"""The value of ``extra_columns`` that sends fields without a column to the service, which puts them into the table's
rescue column."""
RESCUED = "\0rescued"
"""The key under which a row carries the fields for the rescue column to the encoder. No column can have this name."""
SHAPED = "+shape:"
"""The text in a fingerprint that separates the source's own fingerprint from the part for the options that change its
rows."""
METADATA = ("ingested_at", "file_name", "file_path", "row_number")
"""The keys of ``metadata_columns``."""
_VARIANT = "variant:"
_CONSTANTS = (str, bool, int, float, Decimal, date, datetime)


def is_kept(name: str, select: Collection[str], drop: Collection[str]) -> bool:
    """Return whether the column ``name`` of the source stays in the rows under the options ``select`` and ``drop``."""
    return (not select or name in select) and name not in drop


def variant_column(extra_columns: str) -> str | None:
    """Return the column's name if ``extra_columns`` has the form "variant:COLUMN"; otherwise return None."""
    return extra_columns.removeprefix(_VARIANT) if extra_columns.startswith(_VARIANT) else None


def extra_columns_problem(value: Any) -> str | None:
    """Return None if ``value`` is valid for ``extra_columns``; otherwise return a text that says what is valid."""
    is_known = isinstance(value, str) and (value in {"error", "drop", RESCUE} or bool(variant_column(value)))
    return None if is_known else EXTRA_COLUMNS


def metadata_columns_problem(value: Any) -> str | None:
    """Return None if ``value`` is valid for ``metadata_columns``; otherwise return a text that says what is valid."""
    if value is None:
        return None
    is_named = isinstance(value, Mapping) and all(isinstance(name, str) and name for name in value.values())
    if not is_named or not value or not set(value) <= set(METADATA) or len(set(value.values())) < len(value):
        return f"{{{', '.join(f'{kind!r}: column' for kind in METADATA)}}}, or some of these, each with its own column"
    return None


def constants_problem(value: Any) -> str | None:
    """Return None if ``value`` is valid for ``constants``; otherwise return a text that says what is valid."""
    if value is None:
        return None
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        return "{column: value}"
    bad = [name for name, constant in value.items() if not isinstance(constant, _CONSTANTS)]
    return (
        f"text, numbers, booleans or dates by column name ({', '.join(map(repr, bad))} has another value)"
        if bad
        else None
    )


def transform_problem(value: Any) -> str | None:
    """Return None if ``value`` is valid for ``transform``; otherwise return a text that says what is valid."""
    if value is None or (callable(value) and not isinstance(value, type)):
        return None
    if isinstance(value, str):
        module, _, name = value.partition(":")
        if name and all(map(str.isidentifier, [*module.split("."), *name.split(".")])):
            return None
    return 'a function of one row, or "package.module:function"'
