"""Says which values stand for NULL."""

from __future__ import annotations

from typing import Any

__all__ = ["is_null"]


def is_null(value: Any, *, nan_is_null: bool) -> bool:
    """Return whether a value stands for NULL: None, pandas' NaT and NA, and a NumPy ``datetime64`` that is NaT.

    If ``nan_is_null``, a ``float`` that is NaN also stands for NULL.
    """
    if value is None:
        return True
    if isinstance(value, float):
        return nan_is_null and value != value  # noqa: PLR0124  # only NaN differs from itself
    kind = type(value)
    if kind.__name__ in {"NaTType", "NAType"}:
        return kind.__module__.startswith("pandas.")
    if kind.__name__ == "datetime64":
        return bool(value != value)  # noqa: PLR0124
    return False
