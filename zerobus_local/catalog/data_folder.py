"""Lets only one process at a time use a data folder. A server also stores its addresses in the folder."""

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
_BETWEEN_TRIES = 0.01  # seconds
# Seconds to wait for the lock. If a server has announced its addresses: only because a process that looks for a server
# also holds the lock for a moment. Otherwise: for a server that is starting or stopping, or for a command.
_PATIENCE = 1.0
_PATIENCE_UNANNOUNCED = 30.0


class FolderInUseError(LocalZerobusError):
    """Another process is using the folder."""


class DataFolderLock:
    """A lock on a data folder, held from construction until ``release``, or until the process ends in any way.

    While another process holds the lock, the constructor waits for 1 second if that process is a running server.
    Otherwise it waits for 30 seconds, because that process may be a command, or a server that is starting or stopping.
    After that time, the constructor raises FolderInUseError.
    """

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._data = data
        self._holder = os.getpid()
        self._descriptor: int | None = _locked_in_time(data)
        try:
            self.withdraw()
        except BaseException:
            self.release()
            raise

    def announce(self, addresses: dict[str, Any]) -> None:
        """Write the server's addresses into the folder, so that other processes can find the server."""
        write_atomically(self._data / _ADDRESS, json.dumps(addresses).encode(), mode=0o600)

    def withdraw(self) -> None:
        """Remove a server's addresses from the folder, if any. A server calls this before it stops."""
        (self._data / _ADDRESS).unlink(missing_ok=True)

    def release(self) -> None:
        """Release the lock; can be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if os.getpid() == self._holder:
            _unlock(descriptor)
        else:
            os.close(descriptor)  # a fork of the holder has the same lock, and may not undo it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def running_server(data: Path) -> dict[str, Any] | None:
    """Return the addresses of the server that runs on this folder, or None.

    A server that died can leave its addresses behind. They are ignored, because a dead server no longer holds the lock.
    """
    announced = _announced(data)
    if announced is None:
        return None
    descriptor = _locked(data)
    if descriptor is None:
        return announced
    _unlock(descriptor)
    return None


def _announced(data: Path) -> dict[str, Any] | None:
    try:
        announced: dict[str, Any] = json.loads((data / _ADDRESS).read_bytes())
    except (OSError, ValueError):
        return None
    return announced


def _locked_in_time(data: Path) -> int:
    began = time.monotonic()
    while (descriptor := _locked(data)) is None:
        announced = _announced(data)
        if time.monotonic() - began > (_PATIENCE_UNANNOUNCED if announced is None else _PATIENCE):
            where = f" at {announced['workspace_url']}" if announced else ""
            raise FolderInUseError(
                f"{data} is in use by another zerobus-local{where}: stop that one, or choose another --data folder"
            )
        time.sleep(_BETWEEN_TRIES)
    return descriptor


def _locked(data: Path) -> int | None:
    descriptor = os.open(data / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _unlock(descriptor: int) -> None:
    # Closing is not enough: a child that the process forked also has the descriptor, and the lock with it.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
