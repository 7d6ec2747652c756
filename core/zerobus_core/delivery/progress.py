"""The progress and the receipt of a delivery, both made from snapshots of the delivery."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..process.signals import is_of_signal
from ..receipt import Progress, Receipt, notes_on

if TYPE_CHECKING:
    from ..checkpoint import CheckpointKeeper
    from ..sources import Shaping
    from ..streams import StreamPool
    from .account import DeliverySnapshot
    from .destination import Controls, Destination

__all__ = ["Reports"]

_log = logging.getLogger("zerobus_core")
_PROGRESS_EVERY = 0.5


class Reports:
    """Makes the progress and the receipt of one delivery from its snapshots and the streams' measurements."""

    def __init__(
        self, destination: Destination, controls: Controls, pool: StreamPool, snapshot: Callable[[], DeliverySnapshot]
    ) -> None:
        self._destination = destination
        self._controls = controls
        self._pool = pool
        self._snapshot = snapshot
        self._reported_at = controls.started

    def is_due(self, now: float) -> bool:
        """Return whether a report is due; if it is, the next report is due 0.5 s after ``now``.

        ``now`` is a reading of ``time.monotonic``.
        """
        if now - self._reported_at < _PROGRESS_EVERY:
            return False
        self._reported_at = now
        return True

    def report(self) -> None:
        """Call ``on_progress``, if there is one. Its exceptions are logged and do not end the delivery."""
        if self._controls.on_progress is None:
            return
        try:
            self._controls.on_progress(self.progress())
        except Exception as error:  # the function is the user's, and its failure must not lose rows
            if is_of_signal(error):
                raise
            _log.exception("on_progress failed; the delivery goes on")

    def progress(self) -> Progress:
        """Return the progress of the delivery."""
        now, statistics = self._snapshot(), self._pool.statistics
        duration = time.monotonic() - self._controls.started
        counts = asdict(now.counts)
        del counts["rows_resent"]
        return Progress(
            table=self._destination.schema.table,
            **counts,
            total_rows=now.total_rows,
            unacked_rows=now.rows_waiting + now.rows_in_flight,
            unacked_bytes=now.unacked_bytes,
            streams=statistics.open_now,
            rows_per_s=_rate(now, duration),
            oldest_unacked_s=self._pool.oldest_unacked_s(),
            elapsed_s=duration,
            reconnects=statistics.reconnects,
            last_error=self._pool.last_error(),
        )

    def receipt(self, keeper: CheckpointKeeper, shaping: Shaping) -> Receipt:
        """Return the receipt of a delivery that has succeeded."""
        now, statistics = self._snapshot(), self._pool.statistics
        duration = time.monotonic() - self._controls.started
        encoder = self._destination.encoder
        return Receipt(
            table=self._destination.schema.table,
            **asdict(now.counts),
            bytes_sent=now.bytes_sent,
            batches=now.batches_acked,
            streams=statistics.most_open,
            stream_ids=tuple(statistics.stream_ids),
            reconnects=statistics.reconnects,
            ack_latency_s=statistics.ack_latencies.summary(),
            duration_s=duration,
            rows_per_s=_rate(now, duration),
            started_at=self._controls.started_at.isoformat(),
            finished_at=datetime.now(UTC).isoformat(),
            schema_fingerprint=self._destination.schema.fingerprint,
            source_fingerprint=keeper.source.fingerprint,
            resumed_from=keeper.past.resumed_from,
            started_over=keeper.past.reason,
            record_format=encoder.record_format,
            record_format_reason=encoder.record_format_reason,
            notes=(*notes_on(now.counts, why_empty=keeper.source.why_empty), *shaping.notes),
            columns_dropped=shaping.columns_dropped,
        )


def _rate(now: DeliverySnapshot, duration: float) -> float:
    return now.counts.rows_acked / duration if duration > 0 else 0.0
