"""Where every row of a delivery is, and which rows may be in the table twice.

The law, which holds between any two calls:

1. Rows read = acknowledged + durable from an earlier attempt + in the dead-letter file + filtered by the user's
   ``transform`` + refused and not yet written to that file + not yet sent + in flight.
2. A row may be in the table twice from the second hand-over on that may have reached the service, in this attempt or
   after an earlier one.  Each of those is counted in ``rows_resent``, none of the first ones is.
3. A checkpoint never admits less than what an attempt that is killed now may have sent: no row is handed over that is
   not below the position reserved in the store, and a hand-over that repeats a row is in the store's ``rows_resent``
   before it happens.
4. No row is skipped that is not shown to be the one that was delivered: by the source's fingerprint, or by a digest
   that is compared when the row passes.

Pure bookkeeping, on top of the ledger's: it never sleeps, locks, logs, or looks at a clock, a store or a socket.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..checkpoint import Resumption, RowDigests, RowsDigest, RowsKept
from ..errors import ConfigurationError, Counts, SourceChangedError
from ..ranges import END, RowRanges

if TYPE_CHECKING:
    from ..batch import Chunk, ContentHook
    from ..checkpoint import DigestForm, Segment
    from ..streams import Ledger

__all__ = ["Account", "DeliverySnapshot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySnapshot:
    """A delivery at one moment; receipt, progress, metrics and errors are views of it."""

    counts: Counts
    rows_refused: int
    """Rows that fit neither the table nor the service, and are not in the dead-letter file (yet)."""
    rows_waiting: int
    """Rows that wait for a stream."""
    rows_in_flight: int
    """Rows handed to streams and not acknowledged."""
    unacked_bytes: int
    """Payload bytes of the rows that wait or are in flight."""
    bytes_sent: int
    """Payload bytes handed to streams, re-sent ones included."""
    batches_acked: int
    total_rows: int | None
    """Rows in the source, where it knows without reading them."""


class Account:
    """See the module's docstring.  ``form`` is how rows are digested; None if no digest is needed."""

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
        self._next_row = 0  # the first row that the source has not given, nor left out
        self._announced = 0  # what the store knows
        self._reserved = 0  # as far as that was found in the store again
        self._rows_unfit = 0
        self._rows_dead_lettered = 0
        self._rows_filtered = 0

    # What the source gives

    @property
    def left_out(self) -> RowRanges:
        """The rows that the source is asked to leave out; those that are compared must pass."""
        return RowRanges() if self.past.digest else self.past.skip

    @property
    def on_content(self) -> ContentHook | None:
        """Takes what the rows hold, all of them in order; None if nobody needs to know."""
        return self._digests.add if self._form else None

    def parts(self, chunk: Chunk) -> Iterator[tuple[Chunk, bool]]:
        """The rows of the next chunk, in parts that are skipped (True) or sent (False).

        Positions carry the law: each row comes once, in order, and only those of ``left_out`` are left out.
        ConfigurationError is raised for anything else.
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
                f"the source gave rows {first} to {stop - 1} where row {start} was to come: a source yields its rows "
                "in order, each of them once, and leaves out none but those that it was asked to skip"
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
        """Rows up to ``stop_row`` have passed; raise SourceChangedError if they are not those that were delivered."""
        if not self._unshown or stop_row < self._unshown[-1].stop:
            return
        segment = self._unshown.pop()
        if self._digests.segment(segment.start, segment.stop) != segment:
            raise _source_changed_error(segment)
        self._shown.add(segment.start, segment.stop)

    def check_end(self) -> None:
        """Raise SourceChangedError or ConfigurationError if the source ended before the last of its rows."""
        if self._unshown:
            raise _source_changed_error(self._unshown[-1])
        missing = next(self.left_out.without(self._next_row, self.total_rows or 0), None)
        if missing is not None:
            raise ConfigurationError(
                f"the source had {self.total_rows} rows when the delivery began, and ended before row {missing[0]}: "
                "it was changed while it was read"
            )

    # What becomes of rows that no table takes

    def add_unfit(self) -> None:
        """A row does not fit the table, and is never given to a stream."""
        self._rows_unfit += 1

    def set_dead_lettered(self, rows: int) -> None:
        """So many rows are in the dead-letter file now."""
        self._rows_dead_lettered = rows

    def set_filtered(self, rows: int) -> None:
        """The user's function left out so many rows by now; they have no positions."""
        self._rows_filtered = rows

    # What may have been sent

    def is_reserved(self, stop_row: int) -> bool:
        """Whether the rows before ``stop_row`` may be handed over."""
        return stop_row <= self._reserved

    def announce(self, stop_row: int) -> None:
        """The next checkpoint says that rows before ``stop_row`` may have been sent; they may not be yet."""
        self._announced = max(self._announced, stop_row)

    def is_announced(self, stop_row: int) -> bool:
        """Whether the checkpoint says that the rows before ``stop_row`` may have been sent."""
        return stop_row <= self._announced

    @property
    def is_unconfirmed(self) -> bool:
        """Whether rows are announced that may not be handed over yet."""
        return self._announced > self._reserved

    def confirm(self) -> None:
        """Report that the store holds what was announced: no newer attempt has replaced it."""
        self._reserved = self._announced

    def reserve(self, stop_row: int = END) -> None:
        """Rows before ``stop_row`` may be sent, and the next checkpoint says so, or nobody will ask."""
        self.announce(stop_row)
        self.confirm()

    def withdraw_reservation(self) -> None:
        """No row that was not handed over yet may be sent without another reservation."""
        self._reserved = 0

    @property
    def is_sending(self) -> bool:
        """Whether rows wait for a stream."""
        return self._ledger.rows_waiting > 0

    def admit(self, reached: int, rows_resent: int = 0) -> None:
        """An older attempt that still runs may have sent rows before ``reached``, and ``rows_resent`` of them again."""
        self._resent_before = max(self._resent_before, rows_resent)
        if reached > self._reached_before:
            self._ledger.admit(RowRanges(self.past.skip.without(self._reached_before, reached)))
            self._reached_before = reached

    @property
    def rows_resent(self) -> int:
        """Rows handed over again after they may have reached the service, over all attempts."""
        return self._resent_before + self._ledger.rows_resent

    @property
    def rows_resent_ahead(self) -> int:
        """What ``rows_resent`` can become before the next save: an attempt that is killed cannot correct it."""
        ledger = self._ledger
        may_follow = ledger.sent_before.rows_within(ledger.added_until, self._announced) if self._announced < END else 0
        return self.rows_resent + ledger.rows_to_resend + may_follow

    def kept(self, *, is_end: bool = False) -> RowsKept:
        """What the checkpoint says of the rows; ``is_end`` when nothing more will be sent."""
        durable, digest = self._durable()
        counts = self.counts if is_end else replace(self.counts, rows_resent=self.rows_resent_ahead)
        reached = self._ledger.reached_row if is_end or self._announced == END else self._announced
        return RowsKept(durable=durable, digest=digest, reached=max(reached, self._reached_before), counts=counts)

    def kept_without_durable(self) -> RowsKept:
        """The same after the source has changed: which rows are durable says nothing any more, but they were sent."""
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
        """The numbers of rows that every report begins with."""
        return Counts(
            rows_read=self._ledger.rows_added + self.past.skip.rows + self._rows_unfit + self._rows_filtered,
            rows_acked=self._ledger.rows_acked,
            rows_skipped=self.past.skip.rows,
            rows_dead_lettered=self._rows_dead_lettered,
            rows_resent=self.rows_resent,
            rows_filtered=self._rows_filtered,
        )

    def snapshot(self) -> DeliverySnapshot:
        """The delivery at this moment."""
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
        f"rows {rows.start} to {rows.stop - 1} are durable from an earlier attempt, and the source has other rows "
        "there now. The checkpoint counts no row as durable any more: the next attempt sends every row that the source "
        "has then, and rows_resent says how many of them may be in the table twice"
    )
