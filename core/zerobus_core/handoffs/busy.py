"""Makes a run fail, skip or wait while another run delivers the open slice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal, TypeAlias

from ..errors import ConfigurationError, HandoffBusyError, IngestInterruptedError

__all__ = ["OnBusy", "freeze_when_free"]

OnBusy: TypeAlias = Literal["fail", "skip", "wait"]

# Seconds between two calls of ``freeze``; the stop request is checked ten times as often.
_PAUSE = 1.0


def freeze_when_free(
    freeze: Callable[[], object], on_busy: str, *, stop: threading.Event | None, timeout: float | None
) -> str | None:
    """Call ``freeze`` and return None; if ``freeze`` raises HandoffBusyError, do what ``on_busy`` says.

    With ``fail``, raise this error at once. With ``skip``, return the error's message. With ``wait``, call ``freeze``
    every second until it succeeds. After ``timeout`` seconds of waiting, raise the error; if ``timeout`` is None, wait
    without a limit. When ``stop`` is set, raise IngestInterruptedError.
    """
    if on_busy not in ("fail", "skip", "wait"):
        raise ConfigurationError(f"on_busy must be 'fail', 'skip' or 'wait', not {on_busy!r}")
    deadline = float("inf") if timeout is None else time.monotonic() + timeout
    while True:
        try:
            freeze()
        except HandoffBusyError as error:
            if on_busy == "skip":
                return error.message
            if on_busy == "fail" or time.monotonic() >= deadline:
                raise
        else:
            return None
        for _ in range(10):
            if stop is not None and stop.is_set():
                raise IngestInterruptedError("stopped while waiting for another run of the handoff")
            time.sleep(_PAUSE / 10)
