"""Lets Ctrl-C and SIGTERM end a delivery within a second, with its checkpoint saved and its rows counted."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from ..errors import IngestInterruptedError
from ..process.interruption import StopRequest

__all__ = ["Interruption", "StoppedBySignal"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedBySignal(Exception):  # noqa: N818 - what happened, and not what went wrong
    """A signal ended the command; the text contains the signal's name and the text of the delivery's error."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}: {text}")
        self.exit_code = 128 + number


class Interruption(StopRequest):
    """A stop request that is made by SIGINT or SIGTERM. A second signal has its usual effect."""

    def __init__(self) -> None:
        super().__init__()
        self._signal_number: int | None = None

    @contextmanager
    def catching_signals(self) -> Generator[None]:
        """Catch SIGINT and SIGTERM inside the ``with`` block; raise StoppedBySignal if one of them ended the delivery.

        Must be called in the main thread.
        """
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            with self:
                yield
        except IngestInterruptedError as error:
            if self._signal_number is None:
                raise
            raise StoppedBySignal(self._signal_number, str(error)) from error
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signal_number = number
        for each in _SIGNALS:
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
        self.interrupt()
        if not hasattr(signal, "setitimer"):  # Windows
            self.raise_error()
