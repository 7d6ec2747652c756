"""Interrupts the user's code at a deadline or on a stop request, while a delivery waits for that code.

In the main thread, a signal handler raises IngestTimeoutError or IngestInterruptedError inside the user's code. A
deadline uses SIGALRM. A stop request from another thread uses SIGURG, which a watching thread sends; the default action
of SIGURG is to do nothing, so a late signal does no harm. Each of the two signals is used only if nothing else in the
process uses it.

In other threads, or if a signal is not free, the user's code is not interrupted: the delivery checks the deadline and
the stop request when the user's code returns.

The handlers raise only while the guard is calling the user's code. So each call ends in one of two ways: either the
user's code returns and its result is used, or the error is raised. The handlers do not interrupt the code that restores
the earlier handlers.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable
from types import FrameType, TracebackType
from typing import Any, TypeVar

from ..errors import IngestInterruptedError, IngestTimeoutError
from .fork import in_each_child

__all__ = ["SourceGuard", "in_time", "is_in_main_thread", "is_inside"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# Seconds in which the delivery can notice the deadline or stop request itself, before the alarm raises an error.
_GRACE = 0.25
# Seconds after which the error is raised again in code that has suppressed it.
_REPEAT_EVERY = 5.0
# Seconds after which the watching thread ends if it has no work.
_IDLE = 30.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SourceGuard:
    """Runs the user's code in such a way that a deadline, a stop request or a signal can interrupt the code.

    Use the methods ``call`` and ``items`` inside a ``with`` block of the guard. If the user's code can be interrupted
    (see the module's docstring), these methods raise IngestTimeoutError after ``deadline`` (a reading of
    ``time.monotonic``, or infinity), and IngestInterruptedError after any thread sets ``stop``. If the user's code
    suppresses an exception that a SIGINT or SIGTERM handler raised, the guard raises that exception again.
    """

    def __init__(self, deadline: float, *, stop: threading.Event | None = None) -> None:
        """Build a guard. If ``stop`` is a StopRequest, the request's deadline and protected modules apply, too."""
        self.stop = stop
        self._deadline = min(deadline, getattr(stop, "deadline", float("inf")))
        self._protected: Collection[str] = getattr(stop, "protected_modules", ())
        self._signals: list[_NotedSignal] = []
        self._handled: list[int] = []
        self._is_waiting = False
        self.has_interrupted = False
        """Whether this guard has raised an error inside the user's code during the present call; later signals for this
        call are sent less often."""

    def __enter__(self) -> SourceGuard:
        if not is_in_main_thread():
            return self
        self._signals = [noted for number in _SIGNALS if (noted := _NotedSignal.installed(number)) is not None]
        if self._deadline < float("inf") and _is_alarm_free():
            self._handle(signal.SIGALRM)
        if self.stop is not None and _is_free("SIGURG"):
            self._handle(signal.SIGURG)
            _watcher.watch(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_waiting = False
        for noted in self._signals:
            noted.put_back()
        _watcher.leave(self)
        if self._owns_alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number in self._handled:
            if signal.getsignal(number) is self:
                signal.signal(number, signal.SIG_DFL)

    def call(self, work: Callable[[], _Result]) -> _Result:
        """Call ``work`` in such a way that it can be interrupted, and return its result."""
        self._arm()
        try:
            result = _waited_for(work)
        finally:
            self._disarm()
        self._raise_noted()
        return result

    def items(self, items: Iterable[_Item]) -> Generator[_Item]:
        """Yield ``items``.

        The code that produces an item can be interrupted; the code that consumes the item cannot.
        """
        iterator = iter(items)
        end = object()
        while True:
            item: Any = self.call(lambda: next(iterator, end))
            if item is end:
                return
            yield item

    def interrupt(self) -> None:
        """Interrupt the user's code if the main thread waits for it; called by the watching thread."""
        if self._is_waiting:
            signal.pthread_kill(_main_thread_id(), signal.SIGURG)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGALRM or SIGURG after the deadline or a stop request.

        Interrupts the user's code if that code is running and is not protected.
        """
        if not self._is_waiting:
            return
        error = self._interruption_error()
        if error is None:
            return
        if not is_inside(frame, _is_waited_for) or is_inside(frame, self._is_protected):
            if number == signal.SIGALRM:
                signal.setitimer(signal.ITIMER_REAL, _GRACE, _REPEAT_EVERY)
            return
        self.has_interrupted = True
        raise error

    def _handle(self, number: int) -> None:
        self._handled.append(number)
        signal.signal(number, self)

    @property
    def _owns_alarm(self) -> bool:
        # A stop request can take the alarm over, and so can a source that sets an alarm of its own.
        return signal.SIGALRM in self._handled and signal.getsignal(signal.SIGALRM) is self

    def _arm(self) -> None:
        self.has_interrupted = False
        self._is_waiting = True
        if self._owns_alarm and self._deadline < float("inf"):
            remaining = max(self._deadline - time.monotonic(), 0.0)
            signal.setitimer(signal.ITIMER_REAL, remaining + _GRACE, _REPEAT_EVERY)

    def _disarm(self) -> None:
        self._is_waiting = False  # first: from here on an alarm does nothing
        if self._owns_alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _interruption_error(self) -> IngestInterruptedError | IngestTimeoutError | None:
        if self.stop is not None and self.stop.is_set():
            return IngestInterruptedError("stopped on request while the delivery waited for the source")
        if time.monotonic() < self._deadline:
            return None
        return IngestTimeoutError(
            "timed out waiting for the source to yield its next row; increase IngestOptions.timeout, or find out why "
            "the source waits"
        )

    def _is_protected(self, frame: FrameType) -> bool:
        return frame.f_globals.get("__name__") in self._protected

    def _raise_noted(self) -> None:
        for noted in self._signals:
            noted.raise_again()


def in_time(items: Iterable[_Item], deadline: float, *, stop: threading.Event | None = None) -> Generator[_Item]:
    """Yield ``items`` under a SourceGuard. Close the generator to release the signals that the guard uses."""
    with SourceGuard(deadline, stop=stop) as guard:
        yield from guard.items(items)


def _waited_for(work: Callable[[], _Result]) -> _Result:
    return work()


def _is_waited_for(frame: FrameType) -> bool:
    return frame.f_code is _waited_for.__code__


def is_inside(frame: FrameType | None, is_wanted: Callable[[FrameType], bool]) -> bool:
    """Return whether ``is_wanted`` is true for ``frame`` or a frame of one of its callers."""
    while frame is not None:
        if is_wanted(frame):
            return True
        frame = frame.f_back
    return False


class _NotedSignal:
    """Wraps a signal handler, and keeps the exception that the handler raises, in case other code suppresses it."""

    def __init__(self, number: int, handler: Callable[..., Any]) -> None:
        self._number = number
        self._handler = handler
        self._raised: BaseException | None = None

    @classmethod
    def installed(cls, number: int) -> _NotedSignal | None:
        """Replace the present handler of the signal, and return the new handler.

        If the present handler is not a Python callable, replace nothing and return None.
        """
        handler = signal.getsignal(number)
        if not callable(handler):  # SIG_DFL, SIG_IGN, or one that was not set by Python
            return None
        noted = cls(number, handler)
        signal.signal(number, noted)
        return noted

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self._handler(number, frame)
        except BaseException as error:
            self._raised = error
            raise

    def raise_again(self) -> None:
        """If the original handler raised an exception and other code suppressed it, raise that exception again."""
        error, self._raised = self._raised, None
        if error is not None:
            raise error

    def put_back(self) -> None:
        present: object = signal.getsignal(self._number)
        if present is self:
            signal.signal(self._number, self._handler)


class _Watcher:
    """A thread that waits for the stop request of a guard, and then interrupts the user's code with SIGURG."""

    def __init__(self) -> None:
        self._begin()
        in_each_child(self._begin)

    def _begin(self) -> None:
        # Guards the two fields below, and ensures that no signal is sent for a guard that has left.
        self._changed = threading.Condition()
        self._guard: SourceGuard | None = None
        self._is_running = False

    def watch(self, guard: SourceGuard) -> None:
        with self._changed:
            self._guard = guard
            self._changed.notify()
            if self._is_running:
                return
            self._is_running = True
        try:
            threading.Thread(target=self._run, name="zerobus-stop", daemon=True).start()
        except RuntimeError:  # the interpreter shuts down: the stop request is seen when the source yields its next row
            self._is_running = False

    def leave(self, guard: SourceGuard) -> None:
        with self._changed:
            if self._guard is guard:
                self._guard = None
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                guard = self._guard
                if guard is None and not self._changed.wait(_IDLE) and self._guard is None:
                    self._is_running = False
                    return
            if guard is not None and guard.stop is not None and guard.stop.wait(_GRACE):
                self._ring(guard)

    def _ring(self, guard: SourceGuard) -> None:
        with self._changed:
            while not self._changed.wait_for(
                lambda: self._guard is not guard, _REPEAT_EVERY if guard.has_interrupted else _GRACE
            ):
                guard.interrupt()


_watcher = _Watcher()


def _main_thread_id() -> int:
    ident = threading.main_thread().ident
    assert ident is not None
    return ident


def _is_free(name: str) -> bool:
    number = getattr(signal, name, None)  # Windows has neither
    return number is not None and signal.getsignal(number) is signal.SIG_DFL


def _is_alarm_free() -> bool:
    return _is_free("SIGALRM") and not any(signal.getitimer(signal.ITIMER_REAL))


def is_in_main_thread() -> bool:
    """Return whether the caller runs in the main thread, which receives the signals."""
    return threading.current_thread() is threading.main_thread()
