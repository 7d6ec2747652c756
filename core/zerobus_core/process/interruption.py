"""Stop requests: a signal handler can stop a delivery, even while the source of the delivery waits for its rows.

In the main thread, the handler of an alarm (SIGALRM) raises IngestInterruptedError. In other threads, the request takes
effect when the source yields its next row.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Collection
from types import FrameType
from typing import Any

from ..errors import IngestInterruptedError
from .guard import SourceGuard, is_in_main_thread, is_inside
from .stop_event import StopEvent

__all__ = ["StopRequest"]

# Seconds in which the delivery can notice the request itself, before the alarm interrupts it.
_GRACE = 0.25


class StopRequest(StopEvent):
    """An event to pass to a delivery as ``stop``; a signal handler can also call its ``interrupt`` method.

    A delivery that waits for acknowledgements checks the event every 0.1 s. If the event is set while a delivery waits
    for its source, SourceGuard interrupts the source, if it can.

    ``interrupt`` also sets an alarm (SIGALRM): if the delivery has not reacted after 0.25 s, the handler of the alarm
    raises IngestInterruptedError in the main thread, but only inside the ``with`` block of the request. If the program
    had already set an alarm of its own, this alarm is restored at the end of the block at the latest. The alarm of a
    SourceGuard is not restored.
    """

    def __init__(self, *, deadline: float | None = None, protected_modules: Collection[str] = ()) -> None:
        """Build a request.

        ``deadline`` is the host's own time limit, a reading of ``time.monotonic``; after this time, the request is
        treated as set. ``protected_modules`` contains the names of modules whose code must not stop halfway: the alarm
        never interrupts a call of a function in one of these modules.
        """
        super().__init__()
        self.deadline = float("inf") if deadline is None else deadline
        self.protected_modules = frozenset(protected_modules)
        self._is_open = False
        self._is_seen = False
        # The previous handler of the alarm, when its alarm is due (0.0 for never), and the interval after that.
        self._former: tuple[Any, float, float] | None = None

    def __enter__(self) -> StopRequest:
        self._is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        self._is_open = False
        self._put_back()

    def interrupt(self) -> None:
        """Set the event; if the delivery does not react within 0.25 s, an alarm raises IngestInterruptedError.

        The handler of the alarm raises the error in the main thread, inside the code that the thread runs at that time.
        There is no alarm if this method is called in another thread or outside of the ``with`` block, or if the system
        has no SIGALRM (Windows).
        """
        self.set()
        is_pointless = self._is_seen or not self._is_open or self._former is not None
        if is_pointless or not hasattr(signal, "setitimer") or not is_in_main_thread():
            return
        delay, interval = signal.setitimer(signal.ITIMER_REAL, 0)
        rings_at = time.monotonic() + delay if delay else 0.0
        former = signal.signal(signal.SIGALRM, self._on_alarm)
        # The alarm of a guard for the same source is not put back: this request ends the guard's call.
        self._former = (signal.SIG_DFL, 0.0, 0.0) if isinstance(former, SourceGuard) else (former, rings_at, interval)
        signal.setitimer(signal.ITIMER_REAL, _GRACE)

    def is_set(self) -> bool:
        """Return whether the delivery must stop.

        Once this method has returned True in the main thread, the main thread must stop by itself, because there is no
        alarm from then on.
        """
        is_set = super().is_set() or time.monotonic() >= self.deadline
        if is_set and is_in_main_thread():
            self._is_seen = True
            self._put_back()
        return is_set

    def raise_error(self) -> None:
        """Raise IngestInterruptedError."""
        raise IngestInterruptedError("stopped on request")

    def _on_alarm(self, _number: int, frame: FrameType | None) -> None:
        if self._is_seen or not self._is_open:  # the alarm is being put back
            return
        if is_inside(frame, self._is_protected):
            signal.setitimer(signal.ITIMER_REAL, _GRACE)
            return
        # The handler stays until the end of the block, so that ``is_of_signal`` recognises the error.
        self.raise_error()

    def _is_protected(self, frame: FrameType) -> bool:
        return frame.f_globals.get("__name__") in self.protected_modules

    def _put_back(self) -> None:
        if self._former is None or not is_in_main_thread():
            return
        (handler, rings_at, interval), self._former = self._former, None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
        if rings_at:
            signal.setitimer(signal.ITIMER_REAL, max(rings_at - time.monotonic(), 0.001), interval)
