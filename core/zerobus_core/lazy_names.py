"""Imports the names of a module when they are first used, so that a small delivery loads only what it needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(module: str, homes: Mapping[str, str], *, package: str | None = None) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for ``module``; ``homes`` maps each name to the module that defines it.

    The modules in ``homes`` are named relative to ``package``, which is ``module`` itself by default.
    """

    def import_name(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        value = getattr(import_module(f".{homes[name]}", package or module), name)
        setattr(sys.modules[module], name, value)
        return value

    return import_name
