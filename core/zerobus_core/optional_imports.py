"""Libraries that not everybody needs, and what to install where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import ConfigurationError

__all__ = ["require_calamine", "require_fastavro", "require_pyarrow"]


def require_pyarrow(what: str) -> Any:
    """The pyarrow package.  Raises ConfigurationError that says that ``what``, such as "reading a.csv", needs it."""
    return _required("pyarrow", what, "pyarrow", "'zerobus-orchestration[arrow]'")


def require_fastavro(what: str) -> Any:
    """The fastavro package; see ``require_pyarrow``."""
    return _required("fastavro", what, "fastavro", "fastavro")


def require_calamine(what: str) -> Any:
    """The python_calamine package; see ``require_pyarrow``."""
    return _required("python_calamine", what, "python-calamine", "'zerobus-orchestration[excel]'")


def _required(module: str, what: str, package: str, install: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigurationError(f"{what} needs {package}: pip install {install} ({error})") from error
