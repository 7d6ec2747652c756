"""Lets only one server or command change a data folder at a time. A server stores its addresses in the folder."""

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
# Seconds to wait for the lock if the folder has the addresses of a server. A running server keeps the lock, but
# running_server() in another process holds the lock only for a moment.
_PATIENCE = 1.0
# Seconds to wait if the folder has no addresses: a server that is starting or stopping, or a command, holds the lock.
_PATIENCE_UNANNOUNCED = 30.0


class FolderInUseError(LocalZerobusError):
    """Another server or command is using the folder."""


class DataFolderLock:
    """A lock on a data folder. The lock is held from construction until ``release``, or until the process ends.

    If the lock is already held, the constructor waits: at most 1 second if a running server holds the lock, and at most
    30 seconds if a command, or a server that is starting or stopping, holds the lock. If the lock is still held after
    that time, the constructor raises FolderInUseError.
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
        """Write the server's addresses and credentials into the folder, so that other processes can use the server."""
        write_atomically(self._data / _ADDRESS, json.dumps(addresses).encode(), mode=0o600)

    def withdraw(self) -> None:
        """Remove the addresses of a server from the folder, if there are any. A server calls this before it stops."""
        (self._data / _ADDRESS).unlink(missing_ok=True)

    def release(self) -> None:
        """Release the lock; can be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if os.getpid() == self._holder:
            _unlock(descriptor)
        else:
            os.close(descriptor)  # a forked child shares the lock, and must not release it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def running_server(data: Path) -> dict[str, Any] | None:
    """Return the addresses and credentials of the server that runs on this folder; None if no server runs there.

    A server that died can leave its addresses behind. These addresses are ignored if no process holds the lock.
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
    # Closing the descriptor is not enough: a forked child also has the descriptor, and so would keep the lock.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
