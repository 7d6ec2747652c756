"""Chooses between the singular and the plural of a word ("row", "rows") for texts that people read."""

from __future__ import annotations

__all__ = ["plural"]


def plural(number: int, one: str, many: str | None = None) -> str:
    """Return ``one`` if ``number`` is 1, otherwise ``many``, which defaults to ``one`` followed by an "s"."""
    if number == 1:
        return one
    return f"{one}s" if many is None else many
