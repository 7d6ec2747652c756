"""A local server that emulates the Zerobus service, with the real protocol and real Delta tables."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import (
        AlreadyExists,
        InvalidRequest,
        LocalZerobusError,
        NotFound,
        PermissionDenied,
        Unauthenticated,
        UnknownOutcome,
        UnknownTable,
    )
    from .faults import Faults
    from .options import ServerOptions
    from .process import LocalZerobusProcess
    from .server import LocalZerobus

__all__ = [
    "AlreadyExists",
    "Faults",
    "InvalidRequest",
    "LocalZerobus",
    "LocalZerobusError",
    "LocalZerobusProcess",
    "NotFound",
    "PermissionDenied",
    "ServerOptions",
    "Unauthenticated",
    "UnknownOutcome",
    "UnknownTable",
]

_HOMES = {
    "Faults": "faults",
    "LocalZerobus": "server",
    "LocalZerobusProcess": "process",
    "ServerOptions": "options",
}


def __getattr__(name: str) -> object:
    # Loaded when asked for: the pytest plugin and the command line must not import gRPC and Delta only to show --help.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES.get(name, 'errors')}", __name__), name)
