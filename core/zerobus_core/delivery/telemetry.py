"""A span and metrics for each delivery, sent through ``opentelemetry-api`` if the process has it.

If OpenTelemetry is not installed or not set up, nothing is sent. If OpenTelemetry fails, the delivery goes on. Whoever
sets up the OpenTelemetry SDK in the process decides where the data goes.

The span ``zerobus.ingest`` has the attributes ``zerobus.table``, ``zerobus.record_format``, ``zerobus.outcome``
("delivered", "failed" or "stopped"), ``zerobus.rows.read``, ``.acked``, ``.skipped``, ``.dead_lettered``, ``.resent``,
``.filtered``, ``zerobus.bytes_sent``, ``zerobus.reconnects``, and after an error ``error.type``. The span has no error
text, because that text could quote a value of a row.

The metrics have the attributes ``zerobus.table`` and ``zerobus.record_format``. They are the counters
``zerobus.rows_acked``, ``zerobus.rows_resent``, ``zerobus.bytes_sent`` and ``zerobus.reconnects``; the up-down counter
``zerobus.open_streams``; and the histogram ``zerobus.ack_latency`` in seconds. The counters are updated at most every
0.5 s, and at the end.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import IngestInterruptedError
from ..process.signals import is_of_signal

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, UpDownCounter
    from opentelemetry.trace import Span, Tracer

    from ..streams import PoolStatistics
    from .account import DeliverySnapshot

__all__ = ["DeliveryTelemetry"]

_log = logging.getLogger("zerobus_core")
_SCOPE = "zerobus_core"
# The variables that tell opentelemetry-api which providers to use.
_PROVIDERS = ("OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Instruments:
    tracer: Tracer
    rows_acked: Counter
    rows_resent: Counter
    bytes_sent: Counter
    reconnects: Counter
    open_streams: UpDownCounter
    ack_latency: Histogram


def _instruments() -> _Instruments | None:
    """Return the tracer and metric instruments; None if OpenTelemetry is not installed or not set up in the process.

    OpenTelemetry is treated as set up if the process has imported it, or if an environment variable selects a provider.
    Otherwise this function does not import OpenTelemetry, which saves time.
    """
    is_set_up = "opentelemetry.trace" in sys.modules or "opentelemetry.metrics" in sys.modules
    return _made_instruments() if is_set_up or any(map(os.environ.get, _PROVIDERS)) else None


@cache
def _made_instruments() -> _Instruments | None:
    try:
        from opentelemetry import metrics, trace
    except ImportError:
        return None
    meter = metrics.get_meter(_SCOPE)
    return _Instruments(
        tracer=trace.get_tracer(_SCOPE),
        rows_acked=meter.create_counter("zerobus.rows_acked", "{row}", "Rows that became durable"),
        rows_resent=meter.create_counter("zerobus.rows_resent", "{row}", "Rows sent again, which may be duplicates"),
        bytes_sent=meter.create_counter("zerobus.bytes_sent", "By", "Payload bytes handed to streams"),
        reconnects=meter.create_counter("zerobus.reconnects", "{stream}", "Streams opened after another one died"),
        open_streams=meter.create_up_down_counter("zerobus.open_streams", "{stream}", "Streams open now"),
        ack_latency=meter.create_histogram("zerobus.ack_latency", "s", "Time from sending a batch until its ACK"),
    )


class DeliveryTelemetry:
    """A context manager that reports one delivery to OpenTelemetry; see the module's docstring.

    Use it in the delivery's thread. ``snapshot`` returns the delivery's present counts; ``started`` is a reading of
    ``time.monotonic``. Failures of OpenTelemetry are logged and not raised.
    """

    def __init__(
        self,
        table: str,
        record_format: str,
        snapshot: Callable[[], DeliverySnapshot],
        statistics: PoolStatistics,
        *,
        started: float,
    ) -> None:
        self._attributes = {"zerobus.table": table, "zerobus.record_format": record_format}
        self._snapshot = snapshot
        self._statistics = statistics
        self._started = started
        self._reported: dict[str, int] = {}
        self._open_streams = 0
        self._span: Span | None = None
        self._instruments: _Instruments | None = None
        self._harmlessly(self._connect)

    def __enter__(self) -> None:
        self._harmlessly(self._start)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._harmlessly(lambda: self._end(error))

    @property
    def on_ack(self) -> Callable[[float], None] | None:
        """The function to call with the latency of each acknowledged batch, in seconds.

        None if OpenTelemetry is not set up.
        """
        if self._instruments is None:
            return None
        return lambda seconds: self._harmlessly(lambda: self._record_latency(seconds))

    def observe(self) -> None:
        """Update the metrics to the delivery's present counts."""
        self._harmlessly(self._move)

    def _harmlessly(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception as error:  # of any SDK or exporter; it must not lose rows
            if is_of_signal(error):
                raise
            self._instruments = None
            _log.warning("telemetry failed and is off for this delivery: %s: %s", type(error).__name__, error)

    def _connect(self) -> None:
        self._instruments = _instruments()

    def _start(self) -> None:
        if self._instruments is None:
            return
        from opentelemetry.trace import SpanKind

        # Rows that earlier attempts sent again are in our account, but those attempts have already counted them.
        self._reported["rows_resent"] = self._snapshot().counts.rows_resent
        # Not made the current span: a StreamManager's delivery can begin and end in different spans of the user.
        self._span = self._instruments.tracer.start_span(
            "zerobus.ingest",
            kind=SpanKind.CLIENT,
            attributes=self._attributes,
            start_time=time.time_ns() - int((time.monotonic() - self._started) * 1e9),
        )

    def _record_latency(self, seconds: float) -> None:
        if self._instruments is not None:
            self._instruments.ack_latency.record(seconds, self._attributes)

    def _move(self) -> None:
        if self._instruments is None:
            return
        now, statistics, instruments = self._snapshot(), self._statistics, self._instruments
        self._count(instruments.rows_acked, "rows_acked", now.counts.rows_acked)
        self._count(instruments.rows_resent, "rows_resent", now.counts.rows_resent)
        self._count(instruments.bytes_sent, "bytes_sent", now.bytes_sent)
        self._count(instruments.reconnects, "reconnects", statistics.reconnects)
        instruments.open_streams.add(statistics.open_now - self._open_streams, self._attributes)
        self._open_streams = statistics.open_now

    def _count(self, counter: Counter, name: str, value: int) -> None:
        # ``value`` can decrease (batches that never left), but a counter cannot: it stays until ``value`` is higher.
        more = value - self._reported.get(name, 0)
        if more > 0:
            counter.add(more, self._attributes)
            self._reported[name] = value

    def _end(self, error: BaseException | None) -> None:
        self._move()
        if self._span is None:
            return
        from opentelemetry.trace import StatusCode

        now = self._snapshot()
        for name, rows in asdict(now.counts).items():
            self._span.set_attribute("zerobus.rows." + name.removeprefix("rows_"), rows)
        self._span.set_attribute("zerobus.bytes_sent", now.bytes_sent)
        self._span.set_attribute("zerobus.reconnects", self._statistics.reconnects)
        self._span.set_attribute("zerobus.outcome", _outcome(error))
        if error is not None:
            self._span.set_attribute("error.type", type(error).__name__)
            self._span.set_status(StatusCode.ERROR, type(error).__name__)
        self._span.end()


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "delivered"
    # A BaseException that is not an Exception comes from a signal: KeyboardInterrupt, SystemExit, a host's own.
    is_stop = isinstance(error, IngestInterruptedError) or not isinstance(error, Exception)
    return "stopped" if is_stop else "failed"
