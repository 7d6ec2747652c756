"""Which values are data frames, and of which library: looked up without importing any.

A value of a library's class, or of a subclass of it, can only be there if the library has been imported.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["columnar_package", "is_instance", "plain_pandas"]

_COLUMNAR = frozenset({"pandas", "polars", "pyarrow", "pyspark"})


def is_instance(value: Any, package: str, *names: str) -> bool:
    """Whether a value is of one of the package's classes, or of a subclass; False if the package is not imported."""
    module = sys.modules.get(package)
    if module is None:
        return False
    # To read an attribute of a module that is imported lazily would import it.
    known = object.__getattribute__(module, "__dict__")
    return any(isinstance(kind := known.get(name), type) and isinstance(value, kind) for name in names)


def columnar_package(value: Any) -> str | None:
    """The package of columns and frames that a value's class comes from, or is derived from."""
    for kind in type(value).__mro__:
        # Classes that are made while a program runs, such as those of protobuf's message factory, may have no module.
        package = (getattr(kind, "__module__", None) or "").partition(".")[0]
        if package in _COLUMNAR:
            return package
    return None


def plain_pandas(frame: Any) -> Any:
    """A pandas frame without what a subclass adds to it or changes in it; shares the values."""
    pandas: Any = sys.modules["pandas"]
    return frame if type(frame) is pandas.DataFrame else pandas.DataFrame(frame)
