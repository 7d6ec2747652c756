"""Statistics of the streams that are open or have closed recently, as frozen snapshots."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["StreamRecord", "StreamStatistics", "Streams"]

_KEPT_CLOSED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatistics:
    """The statistics of one stream at one moment. Times are seconds since 1970; latencies are in seconds."""

    stream_id: str
    table: str
    #: the number of this stream among all streams that clients tried to open for the table, counted from 1
    number: int
    #: "grpc" or "flight"
    protocol: str
    #: "protobuf", "json", "avro" or "arrow"
    record_format: str
    #: the client's user-agent header
    client: str
    opened_at: float
    #: None while the stream is open
    closed_at: float | None
    rows_received: int
    rows_acknowledged: int
    bytes_received: int
    #: seconds between the decoding and the acknowledgement of the last acknowledged request; None before the first
    ack_latency: float | None
    #: the error with which the stream ended; None if it is open or ended without one
    error: str | None

    @property
    def rows_unacknowledged(self) -> int:
        """The number of rows that were received but are not acknowledged yet."""
        return self.rows_received - self.rows_acknowledged

    def as_dict(self) -> dict[str, Any]:
        """Return all fields, and ``rows_unacknowledged``, as a dict of plain values."""
        return asdict(self) | {"rows_unacknowledged": self.rows_unacknowledged}


class StreamRecord:
    """The counters of one stream; ``statistics`` returns a snapshot. Only the stream's thread changes the counters."""

    def __init__(self, **identity: Any) -> None:
        self.number: int = identity["number"]
        self._identity = identity
        self._opened_at = time.time()
        self._closed_at: float | None = None
        self._rows_received = 0
        self._rows_acknowledged = 0
        self._bytes = 0
        self._latency: float | None = None
        self._error: str | None = None

    def on_received(self, rows_so_far: int, nbytes: int) -> None:
        """Record that requests with ``nbytes`` bytes in total were received.

        ``rows_so_far`` is the number of rows that the stream has received since it opened.
        """
        self._rows_received = rows_so_far
        self._bytes += nbytes

    def on_acknowledged(self, rows_so_far: int, received_at: float) -> None:
        """Record that rows were acknowledged.

        ``rows_so_far`` is the number of rows that were acknowledged since the stream opened. ``received_at`` is
        the time on the monotonic clock at which the last of these rows was decoded.
        """
        self._rows_acknowledged = rows_so_far
        self._latency = time.monotonic() - received_at

    def on_closed(self, error: str | None) -> None:
        """Record the end of the stream; ``error`` is None if the stream ended without an error."""
        self._closed_at = time.time()
        self._error = error

    def statistics(self) -> StreamStatistics:
        """Return a snapshot of the counters."""
        return StreamStatistics(
            **self._identity,
            opened_at=self._opened_at,
            closed_at=self._closed_at,
            rows_received=self._rows_received,
            rows_acknowledged=self._rows_acknowledged,
            bytes_received=self._bytes,
            ack_latency=self._latency,
            error=self._error,
        )


class Streams:
    """The open streams, the most recently closed ones, and the last errors of streams and REST inserts. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the fields below
        self._open: dict[str, StreamRecord] = {}
        self._closed: deque[StreamRecord] = deque(maxlen=_KEPT_CLOSED)
        self._errors: deque[dict[str, Any]] = deque(maxlen=_KEPT_CLOSED)

    def on_opened(self, **identity: Any) -> StreamRecord:
        """Add a new stream, and return its StreamRecord.

        ``identity`` contains the fields of StreamStatistics that stay constant, except ``opened_at``.
        """
        record = StreamRecord(**identity)
        with self._lock:
            self._open[identity["stream_id"]] = record
        return record

    def on_closed(self, stream_id: str, error: str | None) -> None:
        """Record the end of the stream; ``error`` is None if the stream ended without an error."""
        with self._lock:
            record = self._open.pop(stream_id, None)
            if record is not None:
                record.on_closed(error)
                self._closed.append(record)

    def on_failed(self, table: str, error: str) -> None:
        """Keep an error of a stream or of a REST insert, so that the page shows it."""
        with self._lock:
            self._errors.append({"at": time.time(), "table": table, "error": error})

    def statistics(self) -> tuple[StreamStatistics, ...]:
        """Return snapshots of the open streams and of the last closed streams.

        The open streams come first, beginning with the oldest. Then come the closed streams, beginning with the
        one that closed last.
        """
        with self._lock:
            records = [*self._open.values(), *reversed(self._closed)]
        return tuple(record.statistics() for record in records)

    def errors(self) -> tuple[dict[str, Any], ...]:
        """Return the last errors, newest first, each with ``at`` (seconds since 1970), ``table`` and ``error``."""
        with self._lock:
            return tuple(reversed(self._errors))
