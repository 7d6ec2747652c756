"""An event that handlers of signals may set."""

from __future__ import annotations

import threading

__all__ = ["StopEvent"]


class StopEvent(threading.Event):
    """An event whose ``set`` a signal's handler may call whatever the main thread is doing.

    That of a plain Event takes a lock, which the thread that the handler interrupts may hold: then the process stands
    still for ever.  Two signals in a row are enough, of which the second interrupts the handler of the first.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_requested = False
        self._is_in_set = False

    def set(self) -> None:
        """Set it, and wake who waits for it in other threads."""
        self._is_requested = True
        if self._is_in_set:
            return
        self._is_in_set = True
        try:
            super().set()
        finally:
            self._is_in_set = False

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_requested or super().is_set()

    def clear(self) -> None:
        """Take the request back."""
        self._is_requested = False
        super().clear()
