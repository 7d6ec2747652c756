"""One delivery from its first row to its receipt: encoder, pool, checkpoint and progress held together.

The gate is ``finish``: it returns a receipt only if every row that was read is acknowledged, was durable from an
earlier try, or is in the dead-letter file.  Nothing but the account of bad rows can fail it after the last
acknowledgement.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..bad_rows import BadRowPolicy
from ..checkpoint import CheckpointKeeper
from ..dedup import delivery_id
from ..encode import encoder_for
from ..errors import (
    ConfigurationError,
    Counts,
    RecordError,
    RejectedRecordError,
    SchemaError,
    TransportError,
    ZerobusIngestError,
)
from ..process.guard import in_time
from ..process.signals import is_of_signal
from ..receipt import Progress, Receipt, notes_on
from ..schema import TableSchema
from ..streams import FAILURE_GRACE, PoolHooks, SdkSession, StreamPool, open_rate_of
from ..workspace import ClientCredentials
from .telemetry import DeliveryTelemetry, Figures

if TYPE_CHECKING:
    from ..batch import Batch, Chunk, Encoder
    from ..options import IngestOptions
    from ..ranges import RowRanges
    from ..workspace import Workspace

__all__ = ["Delivery", "Target", "Watch", "fetch_schema"]

_log = logging.getLogger("zerobus_core")

_PROGRESS_EVERY = 0.5
# Seconds for Unity Catalog to describe the table.
_FETCH_TIMEOUT = 30.0
# Seconds for which a process that delivers often goes by the same answer.
_SCHEMA_AGE = 10.0


def fetch_schema(
    workspace: Workspace, table: str, options: IngestOptions, *, stop: threading.Event, anew: bool = False
) -> TableSchema:
    """The table's schema, within the delivery's own time; raises IngestInterruptedError when ``stop`` is set.

    ``anew`` takes no answer that the process has: whether a checkpoint is of this very table is read from it.
    """
    longest = _FETCH_TIMEOUT if options.timeout is None else min(_FETCH_TIMEOUT, options.timeout)
    oldest = 0.0 if anew else _SCHEMA_AGE
    return TableSchema.fetch(workspace, table, timeout=longest, max_age=oldest, stop=stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the rows go, and in what form."""

    workspace: Workspace
    schema: TableSchema
    encoder: Encoder

    @classmethod
    def of(
        cls, workspace: Workspace, schema: TableSchema, options: IngestOptions, *, is_arrow: bool, version: str | None
    ) -> Target:
        """Rows or Arrow data to a table; ``version`` is of the source, for ``delivery_columns``."""
        name = options.delivery_name
        identity = delivery_id(schema.table, version, name) if options.delivery_columns else None
        encoder = encoder_for(
            schema,
            options,
            is_arrow=is_arrow,
            delivery_id=identity,
            arrow_streams=isinstance(workspace.credentials, ClientCredentials),
        )
        return cls(workspace=workspace, schema=schema, encoder=encoder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How the owner of a delivery follows and stops it."""

    stop: threading.Event = field(default_factory=threading.Event)
    on_progress: Callable[[Progress], None] | None = None
    started: float = field(default_factory=time.monotonic)
    """A reading of ``time.monotonic``, from which ``IngestOptions.timeout`` counts."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """The same moment by the clock on the wall."""

    def deadline(self, options: IngestOptions) -> float:
        """When the delivery must have ended, as a reading of ``time.monotonic``; infinite without a timeout."""
        return float("inf") if options.timeout is None else self.started + options.timeout


class Delivery:
    """See the module's docstring.  All methods are called from one thread."""

    def __init__(
        self,
        target: Target,
        options: IngestOptions,
        *,
        keeper: CheckpointKeeper | None = None,
        watch: Watch | None = None,
        total_rows: int | None = None,
        locate: Callable[[int], str] | None = None,
    ) -> None:
        """``locate`` says where a row stands in its source, for dead letters."""
        self._target = target
        self._watch = watch or Watch()
        self._keeper = keeper or CheckpointKeeper(None, target.schema, source_fingerprint=None)
        self._bad = BadRowPolicy(
            target.schema,
            target.encoder,
            options,
            source_fingerprint=self._keeper.source_fingerprint,
            locate=locate,
        )
        self._deadline = self._watch.deadline(options)
        self._total_rows = total_rows
        self._next_row = 0  # the first row that the source has not given, nor left out
        self._rows_repeated = 0
        self._resent_kept = 0  # what the store knows of rows that may be sent twice
        self._progress_at = self._watch.started
        table = target.schema.table
        self._pool = StreamPool(
            SdkSession(target.workspace, table, target.encoder, options).open,
            options,
            PoolHooks(
                stop=self._watch.stop,
                deadline=self._deadline,
                tick=self._tick,
                on_refused=self._refused,
            ),
            open_rate=open_rate_of(target.workspace.endpoint, table),
        )
        self._telemetry = DeliveryTelemetry(
            table, target.encoder.record_format, self._figures, started=self._watch.started
        )
        self._pool.statistics.ack_latencies.on_add = self._telemetry.on_ack

    @property
    def skip(self) -> RowRanges:
        """The rows that are durable from an earlier try."""
        return self._keeper.skip

    @property
    def counts(self) -> Counts:
        """Where the rows stand."""
        ledger = self._pool.ledger
        return Counts(
            rows_read=ledger.rows_added + self.skip.rows + self._bad.unfit,
            rows_acked=ledger.rows_acked,
            rows_skipped=self.skip.rows,
            rows_dead_lettered=self._bad.dead_lettered,
            rows_resent=self._rows_resent,
        )

    @property
    def _rows_resent(self) -> int:
        return self._keeper.resent_before + self._rows_repeated + self._pool.ledger.rows_resent

    @contextmanager
    def gate(self) -> Generator[None]:
        """Whatever ends the block early leaves no stream behind, and a checkpoint that tells the truth."""
        with self._telemetry, self._settled():
            yield

    @contextmanager
    def _settled(self) -> Generator[None]:
        try:
            yield
        except ZerobusIngestError as error:
            if isinstance(error, SchemaError | RecordError | RejectedRecordError):
                TableSchema.forget(self._target.workspace, self._target.schema.table)
            try:
                self._pool.abandon(grace=FAILURE_GRACE)
            finally:  # a second signal may end the wait
                self._keep_what_is_known()
            raise error.with_facts(table=self._target.schema.table, counts=self.counts) from error.__cause__
        except BaseException as error:
            # One of the user's source, or a signal's: that takes what is here and gets out of the way.
            is_stop = not isinstance(error, Exception) or is_of_signal(error)
            self._pool.abandon(grace=0.0 if is_stop else FAILURE_GRACE)
            self._keep_what_is_known()
            raise

    def send_all(self, chunks: Iterable[Chunk], *, are_in_memory: bool = False) -> None:
        """Send what a source yields, to its end; to take chunks that are in memory needs no deadline."""
        if are_in_memory:
            for chunk in chunks:
                self.send(chunk)
            return
        with closing(in_time(chunks, self._deadline, stop=self._watch.stop)) as coming:
            for chunk in coming:
                self.send(chunk)
        self.poll()  # a source that suppressed the stop may have ended as if there were no more rows

    def send(self, chunk: Chunk) -> None:
        """Encode a chunk and hand it to the streams; blocks under back-pressure and raises what ends the delivery."""
        self._check_position(chunk)
        if not len(chunk.rows):
            self._pool.poll()
        start = 0
        while start < len(chunk.rows):
            self._pool.poll()  # sending does so, too, but no row of a block may be good
            block = chunk.part(start, self._target.encoder.block_rows)
            for batch in self._encoded(block):
                self._send(batch)
            self._check_bad_rows()
            start += len(block.rows)

    def _check_position(self, chunk: Chunk) -> None:
        """The law rests on positions: each row comes once, in order, and only those of ``skip`` are left out."""
        first, stop = chunk.first_row, chunk.stop_row
        if first == stop:
            return
        wanted = list(self.skip.without(self._next_row, stop))
        if wanted != [(first, stop)]:
            start = wanted[0][0] if wanted else stop
            raise ConfigurationError(
                f"the source gave rows {first} to {stop - 1} where row {start} was to come: a source yields its rows "
                "in order, each of them once, and leaves out none but those that it was asked to skip"
            )
        self._next_row = stop

    def _check_end(self) -> None:
        missing = next(self.skip.without(self._next_row, self._total_rows or 0), None)
        if missing is not None:
            raise ConfigurationError(
                f"the source had {self._total_rows} rows when the delivery began, and ended before row {missing[0]}: "
                "it was changed while it was read"
            )

    def _encoded(self, chunk: Chunk) -> Iterator[Batch]:
        on_bad_row = self._bad.add_unfit if self._bad.are_allowed else None
        try:
            yield from self._target.encoder.encode(chunk, on_bad_row=on_bad_row)
        except RecordError as error:
            # What was read before the bad row is good; its account is settled before the delivery fails.
            self._pool.flush()
            if self._bad.has_refused:
                refusal = self._bad.refusal()
                raise RecordError(f"{error.message}; and {refusal.message}", fields=error.fields) from refusal
            raise

    def _send(self, batch: Batch) -> None:
        if batch.stop_row > self._keeper.reserved:
            self._keeper.reserve(batch.stop_row, self._pool.ledger.durable, self._counts_ahead())
        self._rows_repeated += max(0, min(batch.stop_row, self._keeper.repeat_until) - batch.first_row)
        self._pool.send(batch)

    def poll(self) -> None:
        """Look at stop requests, deadlines and streams without sending anything."""
        self._pool.poll()

    def flush(self) -> None:
        """Block until every row sent so far is acknowledged, or raise."""
        self._pool.flush()
        self._check_bad_rows()

    def finish(self) -> Receipt:
        """Wait for every acknowledgement, close the streams, and account for all rows."""
        self._check_end()
        self.flush()
        self._bad.check(self.counts.rows_read, is_end=True)
        self._bad.flush()
        receipt = self._receipt()
        self._save_checkpoint(is_end=True)
        self._report_progress()
        self._pool.close()
        for note in receipt.notes:
            _log.warning("%s: %s", receipt.table, note)
        return receipt

    def _refused(self, batch: Batch, error: ZerobusIngestError) -> None:
        self._bad.add_refused(batch, error)
        # Each refused row costs streams, and streams are opened so many a minute: not all of them are looked for.
        if self._bad.are_too_many_refused:
            raise self._bad.refusal()
        self._bad.check(self.counts.rows_read)

    def _check_bad_rows(self) -> None:
        self._bad.check(self.counts.rows_read)
        if self._bad.has_refused:
            self._pool.flush()  # what was read beside the refused rows is good
            raise self._bad.refusal()

    # What is told while it runs

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._progress_at >= _PROGRESS_EVERY:
            self._progress_at = now
            self._telemetry.observe()
            self._report_progress()
        if self._keeper.is_due(now) or self._rows_resent_ahead > self._resent_kept:
            self._save_checkpoint()

    def _figures(self) -> Figures:
        return Figures(
            counts=self.counts,
            bytes_sent=self._pool.ledger.bytes_sent,
            reconnects=self._pool.statistics.reconnects,
            open_streams=self._pool.statistics.open_now,
        )

    def _report_progress(self) -> None:
        if self._watch.on_progress is None:
            return
        try:
            self._watch.on_progress(self.progress())
        except Exception as error:  # the hook is the user's, and no row may be lost to it
            if is_of_signal(error):
                raise
            _log.exception("on_progress failed; the delivery goes on")

    def progress(self) -> Progress:
        """The delivery at this moment."""
        ledger, counts = self._pool.ledger, self.counts
        elapsed = time.monotonic() - self._watch.started
        return Progress(
            table=self._target.schema.table,
            rows_read=counts.rows_read,
            rows_acked=counts.rows_acked,
            rows_skipped=counts.rows_skipped,
            rows_dead_lettered=counts.rows_dead_lettered,
            total_rows=self._total_rows,
            unacked_rows=ledger.unacked_rows,
            unacked_bytes=ledger.unacked_bytes,
            streams=self._pool.statistics.open_now,
            rows_per_s=counts.rows_acked / elapsed if elapsed > 0 else 0.0,
            oldest_unacked_s=self._pool.oldest_unacked_s(),
            elapsed_s=elapsed,
            reconnects=self._pool.statistics.reconnects,
            last_error=self._pool.last_error(),
        )

    def _keep_what_is_known(self) -> None:
        self._save_checkpoint(is_end=True)
        try:
            self._bad.flush()
        except Exception as error:  # of any storage; what ended the delivery is what must be told
            if is_of_signal(error):
                raise
            _log.warning("Dead letters were not written, the next try finds the same rows: %s", error)

    def _save_checkpoint(self, *, is_end: bool = False) -> None:
        ledger, counts = self._pool.ledger, self.counts
        if is_end:
            self._keeper.save(ledger.durable, counts, reached=ledger.reached_row)
        else:
            ahead = self._counts_ahead()
            self._resent_kept = ahead.rows_resent
            self._keeper.save(ledger.durable, ahead)

    def _counts_ahead(self) -> Counts:
        """The counts as they can become before the next save: a try that is killed cannot correct them."""
        return replace(self.counts, rows_resent=self._rows_resent_ahead)

    @property
    def _rows_resent_ahead(self) -> int:
        may_follow = self._pool.ledger.rows_to_resend + self._keeper.in_doubt - self._rows_repeated
        return self._rows_resent + may_follow

    def _receipt(self) -> Receipt:
        ledger, statistics, counts = self._pool.ledger, self._pool.statistics, self.counts
        if counts.rows_not_durable:
            # Unreachable by the law of the ledger; the gate does not rest on that.
            raise TransportError(f"{counts.rows_not_durable} rows are neither durable nor accounted for")
        finished_at = datetime.now(UTC)
        duration = time.monotonic() - self._watch.started
        return Receipt(
            table=self._target.schema.table,
            rows_read=counts.rows_read,
            rows_acked=counts.rows_acked,
            rows_skipped=counts.rows_skipped,
            rows_dead_lettered=counts.rows_dead_lettered,
            rows_resent=counts.rows_resent,
            bytes_sent=ledger.bytes_sent,
            batches=ledger.batches_acked,
            streams=statistics.most_open,
            stream_ids=tuple(statistics.stream_ids),
            reconnects=statistics.reconnects,
            ack_latency_s=statistics.ack_latencies.summary(),
            duration_s=duration,
            rows_per_s=counts.rows_acked / duration if duration > 0 else 0.0,
            started_at=self._watch.started_at.isoformat(),
            finished_at=finished_at.isoformat(),
            schema_fingerprint=self._target.schema.fingerprint,
            source_fingerprint=self._keeper.source_fingerprint,
            resumed_from=self._keeper.resumed_from,
            record_format=self._target.encoder.record_format,
            record_format_reason=self._target.encoder.record_format_reason,
            notes=notes_on(counts),
        )
