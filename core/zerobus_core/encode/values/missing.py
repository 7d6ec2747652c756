"""Says which values stand for NULL."""

from __future__ import annotations

from typing import Any

__all__ = ["is_null"]

# NumPy's scalars by name, because NumPy might not be installed. Its float64 is a Python float. NumPy before 2 calls a
# longdouble by its number of bits.
_TIMES = frozenset({"datetime64", "timedelta64"})
_FLOATS = frozenset({"float16", "float32", "longdouble", "float96", "float128"})


def is_null(value: Any, *, nan_is_null: bool) -> bool:
    """Return whether a value stands for NULL.

    These values stand for NULL: None, pandas' NaT and NA, and a NumPy ``datetime64`` or ``timedelta64`` that is NaT. If
    ``nan_is_null`` is True, NaN also stands for NULL, whether it is a Python float or a NumPy float of any size.
    ``Decimal("NaN")`` never stands for NULL, because a database can store it, for example in PostgreSQL's NUMERIC.
    """
    if value is None:
        return True
    if isinstance(value, float):
        return nan_is_null and value != value  # noqa: PLR0124  # only NaN differs from itself
    kind = type(value)
    if kind.__name__ in {"NaTType", "NAType"}:
        return kind.__module__.startswith("pandas.")
    if kind.__module__ != "numpy":
        return False
    if kind.__name__ in _TIMES or (nan_is_null and kind.__name__ in _FLOATS):
        return bool(value != value)  # noqa: PLR0124
    return False
