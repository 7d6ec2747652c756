"""Resets state in the child of a fork, because the child has no other threads that could release a lock or do a job.

A fork waits until other threads have finished their imports, but not longer than 10 s. If it did not wait, the child
could inherit the lock of a half-imported module and wait for that lock forever. The first delivery of a process imports
many modules, and prefork servers fork during that delivery.
"""

from __future__ import annotations

import _imp
import os
import threading
import time
from collections.abc import Callable
from importlib import _bootstrap
from typing import Any

__all__ = ["ForkSafeLock", "in_each_child"]

# The longest time (seconds) that a fork waits for imports, because an import can wait for the thread that forks.
_LONGEST_WAIT = 10.0
_LOOK_EVERY = 0.002


def in_each_child(begin: Callable[[], object]) -> None:
    """Register ``begin`` to be called in the child of each later fork; do nothing on systems without forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=begin)


class ForkSafeLock:
    """A lock for a module, used in a ``with`` statement.

    It is free in the child of a fork, even if the parent holds it.
    """

    def __init__(self) -> None:
        self._begin()
        in_each_child(self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class _ImportWait:
    """Delays a fork until no other thread is importing a module, and lets no other thread import during the fork."""

    def __init__(self) -> None:
        self._has_lock = False

    def before(self) -> None:
        deadline = time.monotonic() + _LONGEST_WAIT
        while time.monotonic() < deadline:
            # While this thread holds this lock, no other thread can get the lock of a module.
            _imp.acquire_lock()
            if not _is_importing_elsewhere():
                self._has_lock = True
                return
            _imp.release_lock()
            time.sleep(_LOOK_EVERY)

    def after(self) -> None:
        if self._has_lock:
            self._has_lock = False
            if _imp.lock_held():
                _imp.release_lock()


def _is_importing_elsewhere() -> bool:
    # CPython's own table of module locks; ``owner`` is the id of the thread that holds the lock.
    locks: dict[str, Any] = getattr(_bootstrap, "_module_locks", {})
    owners = [getattr(reference(), "owner", None) for reference in list(locks.values())]
    return any(owner not in {None, threading.get_ident()} for owner in owners)


_import_wait = _ImportWait()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_import_wait.before, after_in_parent=_import_wait.after, after_in_child=_import_wait.after
    )
