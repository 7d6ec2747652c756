"""Decides when the checkpoint of a running delivery is saved, and which of several attempts may write it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from ..errors import DeliverySupersededError
from ..process.signals import is_of_signal
from ..ranges import RowRanges
from .checkpoint import AttemptMark, Checkpoint, InvalidCheckpointError
from .store import CheckpointStore, Resumption, SourceFacts, resume

if TYPE_CHECKING:
    from ..errors import Counts
    from ..schema import TableSchema
    from .checkpoint import RowsDigest

__all__ = ["CheckpointKeeper", "RowsKept"]

_log = logging.getLogger("zerobus_core")

# A reservation is a number of rows that can be sent because the saved checkpoint says that they may have been sent.
# A pause is the time between two saves.
# A reservation that lasted longer than this many pauses was too large.
_LASTS_LONG = 4.0
# Another attempt may take this many times as long as this one to load and save the checkpoint.
_SETTLES_AFTER = 1.5
# A reservation is made for _SPARE pauses, or for _LEAST_SPARE pauses and the time in which the next one settles,
# whichever is longer. It becomes at most _MOST_GROWTH times as large as the last one.
_SPARE = 1.5
_LEAST_SPARE = 1.25
_MOST_GROWTH = 64.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsKept:
    """The fields that describe rows in a checkpoint; see ``Checkpoint``."""

    durable: RowRanges = field(default_factory=RowRanges)
    digest: RowsDigest | None = None
    reached: int
    counts: Counts


class CheckpointKeeper:
    """Loads the checkpoint in its constructor, and saves checkpoints during the delivery.

    If there is a checkpoint but the delivery starts at the first row, the log says why. If ``store`` is None, no rows
    are skipped and nothing is saved. All methods must be called from the thread that called ``ingest``.
    """

    def __init__(
        self,
        store: CheckpointStore | None,
        schema: TableSchema,
        source: SourceFacts | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source = source or SourceFacts()
        self._store = store
        self._schema = schema
        self.past = self._resume()
        """The state that earlier attempts have left."""
        number = self.past.attempt.number + 1 if self.past.attempt else 1
        self.attempt = AttemptMark(number=number, token=uuid4().hex)
        self._clock = clock
        self._interval = self._pause = _interval_of(store)
        self.saved_at = clock()
        """When the last save ended, or this object was built if there was no save, as a reading of the clock."""
        self._look_took = self._save_took = 0.0
        self._kept = RowsKept(reached=self.past.reached, counts=self.past.counts)
        self._window = 0
        self._reserved_at: float | None = None
        self._waited = 0.0  # seconds until the last reservation could be used

    @property
    def is_active(self) -> bool:
        """Whether the delivery has a checkpoint store."""
        return self._store is not None

    def _resume(self) -> Resumption:
        if self._store is None:
            return Resumption()
        past = resume(self._store, self._schema, self.source)
        if past.reason:
            _log.warning("%s: starting at the first row: %s", self._schema.table, past.reason)
        elif past.resumed_from:
            _log.info("%s: resuming, %d rows are durable from earlier attempts", self._schema.table, past.skip.rows)
        elif self.source.fingerprint is None:
            _log.info("%s: the source has no fingerprint, so a retry will start at row 0", self._schema.table)
        return past

    def start_over(self, reason: str) -> None:
        """Make this attempt begin at the first row again, and log ``reason``.

        Later checkpoints still record which rows may have been sent, and the counts so far.
        """
        _log.warning("%s: starting at the first row: %s", self._schema.table, reason)
        reached, counts = self._kept.reached, self._kept.counts
        self.past = Resumption(reached=reached, counts=counts, reason=reason, attempt=self.attempt)

    def is_due(self, now: float) -> bool:
        """Return whether it is time to save again; ``now`` is a reading of the clock."""
        return self._store is not None and now - self.saved_at >= self._pause

    def rows_to_reserve(self, rows: int, *, is_used_up: bool = False) -> int:
        """Return how many rows to reserve after a batch of ``rows`` rows; the result is at least ``rows``.

        Rows are reserved once the saved checkpoint says that they may have been sent. Only reserved rows are sent. A
        reservation should last longer than a pause, which is the time between two saves. If the last reservation lasted
        less than one pause, the new one is at least twice as large. If the last one lasted more than four pauses, the
        new one is half as large. Set ``is_used_up`` if the last reservation is too small for the batch.
        """
        now = self._clock()
        if self._reserved_at is not None:
            # A reservation that is used up lasted from when its rows could be sent: the wait for the store is left out.
            lasted = now - self._reserved_at - (self._waited if is_used_up else 0.0)
            if lasted < self._pause:
                # The next reservation is written after a pause, and can be used when it is settled.
                spare = max(_SPARE * self._pause, _LEAST_SPARE * self._pause + self._settles_after())
                wanted = spare / max(lasted, 0.001)
                self._window = int(self._window * min(max(wanted, 2.0), _MOST_GROWTH))
            elif lasted > _LASTS_LONG * self._pause:
                self._window //= 2
        self._reserved_at, self._waited = now, 0.0
        self._window = max(self._window, rows)
        return self._window

    def begin_reservation(self) -> None:
        """Begin the last reservation: its rows can be sent from now on."""
        if self._reserved_at is not None:
            self._waited = self._clock() - self._reserved_at

    def settles_in(self, saved_at: float) -> float:
        """Return the seconds for which a newer attempt may still overwrite the checkpoint saved at ``saved_at``.

        A newer attempt that loaded the store before ``saved_at`` does not know of this checkpoint, and overwrites it.
        The newer attempt is expected to load and save about as fast as this one: in milliseconds with a file. After
        that time the result is 0.0, because every newer attempt then finds this checkpoint.
        """
        return max(0.0, saved_at + self._settles_after() - self._clock())

    def _settles_after(self) -> float:
        return _SETTLES_AFTER * (self._look_took + self._save_took)

    def check(self) -> tuple[int, int]:
        """Check that this is the newest attempt; raise DeliverySupersededError if a newer one has written a checkpoint.

        Returns two numbers from the stored checkpoint if an older attempt has saved it: the position below which that
        attempt may have sent rows, and how many rows it may have sent again. Both are 0 if this attempt has saved the
        checkpoint, if the checkpoint belongs to another table or epoch, or if no checkpoint can be read.
        """
        found = self._found()
        if found is None or found.attempt == self.attempt:
            return 0, 0
        if found.attempt is not None and found.attempt.is_newer_than(self.attempt):
            raise DeliverySupersededError(
                "a newer attempt at this delivery has taken over, so this attempt stops. The newer attempt also counts "
                "the rows that this attempt has sent; you do not have to do anything"
            )
        is_of_these_rows = found.table == self._schema.table and found.epoch == (self._store and self._store.epoch)
        return (self.past.reached_now(found), found.counts.rows_resent) if is_of_these_rows else (0, 0)

    def _found(self) -> Checkpoint | None:
        if self._store is None:
            return None
        started = self._clock()
        try:
            return self._store.load()
        except InvalidCheckpointError:
            return None
        except Exception as error:  # any store, any failure: see save
            if is_of_signal(error):
                raise
            _warn_of(error)
            return None
        finally:
            self._look_took = self._clock() - started

    def save(self, kept: RowsKept) -> None:
        """Replace the checkpoint.

        A failure of the store is logged. The failure does not end this attempt, but the next attempt may send some rows
        again.
        """
        self._kept = kept
        if self._store is None:
            return
        started = self._clock()
        checkpoint = Checkpoint(
            table=self._schema.table,
            table_identity=self._schema.identity,
            schema_fingerprint=self._schema.fingerprint,
            source_fingerprint=self.source.fingerprint,
            epoch=self._store.epoch,
            durable=kept.durable,
            digest=kept.digest,
            reached=kept.reached,
            counts=kept.counts,
            attempt=self.attempt,
            written_at=datetime.now(UTC).isoformat(),
        )
        try:
            self._store.save(checkpoint)
            self._interval = _interval_of(self._store)
        except Exception as error:  # any store, any failure: the rows are durable all the same
            if is_of_signal(error):
                raise
            _warn_of(error)
        self.saved_at = self._clock()
        self._save_took = self.saved_at - started
        # Saving may take a fifth of the time, whatever the store promised.
        self._pause = max(self._interval, 4.0 * self._save_took)


def _warn_of(failure: Exception) -> None:
    try:
        _log.warning("The checkpoint was not read or not saved, so a retry may send rows again: %s", failure)
    except Exception as error:  # a host's handler may write to the same storage, and raise
        if is_of_signal(error):
            raise


def _interval_of(store: CheckpointStore | None) -> float:
    return getattr(store, "save_interval", 1.0)
