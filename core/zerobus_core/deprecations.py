"""Warnings about deprecated names that still work."""

from __future__ import annotations

import warnings

__all__ = ["warn_deprecated"]


def warn_deprecated(old: str, instead: str, *, stacklevel: int) -> None:
    """Warn that ``old`` will be removed in 0.4; ``instead`` says what to write in its place.

    ``stacklevel`` is counted as in ``warnings.warn``; 1 means the caller of this function.
    """
    message = f"{old} is deprecated and goes away in 0.4: {instead}"
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel + 1)
