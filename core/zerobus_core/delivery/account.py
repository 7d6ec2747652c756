"""The account of a delivery: what has happened to each row, and which rows may be in the table twice.

These rules hold between any two calls:

1. Rows read = acknowledged + durable from an earlier attempt + in the dead-letter file + filtered by the user's
   ``transform`` + refused but not yet in the dead-letter file + not yet sent + in flight.
2. A row may be in the table twice if it was sent again although an earlier send, in this or an earlier attempt, may
   have reached the service. ``rows_resent`` counts every such resend, but never the first send of a row.
3. If the delivery has a checkpoint and the attempt is killed now, the checkpoint covers every row that the attempt may
   have sent. Therefore a row is sent only after it is reserved: the checkpoint in the store says that the row may have
   been sent. A row is sent again only after ``rows_resent`` in that checkpoint includes this resend.
4. A row is skipped only if the source's fingerprint, or a digest that is compared when the row is read, shows that the
   row is the same as the delivered one.

Pure bookkeeping on top of ``streams.Ledger``: it never sleeps, locks or logs, and uses no clock, store or socket.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..checkpoint import Resumption, RowDigests, RowsDigest, RowsKept
from ..errors import ConfigurationError, Counts, SourceChangedError
from ..ranges import END, RowRanges
from ..wording import plural

if TYPE_CHECKING:
    from ..batch import Chunk, ContentHook
    from ..checkpoint import DigestForm, Segment
    from ..streams import Ledger

__all__ = ["Account", "DeliverySnapshot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySnapshot:
    """The state of a delivery at one moment. Receipt, progress, metrics and errors are all made from it."""

    counts: Counts
    rows_refused: int
    """The number of rows that do not fit the table or that the service refused, except those that are already in the
    dead-letter file."""
    rows_waiting: int
    """The number of rows that wait for a stream."""
    rows_in_flight: int
    """The number of rows that were sent but not acknowledged."""
    unacked_bytes: int
    """The payload bytes of the rows that wait for a stream or are in flight."""
    bytes_sent: int
    """The payload bytes that were sent, including those that were sent again."""
    batches_acked: int
    total_rows: int | None
    """The number of rows in the source, if it is known without reading them."""


class Account:
    """The account of one delivery; see the module's docstring.

    ``form`` says how digests of rows are computed; None if no digest is needed.
    """

    def __init__(
        self,
        ledger: Ledger,
        past: Resumption | None = None,
        *,
        form: DigestForm | None = None,
        total_rows: int | None = None,
    ) -> None:
        self.past = past or Resumption()
        self.total_rows = total_rows
        self._ledger = ledger
        self._reached_before = self.past.reached
        self._resent_before = self.past.counts.rows_resent
        ledger.sent_before = RowRanges(self.past.skip.without(0, self.past.reached))
        self._form = form
        self._digests = RowDigests()
        self._unshown = list(reversed(self.past.digest.segments)) if self.past.digest else []
        self._shown = RowRanges()
        self._next_row = 0  # the first row that the source has neither yielded nor left out
        self._announced = 0  # the checkpoint says that rows before this position may have been sent
        self._reserved = 0  # the announced position, once it is confirmed
        self._rows_unfit = 0
        self._rows_dead_lettered = 0
        self._rows_filtered = 0

    # What the source yields

    @property
    def left_out(self) -> RowRanges:
        """The rows that the source must leave out.

        If no digest is needed, ``left_out`` contains all durable rows. If a digest is needed to check that the durable
        rows have not changed, the source must yield these rows, and ``left_out`` is empty.
        """
        return RowRanges() if self.past.digest else self.past.skip

    @property
    def on_content(self) -> ContentHook | None:
        """The function to call with the content of all rows, in order; None if no digest is needed."""
        return self._digests.add if self._form else None

    def parts(self, chunk: Chunk) -> Iterator[tuple[Chunk, bool]]:
        """Split the next chunk, and yield each part with a bool: True if the part is to be skipped.

        The rows must come in order, each of them once, and must not include rows of ``left_out``. Otherwise
        ConfigurationError is raised.
        """
        self._read(chunk.first_row, chunk.stop_row)
        row = chunk.first_row
        while row < chunk.stop_row:
            stop, is_skipped = self._end_of_part(row, chunk.stop_row)
            is_whole = stop - row == len(chunk.rows)
            yield chunk if is_whole else chunk.part(row - chunk.first_row, stop - row), is_skipped
            row = stop

    def _read(self, first: int, stop: int) -> None:
        if first == stop:
            return
        wanted = list(self.left_out.without(self._next_row, stop))
        if wanted != [(first, stop)]:
            start = wanted[0][0] if wanted else stop
            raise ConfigurationError(
                f"the source yielded rows {first} to {stop - 1} instead of row {start}: a source must yield its "
                "rows in order, each of them once, and leave out only the rows that it was asked to skip"
            )
        self._next_row = stop

    def _end_of_part(self, row: int, stop: int) -> tuple[int, bool]:
        if not self._unshown:
            return stop, False
        following = self._unshown[-1]
        if row < following.start:
            return min(stop, following.start), False
        return min(stop, following.stop), True

    def check_skipped(self, stop_row: int) -> None:
        """Raise SourceChangedError if the rows skipped up to ``stop_row`` are not the rows that were delivered."""
        if not self._unshown or stop_row < self._unshown[-1].stop:
            return
        segment = self._unshown.pop()
        if self._digests.segment(segment.start, segment.stop) != segment:
            raise _source_changed_error(segment)
        self._shown.add(segment.start, segment.stop)

    def check_end(self) -> None:
        """Raise an error if the source ended too early.

        The error is SourceChangedError if the source no longer has rows that were delivered. It is ConfigurationError
        if the source had more rows when the delivery began.
        """
        if self._unshown:
            raise _source_changed_error(self._unshown[-1])
        missing = next(self.left_out.without(self._next_row, self.total_rows or 0), None)
        if missing is not None:
            raise ConfigurationError(
                f"the source had {self.total_rows} {plural(self.total_rows or 0, 'row')} when the delivery began, but "
                f"it ended before row {missing[0]}: it was changed while it was read"
            )

    # Rows that the table does not take

    def add_unfit(self) -> None:
        """Count a row that does not fit the table and is never given to a stream."""
        self._rows_unfit += 1

    def set_dead_lettered(self, rows: int) -> None:
        """Set the number of rows that are in the dead-letter file now."""
        self._rows_dead_lettered = rows

    def set_filtered(self, rows: int) -> None:
        """Set the number of rows that the user's ``transform`` has left out. These rows have no positions."""
        self._rows_filtered = rows

    # What may have been sent

    def is_reserved(self, stop_row: int) -> bool:
        """Return whether sending the rows before ``stop_row`` is allowed."""
        return stop_row <= self._reserved

    def announce(self, stop_row: int) -> None:
        """Announce the rows before ``stop_row``: the next checkpoint will say that these rows may have been sent.

        Sending these rows is not allowed until ``confirm`` is called.
        """
        self._announced = max(self._announced, stop_row)

    def is_announced(self, stop_row: int) -> bool:
        """Return whether the rows before ``stop_row`` are announced; see ``announce``."""
        return stop_row <= self._announced

    @property
    def is_unconfirmed(self) -> bool:
        """Whether some announced rows cannot be sent until the next ``confirm``."""
        return self._announced > self._reserved

    def confirm(self) -> None:
        """Allow the announced rows to be sent. Call this once a stored checkpoint counts them as possibly sent."""
        self._reserved = self._announced

    def reserve(self, stop_row: int = END) -> None:
        """Allow sending the rows before ``stop_row`` without waiting for a save.

        The next checkpoint, if there is one, says that these rows may have been sent.
        """
        self.announce(stop_row)
        self.confirm()

    def withdraw_reservation(self) -> None:
        """Forbid sending any row until ``confirm`` or ``reserve`` is called."""
        self._reserved = 0

    @property
    def is_sending(self) -> bool:
        """Whether there are rows that wait to be sent on a stream."""
        return self._ledger.rows_waiting > 0

    def admit(self, reached: int, rows_resent: int = 0) -> None:
        """Record which rows an older attempt may have sent, according to its checkpoint.

        The older attempt may have sent any row before position ``reached``, and may have sent up to ``rows_resent``
        rows again.
        """
        self._resent_before = max(self._resent_before, rows_resent)
        if reached > self._reached_before:
            self._ledger.admit(RowRanges(self.past.skip.without(self._reached_before, reached)))
            self._reached_before = reached

    @property
    def rows_resent(self) -> int:
        """The number of rows that were sent again after they may have reached the service, in all attempts together."""
        return self._resent_before + self._ledger.rows_resent

    @property
    def rows_resent_ahead(self) -> int:
        """The highest value that ``rows_resent`` can reach before the next save.

        The checkpoint holds this value, because an attempt that is killed cannot correct a value that is too low.
        """
        ledger = self._ledger
        may_follow = ledger.sent_before.rows_within(ledger.added_until, self._announced) if self._announced < END else 0
        return self.rows_resent + ledger.rows_to_resend + may_follow

    def kept(self, *, is_end: bool = False) -> RowsKept:
        """Return the fields that describe rows in the next checkpoint; set ``is_end`` if no more rows will be sent."""
        durable, digest = self._durable()
        counts = self.counts if is_end else replace(self.counts, rows_resent=self.rows_resent_ahead)
        reached = self._ledger.reached_row if is_end or self._announced == END else self._announced
        return RowsKept(durable=durable, digest=digest, reached=max(reached, self._reached_before), counts=counts)

    def kept_without_durable(self) -> RowsKept:
        """Return the same as ``kept(is_end=True)``, but with no durable rows; needed if the source has changed."""
        kept = self.kept(is_end=True)
        digest = replace(kept.digest, segments=()) if kept.digest else None
        return replace(kept, durable=RowRanges(), digest=digest)

    def _durable(self) -> tuple[RowRanges, RowsDigest | None]:
        durable = (self._shown if self.past.digest else self.past.skip).copy()
        for start, stop in self._ledger.durable:
            durable.add(start, stop)
        if self._form is None:
            return durable, None
        self._digests.prune(durable)
        digested = [segment for span in durable if (segment := self._digests.segment(*span))]
        segments = tuple(sorted([*digested, *self._unshown]))
        return RowRanges(segment[:2] for segment in segments), RowsDigest(form=self._form, segments=segments)

    # Where all rows are

    @property
    def counts(self) -> Counts:
        """The row counts that are included in every report."""
        return Counts(
            rows_read=self._ledger.rows_added + self.past.skip.rows + self._rows_unfit + self._rows_filtered,
            rows_acked=self._ledger.rows_acked,
            rows_skipped=self.past.skip.rows,
            rows_dead_lettered=self._rows_dead_lettered,
            rows_resent=self.rows_resent,
            rows_filtered=self._rows_filtered,
        )

    def snapshot(self) -> DeliverySnapshot:
        """Return a snapshot of the delivery."""
        ledger = self._ledger
        return DeliverySnapshot(
            counts=self.counts,
            rows_refused=self._rows_unfit + ledger.rows_refused - self._rows_dead_lettered,
            rows_waiting=ledger.rows_waiting,
            rows_in_flight=ledger.rows_in_flight,
            unacked_bytes=ledger.unacked_bytes,
            bytes_sent=ledger.bytes_sent,
            batches_acked=ledger.batches_acked,
            total_rows=self.total_rows,
        )


def _source_changed_error(rows: Segment) -> SourceChangedError:
    return SourceChangedError(
        f"rows {rows.start} to {rows.stop - 1} are durable from an earlier attempt, but the source has other rows "
        "there now. The checkpoint no longer counts any row as durable: the next attempt sends every row that the "
        "source has then, and rows_resent says how many of them may be in the table twice"
    )
