"""Words that depend on a number, in texts for people."""

from __future__ import annotations

__all__ = ["plural"]


def plural(number: int, one: str, many: str | None = None) -> str:
    """``one`` if there is one, else ``many``, which is ``one`` with an "s" unless it is given."""
    if number == 1:
        return one
    return f"{one}s" if many is None else many
