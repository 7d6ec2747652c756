"""Collects figures for the server's web page, at a low cost: the page must not slow down the streams it shows."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from .catalog.last_rows import last_rows

if TYPE_CHECKING:
    from .model.objects import Table
    from .stream.statistics import StreamStatistics

__all__ = ["Observer", "TableView"]

_WINDOW = 3.0  # seconds; a rate is the average over this time
_HISTORY = 60  # samples in the curve


@dataclass(frozen=True, slots=True, kw_only=True)
class TableView:
    """The current state of a table: the number of rows, the version of the Delta table, and the last committed rows."""

    table: Table
    rows: int
    version: int
    last_rows: list[dict[str, Any]]
    """The last committed rows, the newest row first."""


class Observer:
    """Reads the state of tables and calculates the rates of streams, for the web page. Thread-safe.

    Caches opened Delta tables, so that reading the same table again is cheap.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards all fields below
        self._deltas: dict[str, DeltaTable] = {}
        self._samples: dict[str, deque[tuple[float, int]]] = {}
        self._history: deque[tuple[float, float]] = deque(maxlen=_HISTORY)

    def table(self, table: Table) -> TableView | None:
        """Return the current state of the table; None if it cannot be read, for example because it is being dropped."""
        with self._lock:
            try:
                delta = self._deltas.get(table.table_id)
                if delta is None:
                    delta = self._deltas[table.table_id] = DeltaTable(table.path)
                else:
                    delta.update_incremental()
                files = pa.table(delta.get_add_actions(flatten=True))
                return TableView(
                    table=table,
                    rows=sum(files["num_records"].to_pylist()),
                    version=delta.version(),
                    last_rows=last_rows(table, delta.version(), files),
                )
            except (DeltaError, OSError):
                self._deltas.pop(table.table_id, None)
                return None

    def rates(self, streams: tuple[StreamStatistics, ...]) -> dict[str, float]:
        """Return a dict that maps the id of each open stream to its rate: the rows per second that it receives.

        Each rate is an average over about the last 3 seconds. The rate of a new stream is 0.0.
        """
        now = self._clock()
        open_streams = [stream for stream in streams if stream.closed_at is None]
        with self._lock:
            known = {stream.stream_id for stream in open_streams}
            self._samples = {name: samples for name, samples in self._samples.items() if name in known}
            rates = {stream.stream_id: self._rate(stream, now) for stream in open_streams}
            if not self._history or now - self._history[-1][0] >= 1:
                self._history.append((now, sum(rates.values())))
        return rates

    def history(self) -> list[float]:
        """Return recent values of the total rate of all streams, in rows per second; the oldest value comes first.

        While the page is open, about one value per second is recorded.
        """
        with self._lock:
            return [rate for _, rate in self._history]

    def _rate(self, stream: StreamStatistics, now: float) -> float:
        samples = self._samples.setdefault(stream.stream_id, deque())
        samples.append((now, stream.rows_received))
        while len(samples) > 2 and now - samples[1][0] >= _WINDOW:  # noqa: PLR2004  # a rate needs two samples
            samples.popleft()
        (then, before), (_, rows) = samples[0], samples[-1]
        return (rows - before) / (now - then) if now > then else 0.0
