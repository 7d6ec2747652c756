"""Writes the progress of a running delivery to Dagster's log of the step."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from zerobus_core.hosting import ProgressLog, is_of_signal

if TYPE_CHECKING:
    from zerobus_core.hosting import LoopBridge

__all__ = ["LoopLog", "StepLog", "core_logs_in", "progress_log", "tell_step"]

_PROGRESS_INTERVAL = 30.0


class StepLog(Protocol):
    """The part of Dagster's step log that is used here."""

    def log(self, level: int, msg: object, *args: object) -> None:
        """Write a line to the log at this level."""


@dataclass(frozen=True, slots=True)
class LoopLog:
    """The log of an async step: lines of the delivery's thread are written on the thread of the event loop.

    The delivery does not wait until a line is written, because this could deadlock: its thread can hold the lock of a
    log handler while the event loop's thread waits for this lock.
    """

    step_log: StepLog
    bridge: LoopBridge

    def log(self, level: int, msg: object, *args: object) -> None:
        """See StepLog."""
        self.bridge.post(tell_step, self.step_log, msg, *args, level=level)


def progress_log(log: StepLog) -> ProgressLog:
    """Return an ``on_progress`` function that writes a line to the step's log every 30 seconds."""
    return ProgressLog(partial(tell_step, log), interval=_PROGRESS_INTERVAL)


def tell_step(log: StepLog, message: object, *arguments: object, level: int = logging.INFO) -> None:
    """Write a line to the step's log; ignore a failure to write.

    If the event log refuses the line, Dagster prints a report on stderr, and also writes the report to the event log.
    Dagster raises an error only if the event log refuses the report, too. Exceptions that a signal handler raised are
    not ignored.
    """
    try:
        log.log(level, message, *arguments)
    except Exception as error:
        if is_of_signal(error):
            raise


@contextmanager
def core_logs_in(log: StepLog) -> Iterator[None]:
    """Copy the core's log lines of level INFO and above to the step's log during the ``with`` block.

    These lines say, for example, why a delivery starts at the first row, or that a stream broke. Lines that other
    threads write are not copied, because they can be about another delivery.
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
