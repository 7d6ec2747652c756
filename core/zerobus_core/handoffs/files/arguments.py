"""Checks the arguments of ``NewFiles``."""

from __future__ import annotations

from typing import Any

from ...errors import ConfigurationError
from ...storage.uris import shown_uri

__all__ = ["check_fixed_part", "checked_bound", "checked_seconds"]

_SIGNS = "*?["


def check_fixed_part(path: str) -> None:
    """Raise ConfigurationError for an empty path, or for a glob with no directory name before its first wildcard."""
    link = path.rpartition("://")[2]
    if not path or (any(sign in link for sign in _SIGNS) and not _fixed_part(link)):
        raise ConfigurationError(
            f"{shown_uri(path)!r} has no fixed part: put a directory's name before the first *, as in './landing/*.csv'"
        )


def _fixed_part(path: str) -> str:
    first = min(path.find(sign) for sign in _SIGNS if sign in path)
    return path[:first].rpartition("/")[0].strip("/")


def checked_seconds(value: Any) -> float:
    """Return the argument ``settle`` as a float; raise ConfigurationError if it is not a number of seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**8:
        raise ConfigurationError(f"settle must be a number of seconds, at least 0, not {value!r}")
    return float(value)


def checked_bound(name: str, value: Any) -> int | None:
    """Return ``value``; raise ConfigurationError unless it is None or a positive whole number.

    ``name`` is the name of the argument: ``max_files`` or ``max_bytes``.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name} must be a whole number, at least 1, or None, not {value!r}")
    return value
