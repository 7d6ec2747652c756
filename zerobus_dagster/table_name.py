"""Finds the name of an output's table. Each part of the name comes from the most specific setting that contains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from zerobus_core import ConfigurationError

__all__ = ["from_asset_key", "from_metadata", "full_name", "plain"]

Parts = Mapping[str, str]

_PARTS = ("catalog", "schema", "table")


def from_metadata(metadata: Mapping[str, Any] | None) -> Parts:
    """Return the parts of the table's name that the metadata contains.

    The keys are ``table``, ``schema``, ``catalog`` and ``dagster/table_name``. A table can be given with its catalog
    and schema, as in "main.default.t", but the keys ``catalog`` and ``schema`` take precedence. Raises
    ConfigurationError if ``table`` and ``dagster/table_name`` refer to different tables.
    """
    named = {key: plain(value) for key, value in (metadata or {}).items()}
    table, shown = (str(named.get(key) or "") for key in ("table", "dagster/table_name"))
    if table and shown and not f".{shown}".endswith(f".{table}"):
        raise ConfigurationError(
            f"the metadata has two different tables: 'table' is {table!r}, but 'dagster/table_name' is {shown!r}; "
            "set only one of these keys"
        )
    parts = _split(shown or table)  # if both are given, ``table`` is the end of ``shown``
    parts.update({part: str(named[part]) for part in ("schema", "catalog") if named.get(part)})
    return parts


def from_asset_key(path: Sequence[str]) -> Parts:
    """Return the parts of the table's name: the last components of an asset key are catalog, schema and table."""
    return dict(zip(reversed(_PARTS), reversed(path), strict=False))


def full_name(levels: Sequence[Mapping[str, str | None]], *, output: str) -> str:
    """Return ``catalog.schema.table``; each part is taken from the first of ``levels`` that contains it.

    The caller passes the most specific level first. Raises ConfigurationError if one of the parts is missing from
    every level. The error message begins with ``output``, a description of the output.
    """
    parts = {part: next((level[part] for level in levels if level.get(part)), None) for part in _PARTS}
    missing = [part for part, name in parts.items() if not name]
    if missing:
        raise ConfigurationError(
            f"{output}: the name of its table has no {' and no '.join(missing)}; set each missing part in the metadata "
            "of the asset, in the configuration of ZerobusIOManager, or in the asset key (catalog, schema, table)"
        )
    return ".".join(str(name) for name in parts.values())


def plain(value: Any) -> Any:
    """Return the plain Python value of a metadata value, which Dagster may have wrapped in a MetadataValue."""
    return value.value if isinstance(value, dg.MetadataValue) else value


def _split(name: str) -> dict[str, str]:
    return dict(zip(reversed(_PARTS), reversed(name.split(".")), strict=False)) if name else {}
