"""One delivery from its first row to its receipt; it connects encoder, stream pool, account and checkpoint.

``finish`` decides whether the delivery has succeeded: it returns a receipt only if every row that was read is
acknowledged, was durable from an earlier attempt, is in the dead-letter file, or was filtered by ``transform``. Once
``finish`` has waited for the last acknowledgement, only bad rows or an error of the dead-letter file can make the
delivery fail.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ..bad_rows import BadRowPolicy
from ..checkpoint import CheckpointKeeper
from ..errors import (
    RecordError,
    RejectedRecordError,
    SchemaError,
    SourceChangedError,
    TransportError,
    ZerobusIngestError,
)
from ..process.guard import in_time
from ..process.signals import is_of_signal
from ..schema import TableSchema
from ..sources import Shaping
from ..streams import FAILURE_GRACE, PoolHooks, SdkSession, StreamPool, open_rate_of
from .account import Account, DeliverySnapshot
from .checkpointing import Checkpointing
from .destination import Controls, Destination
from .outlook import next_attempt, note_for
from .progress import Reports
from .telemetry import DeliveryTelemetry

if TYPE_CHECKING:
    from ..batch import BadRow, Batch, Chunk
    from ..options import IngestOptions
    from ..ranges import RowRanges
    from ..receipt import Progress, Receipt
    from ..sources import Source

__all__ = ["Delivery"]

_log = logging.getLogger("zerobus_core")


class Delivery:
    """One delivery; see the module's docstring. All methods must be called from one thread."""

    def __init__(
        self,
        destination: Destination,
        options: IngestOptions,
        *,
        keeper: CheckpointKeeper | None = None,
        controls: Controls | None = None,
        locate: Callable[[int], str] | None = None,
    ) -> None:
        """Build a delivery.

        ``locate`` takes a row number and returns where the row is in its source; a dead letter contains this place.
        """
        self._destination = destination
        self._controls = controls or Controls()
        self._keeper = keeper or CheckpointKeeper(None, destination.schema)
        source, table = self._keeper.source, destination.schema.table
        self._bad = BadRowPolicy(
            destination.schema, destination.encoder, options, source_fingerprint=source.fingerprint, locate=locate
        )
        self._deadline = self._controls.deadline(options)
        self._pool = StreamPool(
            SdkSession(destination.workspace, table, destination.encoder, options).open,
            options,
            PoolHooks(stop=self._controls.stop, deadline=self._deadline, tick=self._tick, on_refused=self._on_refused),
            open_rate=open_rate_of(destination.workspace.endpoint, table),
        )
        if source.total_rows is not None:
            self._pool.expect(source.total_rows - self._keeper.past.skip.rows)
        self._account = Account(self._pool.ledger, self._keeper.past, form=source.form, total_rows=source.total_rows)
        self._shaped_before = Shaping()
        self._place: Callable[[int], str] | None = None
        self._source_shaping: Callable[[], Shaping] = Shaping
        self._checkpointing = Checkpointing(self._account, self._keeper)
        self._reports = Reports(destination, self._controls, self._pool, self.snapshot)
        self._telemetry = DeliveryTelemetry(
            table,
            destination.encoder.record_format,
            self.snapshot,
            self._pool.statistics,
            started=self._controls.started,
        )
        self._pool.statistics.ack_latencies.on_add = self._telemetry.on_ack

    @property
    def skip(self) -> RowRanges:
        """The durable rows that the source must leave out."""
        return self._account.left_out

    def follow(self, source: Source) -> None:
        """Prepare to send the rows of ``source``.

        From now on, errors say where a row is in ``source``, and ``shaping`` includes what the options change in the
        rows of ``source``.
        """
        self._place = source.place
        self._shaped_before += self._source_shaping()
        self._source_shaping = lambda: source.shaping

    def shaping(self) -> Shaping:
        """Return what the options have changed in the rows of all sources so far, such as dropped columns."""
        return self._shaped_before + self._source_shaping()

    def snapshot(self) -> DeliverySnapshot:
        """Return a snapshot of the delivery's counts."""
        self._account.set_dead_lettered(self._bad.rows_written)
        self._account.set_filtered(self.shaping().rows_filtered)
        return self._account.snapshot()

    def progress(self) -> Progress:
        """Return the progress of the delivery."""
        return self._reports.progress()

    @contextmanager
    def running(self) -> Generator[None]:
        """Run the delivery in the ``with`` block; after an exception, close the streams and save the checkpoint."""
        with self._telemetry, self._finishing():
            self._checkpointing.take_over()
            yield

    @contextmanager
    def _finishing(self) -> Generator[None]:
        try:
            yield
        except ZerobusIngestError as error:
            if isinstance(error, SchemaError | RecordError | RejectedRecordError):
                TableSchema.forget(self._destination.workspace, self._destination.schema.table)
            try:
                self._pool.abandon(grace=FAILURE_GRACE)
            finally:  # a second signal can end the wait
                self._save_final_state(has_changed=isinstance(error, SourceChangedError))
            table, counts = self._destination.schema.table, self.snapshot().counts
            following = next_attempt(counts, self._keeper) if error.retryable else ""
            raise error.with_facts(table=table, counts=counts, next_attempt=following) from error.__cause__
        except BaseException as error:
            # Raised by the user's source or by a signal handler. For a signal, keep the ACKs so far and leave at once.
            is_stop = not isinstance(error, Exception) or is_of_signal(error)
            try:
                self._pool.abandon(grace=0.0 if is_stop else FAILURE_GRACE)
                self._save_final_state()
            finally:
                counts = self.snapshot().counts
                error.add_note(note_for(self._destination.schema.table, counts, next_attempt(counts, self._keeper)))
            raise

    def send_all(self, chunks: Iterable[Chunk], *, are_in_memory: bool = False) -> None:
        """Send all ``chunks``. Set ``are_in_memory`` if they are in memory: reading them then needs no deadline."""
        if are_in_memory:
            for chunk in chunks:
                self.send(chunk)
            return
        with closing(in_time(chunks, self._deadline, stop=self._controls.stop)) as coming:
            for chunk in coming:
                self.send(chunk)
        self.poll()  # a source that suppressed the stop may have ended as if there were no more rows

    def send(self, chunk: Chunk) -> None:
        """Encode a chunk and send its rows, except those that are skipped; raise an error if the delivery fails.

        Blocks while too many bytes are unacknowledged.
        """
        if not len(chunk.rows):
            self._pool.poll()
        for part, is_skipped in self._account.parts(chunk):
            start = 0
            while start < len(part.rows):
                self._pool.poll()  # send() polls too, but is never reached if every row of the block is bad
                block = part.part(start, self._destination.encoder.block_rows)
                if is_skipped:
                    self._pass_over(block)
                else:
                    self._send_block(block)
                start += len(block.rows)

    def _pass_over(self, block: Chunk) -> None:
        """Skip durable rows, and check that they are the rows that were delivered."""
        bad: list[BadRow] = []
        for _ in self._destination.encoder.encode(block, on_bad_row=bad.append, on_content=self._account.on_content):
            pass
        self._account.check_skipped(block.stop_row)

    def _send_block(self, block: Chunk) -> None:
        for batch in self._encoded(block):
            self._checkpointing.reserve(batch, poll=self._pool.poll)
            self._pool.send(batch)
        self._check_bad_rows()

    def _encoded(self, chunk: Chunk) -> Iterator[Batch]:
        on_bad_row = self._on_unfit if self._bad.are_allowed else None
        try:
            yield from self._destination.encoder.encode(
                chunk, on_bad_row=on_bad_row, on_content=self._account.on_content
            )
        except RecordError as bad:
            error = self._placed(bad)
            # The rows before the bad row are good; they are acknowledged or refused before the delivery fails.
            self._pool.flush()
            if self._bad.has_refused:
                refusal = self._bad.refusal_error()
                raise RecordError(f"{error.message}; and {refusal.message}", fields=error.fields) from refusal
            if error is bad:
                raise
            raise error from bad.__cause__

    def _placed(self, error: RecordError) -> RecordError:
        """Return an error whose text is that of ``error`` with the place of each bad row added, such as "line 3".

        If the source knows none of the places, ``error`` is returned unchanged.
        """
        places = {field.row: self._place(field.row) for field in error.fields} if self._place else {}
        if not any(places.values()):
            return error
        named = error.message
        fields = tuple(replace(field, place=places[field.row]) for field in error.fields)
        for before, after in zip(error.fields, fields, strict=True):
            named = named.replace(str(before), str(after))
        return RecordError(named, fields=fields, table=error.table)

    def poll(self) -> None:
        """Check stop requests, deadlines and streams without waiting.

        This can also send batches that were waiting for a stream.
        """
        self._pool.poll()

    def flush(self) -> None:
        """Block until every row sent so far is acknowledged or refused; raise an error if the delivery fails."""
        self._pool.flush()
        self._check_bad_rows()

    def finish(self) -> Receipt:
        """Wait for every acknowledgement, close the streams, and return the receipt.

        Raises an error if a row is not accounted for.
        """
        self._account.check_end()
        self.flush()
        self._bad.check(self.snapshot().counts.rows_read, is_end=True)
        self._bad.flush()
        if left := self.snapshot().counts.rows_not_durable:
            # The ledger's rules exclude this, but it is checked here too.
            raise TransportError(f"{left} rows are neither durable nor accounted for")
        self._checkpointing.save_last()  # the last look at what another attempt may have sent
        receipt = self._reports.receipt(self._keeper, self.shaping())
        self._reports.report()
        self._pool.close()
        for text in receipt.notes:
            _log.warning("%s: %s", receipt.table, text)
        return receipt

    def _on_unfit(self, bad: BadRow) -> None:
        self._bad.add_unfit(bad)
        self._account.add_unfit()

    def _on_refused(self, batch: Batch, error: ZerobusIngestError) -> None:
        self._bad.add_refused(batch, error)
        # Finding a refused row costs streams, and few can be opened per minute, so the search ends at a limit.
        if self._bad.are_too_many_refused:
            raise self._bad.refusal_error()
        self._bad.check(self.snapshot().counts.rows_read)

    def _check_bad_rows(self) -> None:
        self._bad.check(self.snapshot().counts.rows_read)
        if self._bad.has_refused:
            self._pool.flush()  # the other rows that were read are good
            raise self._bad.refusal_error()

    def _tick(self) -> bool:
        now = time.monotonic()
        if self._reports.is_due(now):
            self._telemetry.observe()
            self._reports.report()
        return self._checkpointing.tick(now)

    def _save_final_state(self, *, has_changed: bool = False) -> None:
        self.snapshot()
        if not self._checkpointing.save_last(has_source_changed=has_changed):
            return  # the newer attempt finds the same bad rows, and its letters could be lost
        try:
            self._bad.flush()
        except Exception as error:  # of any storage; the error that ended the delivery is the one to report
            if is_of_signal(error):
                raise
            _log.warning("dead letters were not written; the next attempt finds the same bad rows: %s", error)
