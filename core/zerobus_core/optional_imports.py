"""Imports of optional libraries; the error for a missing one says what to install."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import ConfigurationError

__all__ = ["require_calamine", "require_fastavro", "require_pyarrow"]


def require_pyarrow(what: str) -> Any:
    """Import and return pyarrow.

    If pyarrow is missing, raises a ConfigurationError that says that ``what``, such as "reading a.csv", needs it.
    """
    return _required("pyarrow", what, "pyarrow", "'zerobus-orchestration[arrow]'")


def require_fastavro(what: str) -> Any:
    """Import and return fastavro; see ``require_pyarrow``."""
    return _required("fastavro", what, "fastavro", "fastavro")


def require_calamine(what: str) -> Any:
    """Import and return python_calamine; see ``require_pyarrow``."""
    return _required("python_calamine", what, "python-calamine", "'zerobus-orchestration[excel]'")


def _required(module: str, what: str, package: str, install: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigurationError(f"{what} needs {package}: pip install {install} ({error})") from error
