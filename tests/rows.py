"""Rows that were read from a table, which has no order: one commit can become several, and the last is read first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["in_any_order"]


def in_any_order(rows: Iterable[Any]) -> list[Any]:
    """Return the rows in an order that only their values decide, so that two tables can be compared."""
    return sorted(rows, key=repr)
