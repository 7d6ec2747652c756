"""Libraries that only some sources need, and what to install where they are missing."""

from __future__ import annotations

from typing import Any

from ...errors import ConfigurationError

__all__ = ["require_pyarrow"]


def require_pyarrow(what: str) -> Any:
    """The pyarrow package.  Raises ConfigurationError that says that ``what`` needs it."""
    try:
        import pyarrow
    except ImportError as error:
        raise ConfigurationError(
            f"reading {what} needs pyarrow: pip install 'zerobus-orchestration[arrow]' ({error})"
        ) from error
    return pyarrow
