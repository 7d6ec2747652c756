"""An event that signal handlers can set."""

from __future__ import annotations

import threading

__all__ = ["StopEvent"]


class StopEvent(threading.Event):
    """An event whose ``set`` is safe to call in a signal handler.

    The ``set`` of a plain Event takes a lock that the interrupted thread may already hold; the process then hangs
    forever. Two signals in a row are enough to cause this, if the second interrupts the handler of the first.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_requested = False
        self._is_in_set = False

    def set(self) -> None:
        """Set the event, and wake up other threads that wait for it."""
        self._is_requested = True
        if self._is_in_set:
            return
        self._is_in_set = True
        try:
            super().set()
        finally:
            self._is_in_set = False

    def is_set(self) -> bool:
        """Return whether the event is set."""
        return self._is_requested or super().is_set()

    def clear(self) -> None:
        """Reset the event, so that ``is_set`` returns False."""
        self._is_requested = False
        super().clear()
