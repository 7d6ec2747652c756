"""Column names of a query, as users write them and as the database spells them."""

from __future__ import annotations

from typing import Any

from ...errors import ConfigurationError

__all__ = ["checked_name", "spelled"]


def spelled(name: str, columns: dict[str, Any]) -> str | None:
    """Return ``name`` if ``columns`` has it, or the one column whose name differs only in case; otherwise None."""
    if name in columns:
        return name
    alike = [column for column in columns if column.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None


def checked_name(what: str, name: Any) -> str:
    """Return ``name`` if it is text that is neither blank nor has a NUL; otherwise raise ConfigurationError."""
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise ConfigurationError(f"{what} must be the name of a column of the query, not {name!r}")
    return name
