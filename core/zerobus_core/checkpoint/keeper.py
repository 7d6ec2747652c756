"""Keeps the checkpoint of a running delivery: what to skip at its start, and what is durable from then on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..process.signals import is_of_signal
from ..ranges import END
from .checkpoint import Checkpoint
from .store import CheckpointStore, Resumption, resume

if TYPE_CHECKING:
    from ..errors import Counts
    from ..ranges import RowRanges
    from ..schema import TableSchema

__all__ = ["CheckpointKeeper"]

_log = logging.getLogger("zerobus_core")

# How many rows a checkpoint admits ahead at first.
_RESERVE_ROWS = 1_000


class CheckpointKeeper:
    """Reads the store once, when built, and says in the log why a delivery starts at the first row, where it does.

    Without a store it skips nothing and keeps nothing.  Used from the thread that called ``ingest``.
    """

    def __init__(
        self,
        store: CheckpointStore | None,
        schema: TableSchema,
        *,
        source_fingerprint: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source_fingerprint = source_fingerprint
        self._store = store
        self._schema = schema
        resumption = self._resume()
        self.skip = resumption.skip
        """The rows that are durable from an earlier try."""
        self.resumed_from = resumption.resumed_from
        self.repeat_until = resumption.checkpoint.reached if resumption.checkpoint else 0
        """Rows below this position may have reached the service in an earlier try: sent now, they are sent again."""
        self.resent_before = resumption.checkpoint.counts.rows_resent if resumption.checkpoint else 0
        """Rows that earlier tries may have sent twice."""
        self.in_doubt = sum(stop - start for start, stop in self.skip.without(0, self.repeat_until))
        """Rows that an earlier try may have sent, and of which nothing is known."""
        self.reserved = 0
        """Rows below this position are known to the store as possibly sent."""
        self._clock = clock
        self._interval = self._pause = _interval_of(store)
        self._saved_at = clock()
        self._window = _RESERVE_ROWS
        self._reserved_at: float | None = None

    def _resume(self) -> Resumption:
        if self._store is None:
            return Resumption()
        resumption = resume(self._store, self._schema, source_fingerprint=self.source_fingerprint)
        if resumption.reason:
            _log.warning("%s: starting at the first row: %s", self._schema.table, resumption.reason)
        elif resumption.checkpoint:
            _log.info("%s: resuming, %d rows are durable from before", self._schema.table, resumption.skip.rows)
        elif self.source_fingerprint is None:
            _log.info("%s: the source has no fingerprint, so a retry will start at row 0", self._schema.table)
        return resumption

    def is_due(self, now: float) -> bool:
        """Whether it is time to save again; ``now`` is a reading of the clock."""
        return self._store is not None and now - self._saved_at >= self._pause

    def reserve(self, stop_row: int, durable: RowRanges, counts: Counts) -> None:
        """Keep, before it is true, that rows below ``stop_row`` may have reached the service.

        Reserves ahead, twice as far whenever that did not last until the next save was due, so that this is written
        about as often as ACKs are.
        """
        if self._store is None or self.source_fingerprint is None:
            self.reserved = END  # nothing will resume, so nothing has to be admitted
            return
        now = self._clock()
        if self._reserved_at is not None and now - self._reserved_at < self._pause:
            self._window *= 2
        self._reserved_at = now
        self.reserved = stop_row + self._window
        self.save(durable, counts)

    def save(self, durable: RowRanges, counts: Counts, *, reached: int | None = None) -> None:
        """Keep that ``durable`` rows were acknowledged in this try.

        ``reached`` is the row after the last one that was given to a stream, where that is known for good: at the end.
        A store that fails costs the next try some duplicates, never this one its success: it is logged.
        """
        if self._store is None:
            return
        started = self._clock()
        everything = self.skip.copy()
        for start, stop in durable:
            everything.add(start, stop)
        reached = self.reserved if reached is None else reached
        checkpoint = Checkpoint(
            table=self._schema.table,
            table_identity=self._schema.identity,
            schema_fingerprint=self._schema.fingerprint,
            source_fingerprint=self.source_fingerprint,
            epoch=self._store.epoch,
            durable=everything,
            reached=0 if reached == END else max(reached, self.repeat_until),
            counts=counts,
            written_at=datetime.now(UTC).isoformat(),
        )
        try:
            self._store.save(checkpoint)
            self._interval = _interval_of(self._store)
        except Exception as error:  # any store, any failure: the rows are durable all the same
            if is_of_signal(error):
                raise
            _warn_of(error)
        self._saved_at = self._clock()
        # Saving may take a fifth of the time, whatever the store promised.
        self._pause = max(self._interval, 4.0 * (self._saved_at - started))


def _warn_of(failure: Exception) -> None:
    try:
        _log.warning("The checkpoint was not saved, a retry may send rows again: %s", failure)
    except Exception as error:  # a host's handler may write to the same storage, and raise as well
        if is_of_signal(error):
            raise


def _interval_of(store: CheckpointStore | None) -> float:
    return getattr(store, "save_interval", 1.0)
