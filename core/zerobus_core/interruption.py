"""Stop requests and deadlines that take effect also where nobody looks at them: in a source that waits for its rows.

Both raise in the main thread, out of the handler of an alarm (SIGALRM); elsewhere the source is waited for.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Collection, Generator, Iterable
from types import FrameType
from typing import Any, TypeVar

from .errors import IngestInterruptedError, IngestTimeoutError

__all__ = ["StopRequest", "in_time"]

_Item = TypeVar("_Item")

# How long (seconds) the delivery may take to look at the request before the alarm breaks in.
_POLITE = 0.25


class StopRequest(threading.Event):
    """An event to give a delivery as ``stop``, which a signal's handler may also ``interrupt``.

    A delivery that waits for acknowledgements looks at it every 0.1 s.  One that sits in its source does not, and
    there the error is raised by an alarm (SIGALRM), in the main thread.  That happens inside the ``with`` block only;
    leaving it puts back the alarm that was set before.
    """

    def __init__(self, *, spared: Collection[str] = ()) -> None:
        """``spared`` are modules whose calls are waited for, since what comes after would suffer if they broke off."""
        super().__init__()
        self._spared = frozenset(spared)
        self._is_open = False
        self._is_seen = False
        # The handler that had the alarm before, when it would ring (0.0 for never) and at what interval then.
        self._former: tuple[Any, float, float] | None = None

    def __enter__(self) -> StopRequest:
        self._is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        self._is_open = False
        self._put_back()

    def interrupt(self) -> None:
        """Set it, and raise IngestInterruptedError in the main thread if that does not look at it within 0.25 s.

        In other threads, outside of the block and without SIGALRM (Windows), it is set only.
        """
        self.set()
        is_pointless = self._is_seen or not self._is_open or self._former is not None
        if is_pointless or not hasattr(signal, "setitimer") or not _is_main_thread():
            return
        delay, interval = signal.setitimer(signal.ITIMER_REAL, 0)
        rings_at = time.monotonic() + delay if delay else 0.0
        self._former = signal.signal(signal.SIGALRM, self._on_alarm), rings_at, interval
        signal.setitimer(signal.ITIMER_REAL, _POLITE)

    def is_set(self) -> bool:
        """Whether to stop.  Whoever is told so stops by itself, and the alarm must not break in any more."""
        is_set = super().is_set()
        if is_set and _is_main_thread():
            self._is_seen = True
            self._put_back()
        return is_set

    def break_in(self) -> None:
        """Raise IngestInterruptedError."""
        raise IngestInterruptedError("what was acknowledged is durable, try again for the rest")

    def _on_alarm(self, _number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_globals.get("__name__") in self._spared:
                signal.setitimer(signal.ITIMER_REAL, _POLITE)
                return
            frame = frame.f_back
        # The handler stays until the end of the block, so that the error is known for one of a signal.
        self.break_in()

    def _put_back(self) -> None:
        if self._former is None or not _is_main_thread():
            return
        (handler, rings_at, interval), self._former = self._former, None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
        if rings_at:
            signal.setitimer(signal.ITIMER_REAL, max(rings_at - time.monotonic(), 0.001), interval)


def in_time(items: Iterable[_Item], deadline: float) -> Generator[_Item]:
    """Yield the items, and raise IngestTimeoutError in them where the next one is not there by ``deadline``.

    ``deadline`` is a reading of ``time.monotonic``, or infinite.  Who looks at it as well does so first: the alarm
    comes 0.25 s later.  In other threads, on Windows, and where the alarm is someone else's, nothing breaks in.
    Close it, so that the alarm is free again.
    """
    if deadline == float("inf") or not _is_main_thread() or not _is_alarm_free():
        yield from items
        return
    is_waiting = False

    def ring(*_: object) -> None:
        if is_waiting:  # a stop request may put this handler back later
            raise IngestTimeoutError(
                "not finished in time, for the source gives no more rows; raise IngestOptions.timeout, "
                "or see why it waits and try again for the rest"
            )

    signal.signal(signal.SIGALRM, ring)
    try:
        iterator = iter(items)
        while True:
            try:
                is_waiting = True
                signal.setitimer(signal.ITIMER_REAL, max(deadline - time.monotonic(), 0.0) + _POLITE)
                item = next(iterator)
            except StopIteration:
                return
            finally:
                is_waiting = False
                signal.setitimer(signal.ITIMER_REAL, 0)
            yield item
    finally:
        if signal.getsignal(signal.SIGALRM) is ring:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _is_alarm_free() -> bool:
    if not hasattr(signal, "setitimer"):
        return False
    return signal.getsignal(signal.SIGALRM) is signal.SIG_DFL and not any(signal.getitimer(signal.ITIMER_REAL))


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
