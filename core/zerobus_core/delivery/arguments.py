"""Converts the arguments of the public calls.

Some functions also accept other common forms of an argument. For any other value, each function raises a
ConfigurationError that shows the right form.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from ..checkpoint import FileCheckpointStore
from ..errors import ConfigurationError
from ..options import IngestOptions
from ..process.stop_event import StopEvent
from ..schema.table import check_table_name
from ..workspace import Workspace

if TYPE_CHECKING:
    from ..checkpoint import CheckpointStore

__all__ = [
    "checkpoint_argument",
    "hook_argument",
    "options_argument",
    "stop_argument",
    "table_argument",
    "workspace_argument",
]


def workspace_argument(value: Any) -> Workspace:
    """Return ``value`` if it is a Workspace.

    If ``value`` is another object with a Workspace in its attribute ``workspace``, such as a LocalZerobus, return that
    Workspace.
    """
    if isinstance(value, Workspace):
        return value
    inner = None if isinstance(value, type) else getattr(value, "workspace", None)
    if isinstance(inner, Workspace):
        return inner
    raise ConfigurationError(
        f"workspace must be a Workspace, not {_kind(value)}; pass Workspace.from_env(), or "
        "Workspace(endpoint=…, workspace_url=…, credentials=…)"
    )


def table_argument(value: Any) -> str:
    """Return ``value``, which must be the full name of a table: catalog.schema.table."""
    if not isinstance(value, str):
        raise ConfigurationError(f'table must be a name such as "main.default.flights", not {_kind(value)}')
    return check_table_name(value)


def options_argument(value: Any) -> IngestOptions:
    """Return the options for ``value``, which is IngestOptions, a mapping of its fields, or None for the defaults."""
    if value is None or isinstance(value, IngestOptions):
        return value or IngestOptions()
    if isinstance(value, Mapping):
        return IngestOptions.from_mapping(value)
    raise ConfigurationError(
        f'options must be IngestOptions or a mapping of its fields, such as {{"streams": 2}}, not {_kind(value)}'
    )


def checkpoint_argument(value: Any) -> CheckpointStore | None:
    """Return the checkpoint store for ``value``, which is a store, the path or URI of a file, or None."""
    if value is None:
        return None
    if isinstance(value, str | os.PathLike):
        return FileCheckpointStore(value)
    if _has_methods(value, "load", "save") and hasattr(value, "epoch"):
        return cast("CheckpointStore", value)
    raise ConfigurationError(
        f"checkpoint must be a path, a URI or a checkpoint store (epoch, load, save), not {_kind(value)}"
    )


def hook_argument(name: str, value: Any) -> Callable[..., Any] | None:
    """Return ``value``, which must be callable or None; raise ConfigurationError otherwise."""
    if value is None or callable(value):
        hook: Callable[..., Any] | None = value
        return hook
    raise ConfigurationError(f"{name} must be a function of one argument, not {_kind(value)}")


def stop_argument(value: Any) -> threading.Event:
    """Return ``value``, which must be an event; if it is None, return a new event that nobody sets."""
    if value is None:
        return StopEvent()
    if _has_methods(value, "is_set", "wait") and type(value).__module__.partition(".")[0] != "asyncio":
        return cast("threading.Event", value)
    raise ConfigurationError(f"stop must be a threading.Event, not {_kind(value)}")


def _has_methods(value: Any, *names: str) -> bool:
    return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in names)


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
