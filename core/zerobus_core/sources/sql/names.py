"""Column names of a query, as users write them and as the database spells them."""

from __future__ import annotations

from typing import Any

from ...errors import ConfigurationError

__all__ = ["checked_name", "spelled"]


def spelled(name: str, columns: dict[str, Any]) -> str | None:
    """Return the spelling of the column ``name`` in ``columns``, or None if ``columns`` does not contain it.

    If no column has exactly this name, a column whose name differs only in case is accepted if it is the only one.
    """
    if name in columns:
        return name
    alike = [column for column in columns if column.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None


def checked_name(what: str, name: Any) -> str:
    """Return ``name``; raise ConfigurationError if it is not text, is blank, or contains a NUL.

    The error message calls the name ``what``, for example "key".
    """
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise ConfigurationError(f"{what} must be the name of a column of the query, not {name!r}")
    return name
