"""Imports optional libraries; if a library is missing, the error says what to install."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import ConfigurationError

__all__ = ["require_calamine", "require_fastavro", "require_pyarrow"]


def require_pyarrow(what: str) -> Any:
    """Import and return pyarrow.

    Raises ConfigurationError if pyarrow is missing. The message begins with ``what``, which is the action that needs
    pyarrow, for example "reading a.csv".
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
