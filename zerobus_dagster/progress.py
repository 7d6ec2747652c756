"""What a running delivery reports, in Dagster's log of the step."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from zerobus_core.hosting import is_of_signal

if TYPE_CHECKING:
    from zerobus_core import Progress
    from zerobus_core.hosting import LoopBridge

__all__ = ["LoopLog", "ProgressLog", "StepLog", "core_logs_in", "tell_step"]

_PROGRESS_INTERVAL = 30.0


class StepLog(Protocol):
    """Dagster's log of a step, as far as it is used here."""

    def log(self, level: int, msg: object, *args: object) -> None:
        """Write a line of this level."""


@dataclass(frozen=True, slots=True)
class LoopLog:
    """The log of a step whose delivery runs in a thread of its own: the lines are written on the loop's thread.

    The delivery does not wait for that: it may hold the lock of a log handler that the loop's thread is waiting for.
    """

    step_log: StepLog
    bridge: LoopBridge

    def log(self, level: int, msg: object, *args: object) -> None:
        """See StepLog."""
        self.bridge.post(tell_step, self.step_log, msg, *args, level=level)


@dataclass(slots=True)
class ProgressLog:
    """Logs how far a delivery has come, every 30 seconds: the ``on_progress`` of the core."""

    log: StepLog
    _next: float = field(default=_PROGRESS_INTERVAL)

    def __call__(self, progress: Progress) -> None:
        """Log this progress, or not yet."""
        if progress.elapsed_s < self._next:
            return
        self._next = progress.elapsed_s + _PROGRESS_INTERVAL
        if progress.is_connecting:
            trouble = f"; trying again after: {progress.last_error}" * bool(progress.last_error)
            tell_step(self.log, "%s: connecting%s", progress.table, trouble)
            return
        tell_step(
            self.log,
            "%s: %d rows durable, %d in flight, %.0f rows/s",
            progress.table,
            progress.rows_acked + progress.rows_skipped,
            progress.unacked_rows,
            progress.rows_per_s,
        )


def tell_step(log: StepLog, message: object, *arguments: object, level: int = logging.INFO) -> None:
    """Write a line to the step's log; one that cannot be written fails nothing.

    Dagster reports a line that its event log refused in the same event log, and raises if that is refused too.  It
    has reported the first failure on stderr by then.
    """
    try:
        log.log(level, message, *arguments)
    except Exception as error:
        if is_of_signal(error):
            raise


@contextmanager
def core_logs_in(log: StepLog) -> Iterator[None]:
    """Let the core's own lines (why a delivery starts at the first row, what broke) appear in the step's log.

    Those of other threads are left out: another delivery may run there, and Dagster's log belongs to this one.
    """
    handler = _Forward(log)
    core = logging.getLogger("zerobus_core")
    core.addHandler(handler)
    try:
        yield
    finally:
        core.removeHandler(handler)


class _Forward(logging.Handler):
    def __init__(self, log: StepLog) -> None:
        super().__init__(logging.INFO)
        self._log = log
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != self._thread:
            return
        try:
            self._log.log(record.levelno, record.getMessage())
        except Exception as error:
            if is_of_signal(error):
                raise
            self.handleError(record)
