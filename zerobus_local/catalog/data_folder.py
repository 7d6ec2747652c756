"""A data folder belongs to one process at a time, and tells where the server of it listens."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import LocalZerobusError
from .atomic_file import write_atomically

__all__ = ["DataFolderLock", "FolderInUseError", "running_server"]

_ADDRESS = "server.json"
_LOCK = ".lock"
_PATIENCE = 1.0  # seconds that the look of another process, or a server that is just ending, may have the lock
_BETWEEN_TRIES = 0.01  # seconds


class FolderInUseError(LocalZerobusError):
    """Another process has the folder."""


class DataFolderLock:
    """Holds the folder until ``release``, or until the process ends in whatever way."""

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._data = data
        self._descriptor = _locked(data)
        deadline = time.monotonic() + _PATIENCE
        while self._descriptor is None and time.monotonic() < deadline:
            time.sleep(_BETWEEN_TRIES)
            self._descriptor = _locked(data)
        if self._descriptor is None:
            raise FolderInUseError(
                f"{data} is in use by another zerobus-local: stop that one, or give another --data folder"
            )
        (data / _ADDRESS).unlink(missing_ok=True)

    def announce(self, addresses: dict[str, Any]) -> None:
        """Let other processes find the server."""
        write_atomically(self._data / _ADDRESS, json.dumps(addresses).encode(), mode=0o600)

    def release(self) -> None:
        """Give the folder up; may be called twice."""
        if self._descriptor is not None:
            (self._data / _ADDRESS).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def running_server(data: Path) -> dict[str, Any] | None:
    """What the server of this folder announced; None if none runs, also where one died and left its announcement."""
    try:
        announced: dict[str, Any] = json.loads((data / _ADDRESS).read_bytes())
    except (OSError, ValueError):
        return None
    descriptor = _locked(data)
    if descriptor is None:
        return announced
    os.close(descriptor)
    return None


def _locked(data: Path) -> int | None:
    descriptor = os.open(data / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
