"""Recognises data frames and their library without importing any library.

An object of a library's class, or of a subclass, can exist only if the library was imported.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["columnar_package", "is_instance", "plain_pandas"]

_COLUMNAR = frozenset({"pandas", "polars", "pyarrow", "pyspark"})


def is_instance(value: Any, package: str, *names: str) -> bool:
    """Return whether ``value`` is an instance of a class of ``package`` whose name is in ``names``.

    ``package`` is the name of a package or module. Returns False if ``package`` was not imported.
    """
    module = sys.modules.get(package)
    if module is None:
        return False
    # getattr() would import a module that is imported lazily.
    known = object.__getattribute__(module, "__dict__")
    return any(isinstance(kind := known.get(name), type) and isinstance(value, kind) for name in names)


def columnar_package(value: Any) -> str | None:
    """Return which of pandas, polars, pyarrow and pyspark defines the class of ``value`` or one of its base classes.

    Returns None if none of these libraries does.
    """
    for kind in type(value).__mro__:
        # Classes that are made while a program runs, for example by protobuf's message factory, can have no module.
        package = (getattr(kind, "__module__", None) or "").partition(".")[0]
        if package in _COLUMNAR:
            return package
    return None


def plain_pandas(frame: Any) -> Any:
    """Return ``frame`` itself; for a subclass of pandas' DataFrame, return a plain DataFrame that shares its values."""
    pandas: Any = sys.modules["pandas"]
    return frame if type(frame) is pandas.DataFrame else pandas.DataFrame(frame)
