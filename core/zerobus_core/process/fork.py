"""What must begin anew in the child of a fork, where no other thread lives on to release a lock or to take a job."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

__all__ = ["ForkSafeLock", "in_each_child"]


def in_each_child(begin: Callable[[], object]) -> None:
    """Call ``begin`` first thing in the child of each fork from now on, where there are forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=begin)


class ForkSafeLock:
    """A lock for a ``with`` statement, of a module: free in the child of a fork, whoever has it in the parent."""

    def __init__(self) -> None:
        self._begin()
        in_each_child(self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
