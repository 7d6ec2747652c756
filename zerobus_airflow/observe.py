"""Reports a delivery while it runs and at its end, in the log, in the task's state and as metrics.

All of this is only information, so a report that fails must not fail the task.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from zerobus_core.hosting import ProgressLog, is_of_signal

from .compat import Stats

if TYPE_CHECKING:
    from zerobus_core import Progress, Receipt, ZerobusIngestError

    from .compat import Context

__all__ = ["LogGroup", "Observer", "without_failing"]

# Seconds between two lines in the log, and between two changes of the task's state. Each change is a request to
# Airflow's API, which takes some milliseconds.
_PROGRESS_INTERVAL = 10.0
_STATE_INTERVAL = 5.0
_STATE_KEY = "zerobus/delivery"
_RETENTION = timedelta(days=365)
_COUNTERS = ("rows_acked", "rows_skipped", "rows_dead_lettered", "rows_filtered")

_log = logging.getLogger(__name__)


def without_failing(act: Callable[[], object], what: str) -> None:
    """Call ``act``. If it raises an exception, log the exception instead of passing it on.

    Exceptions that a signal handler raised are passed on. The log line begins with ``what``, a description of the
    action, for example "Reporting lineage".
    """
    try:
        act()
    except Exception as error:  # a report can fail in any way
        if is_of_signal(error):
            raise
        _log.warning("%s failed; the delivery is not affected: %s: %s", what, type(error).__name__, error)


class LogGroup:
    """A group of log lines that Airflow folds. A warning from the core ends the group, and is therefore visible."""

    def __init__(self, log: Any, title: str) -> None:
        self._log = log
        self._title = title
        self._is_open = False

    def __enter__(self) -> LogGroup:
        self._log.info("::group::%s", self._title)
        self._is_open = True
        logging.getLogger("zerobus_core").addFilter(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("zerobus_core").removeFilter(self)
        self.close()

    def filter(self, record: logging.LogRecord) -> bool:
        """End the group if ``record`` is a warning or an error. Always returns True.

        Python's ``logging`` calls this method for each log record of the core.
        """
        if record.levelno >= logging.WARNING:
            self.close()
        return True

    def close(self) -> None:
        """End the group if it has not ended."""
        if self._is_open:
            self._is_open = False
            self._log.info("::endgroup::")


class Observer:
    """Reports a delivery to the log, the task's state (Airflow 3.3 and newer) and ``Stats``."""

    def __init__(self, context: Context, table: str, log: Any) -> None:
        self._state = context.get("task_state_store")
        self._table = table
        self._progress_log = ProgressLog(log.info, interval=_PROGRESS_INTERVAL)
        self._state_at = float("-inf")
        self._counted = dict.fromkeys(_COUNTERS, 0)

    def on_start(self, endpoint: str) -> None:
        """Report that the delivery begins; no stream is open yet."""
        self._keep({"state": "connecting", "table": self._table, "endpoint": endpoint}, is_due=True)

    def on_progress(self, progress: Progress) -> None:
        """Report progress; the core calls this at most twice a second."""
        self._progress_log(progress)
        counts = {name: getattr(progress, name, 0) for name in _COUNTERS}
        self._count(counts)
        state = "connecting" if progress.is_connecting else "running"
        shown = {
            "rows_read": progress.rows_read,
            **counts,
            "total_rows": progress.total_rows,
            "rows_per_s": round(progress.rows_per_s, 1),
            "streams": progress.streams,
            "reconnects": progress.reconnects,
            "elapsed_s": round(progress.elapsed_s, 1),
        }
        self._keep({"state": state, "table": self._table, **shown})

    def on_success(self, receipt: Receipt) -> None:
        """Report that every row is durable."""
        self._count({name: getattr(receipt, name) for name in _COUNTERS})
        # This is a total over all attempts, so it is reported once, at the end.
        self._incr("zerobus.rows_resent", receipt.rows_resent)
        self._end("success", receipt.duration_s)
        self._keep({"state": "success", "receipt": receipt.as_dict()}, is_due=True)

    def on_failure(self, error: ZerobusIngestError) -> None:
        """Report the counts and the class of ``error``, but not the message, which could contain values of a row."""
        counts = {name: getattr(error.counts, name) for name in ("rows_read", *_COUNTERS)}
        self._count(counts)
        self._end("failure", None)
        self._keep({"state": "failed", "table": self._table, "error": type(error).__name__, **counts}, is_due=True)

    def _keep(self, value: dict[str, Any], *, is_due: bool = False) -> None:
        now = time.monotonic()
        state = self._state
        if state is None or not (is_due or now - self._state_at >= _STATE_INTERVAL):
            return
        self._state_at = now
        without_failing(
            lambda: state.set(_STATE_KEY, value, retention=_RETENTION), "Storing the progress in the task's state"
        )

    def _count(self, counts: dict[str, int]) -> None:
        for name in _COUNTERS:
            more = counts[name] - self._counted[name]
            self._counted[name] = max(counts[name], self._counted[name])
            self._incr(f"zerobus.{name}", more)

    def _end(self, outcome: str, seconds: float | None) -> None:
        self._incr(f"zerobus.deliveries.{outcome}", 1)
        if seconds is not None:
            duration = timedelta(seconds=seconds)
            without_failing(
                lambda: Stats.timing("zerobus.delivery_duration", duration, tags={"table": self._table}), "Stats.timing"
            )

    def _incr(self, name: str, count: int) -> None:
        if count > 0:
            without_failing(lambda: Stats.incr(name, count, tags={"table": self._table}), "Stats.incr")
