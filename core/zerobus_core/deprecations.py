"""The warning of a name that still works."""

from __future__ import annotations

import warnings

__all__ = ["warn_deprecated"]


def warn_deprecated(old: str, instead: str, *, stacklevel: int) -> None:
    """Warn that ``old`` goes away in 0.4, and say what to write instead.

    ``stacklevel`` is counted as in ``warnings.warn`` from the caller of this function: 1 is that caller.
    """
    message = f"{old} is deprecated and goes away in 0.4: {instead}"
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel + 1)
