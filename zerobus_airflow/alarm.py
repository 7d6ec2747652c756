"""Adapts Airflow's ``execution_timeout`` to a delivery.

Airflow sets an alarm (SIGALRM). Its handler raises an error once, at whatever point the program has reached. That
causes two problems. First, if the error interrupts a request to Airflow's supervisor, the answer to this request stays
unread, and the next request reads it as its own answer. Second, a source can catch the error. The source then
continues, or it ends as if it had no more rows.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zerobus_core.hosting import StopRequest

__all__ = ["TALK_TO_SUPERVISOR", "ExecutionTimeout"]

# The module that sends requests to Airflow's supervisor. Answers carry no request id, so a request that follows an
# interrupted one would take the interrupted request's answer for its own.
TALK_TO_SUPERVISOR = "airflow.sdk.execution_time.comms"
# Seconds until the alarm goes off again after it went off during a request.
_REPEAT_EVERY = 0.05


class ExecutionTimeout:
    """Context manager that lets Airflow's alarm stop a delivery, but not during a request to Airflow's supervisor.

    Does nothing on Windows, outside of the main thread, or if Airflow has set no alarm.
    """

    def __init__(self, stop: StopRequest) -> None:
        """Store ``stop``, the delivery's stop request.

        The alarm sets ``stop``, so that the delivery ends even if the source of the rows catches the alarm's error.
        """
        self.has_passed = False
        self._stop = stop
        self._handler: Any = None

    def __enter__(self) -> ExecutionTimeout:
        if hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGALRM)
            if callable(handler):
                self._handler = handler
                signal.signal(signal.SIGALRM, self._on_alarm)
        return self

    def __exit__(self, *_: object) -> None:
        if self._handler is not None and signal.getsignal(signal.SIGALRM) == self._on_alarm:
            signal.signal(signal.SIGALRM, self._handler)

    def end(self) -> None:
        """Switch the alarm off: every row is durable, so a timeout must no longer fail the task."""
        if self._handler is not None and signal.getsignal(signal.SIGALRM) == self._on_alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        if _is_in_request(frame):
            signal.setitimer(signal.ITIMER_REAL, _REPEAT_EVERY)
            return
        self.has_passed = True
        self._stop.set()
        self._handler(number, frame)


def _is_in_request(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") == TALK_TO_SUPERVISOR:
            return True
        frame = frame.f_back
    return False
