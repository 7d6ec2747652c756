"""Stop requests and deadlines that take effect also where nobody looks at them: in a source that waits for its rows.

Both raise in the main thread, out of the handler of an alarm (SIGALRM); elsewhere the source is waited for.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from ..errors import IngestInterruptedError, IngestTimeoutError

__all__ = ["StopRequest", "in_time"]

_Item = TypeVar("_Item")

# How long (seconds) the delivery may take to look at the request before the alarm breaks in.
_POLITE = 0.25
# How long (seconds) a source that swallowed the end of its time may go on; what it tidies up is not disturbed before.
_AGAIN = 5.0


class StopRequest(threading.Event):
    """An event to give a delivery as ``stop``, which a signal's handler may also ``interrupt``.

    A delivery that waits for acknowledgements looks at it every 0.1 s.  One that sits in its source does not, and
    there the error is raised by an alarm (SIGALRM), in the main thread.  That happens inside the ``with`` block only;
    leaving it puts back the alarm that was set before.
    """

    def __init__(self, *, spared: Collection[str] = ()) -> None:
        """``spared`` are modules whose calls are waited for, since what comes after would suffer if they broke off."""
        super().__init__()
        self.spared = frozenset(spared)
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
        former = signal.signal(signal.SIGALRM, self._on_alarm)
        # A deadline that rings for the same source has come to its end with this.
        self._former = (signal.SIG_DFL, 0.0, 0.0) if isinstance(former, _Bell) else (former, rings_at, interval)
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
        if _is_spared(frame, self.spared):
            signal.setitimer(signal.ITIMER_REAL, _POLITE)
            return
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


def in_time(items: Iterable[_Item], deadline: float, *, spared: Collection[str] = frozenset()) -> Generator[_Item]:
    """Yield the items, and raise IngestTimeoutError in them where the next one is not there by ``deadline``.

    ``deadline`` is a reading of ``time.monotonic``, or infinite; ``spared`` is as for StopRequest.  Who looks at the
    deadline as well does so first: the alarm comes 0.25 s later, and again every 5 s.  In other threads, on Windows,
    and where the alarm is someone else's, nothing breaks in.  Close it, so that the alarm is free again.
    """
    if deadline == float("inf") or not _is_main_thread() or not _is_alarm_free():
        yield from items
        return
    bell = _Bell(deadline, frozenset(spared))
    signal.signal(signal.SIGALRM, bell)
    try:
        iterator = iter(items)
        while True:
            with bell.ringing():
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item
    finally:
        if bell.has_alarm:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)


class _Bell:
    """The handler of the alarm while ``in_time`` has it.  A source that sets an alarm of its own takes it over."""

    def __init__(self, deadline: float, spared: frozenset[str]) -> None:
        self._deadline = deadline
        self._spared = spared

    @property
    def has_alarm(self) -> bool:
        return signal.getsignal(signal.SIGALRM) is self

    @contextmanager
    def ringing(self) -> Generator[None]:
        if self.has_alarm:
            signal.setitimer(signal.ITIMER_REAL, max(self._deadline - time.monotonic(), 0.0) + _POLITE, _AGAIN)
        try:
            yield
        finally:
            if self.has_alarm:
                signal.setitimer(signal.ITIMER_REAL, 0)

    def __call__(self, _number: int, frame: FrameType | None) -> None:
        if _is_spared(frame, self._spared):
            signal.setitimer(signal.ITIMER_REAL, _POLITE, _AGAIN)
            return
        raise IngestTimeoutError(
            "not finished in time, for the source gives no more rows; raise IngestOptions.timeout, "
            "or see why it waits and try again for the rest"
        )


def _is_spared(frame: FrameType | None, modules: frozenset[str]) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") in modules:
            return True
        frame = frame.f_back
    return False


def _is_alarm_free() -> bool:
    if not hasattr(signal, "setitimer"):
        return False
    return signal.getsignal(signal.SIGALRM) is signal.SIG_DFL and not any(signal.getitimer(signal.ITIMER_REAL))


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
