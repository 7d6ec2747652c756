"""Ctrl-C and SIGTERM: the delivery ends within a second, with its checkpoint saved and its rows counted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from ..errors import IngestInterruptedError

__all__ = ["Interruption", "StoppedBySignal"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# How long the delivery may take to look at its stop request before the signal breaks in.
_POLITE = 0.25


class StoppedBySignal(Exception):  # noqa: N818 - what happened, and not what went wrong
    """A signal ended the command; the text says where the rows stood."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}: {text}")
        self.exit_code = 128 + number


class Interruption(threading.Event):
    """A stop request that signals set.

    A delivery that waits for acknowledgements looks at it every 0.1 s.  One that sits in its source (a pipe that
    nobody writes to, a slow disk) does not, so that the error is raised right there, in the main thread, where
    nobody has looked within 0.25 s.  The second signal acts as if we were not here.
    """

    def __init__(self) -> None:
        super().__init__()
        self._signal_number: int | None = None

    @contextmanager
    def catching_signals(self) -> Generator[None]:
        """Catch signals inside the block, for the main thread; raises StoppedBySignal where one ended it."""
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        except IngestInterruptedError as error:
            if self._signal_number is None:
                raise
            raise StoppedBySignal(self._signal_number, str(error)) from error
        finally:
            self._disarm()
            for number, handler in before.items():
                signal.signal(number, handler)

    def is_set(self) -> bool:
        """Whether to stop.  Whoever is told so stops by itself, and the signal must not break in any more."""
        is_set = super().is_set()
        if is_set:
            self._disarm()
        return is_set

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signal_number = number
        for each in _SIGNALS:
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
        self.set()
        if not hasattr(signal, "setitimer"):  # Windows
            self._break_in()
        signal.signal(signal.SIGALRM, lambda *_: self._break_in())
        signal.setitimer(signal.ITIMER_REAL, _POLITE)

    def _break_in(self) -> None:
        raise IngestInterruptedError("what was acknowledged is durable, try again for the rest")

    def _disarm(self) -> None:
        if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
            signal.setitimer(signal.ITIMER_REAL, 0)
