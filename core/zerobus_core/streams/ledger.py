"""The ledger of one delivery: what was sent on which stream, what is acknowledged, and what must be sent again.

These rules hold between any two calls:

1. Every batch that was added has exactly one state: waiting, in flight on one open stream, durable, or refused.
2. On a stream, batches get the offsets 0, 1, 2, … in the order in which they were sent; an offset has no
   meaning on any other stream.
3. An acknowledgement on a stream contains an offset; the batches with this or a lower offset are then durable.
   The offset must have been sent on the stream, and must not be lower than an offset that was acknowledged earlier.
4. When a stream dies, its batches in flight return to the waiting queue, ahead of all other batches, and in the order
   in which they were sent on the stream. A durable batch is never sent again.
5. ``rows_resent`` counts how often this attempt sent a row that may already have reached the service. Such a row was
   sent earlier by this attempt, or is in ``sent_before``, which contains the rows that other attempts may have sent.
   This attempt adds at most ``rows_resent`` duplicates to the table.

The ledger only keeps records: it never sleeps, locks or logs, and uses no clock and no socket. An event that breaks a
rule changes nothing and raises a LedgerError, whose text describes the event and the state of the ledger.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..ranges import RowRanges

if TYPE_CHECKING:
    from ..batch import Batch

__all__ = ["Entry", "Ledger", "LedgerError"]


class LedgerError(RuntimeError):
    """An event broke a rule of the ledger."""


@dataclass(slots=True)
class Entry:
    """A batch in the ledger."""

    batch: Batch
    handed: int = 0
    """How many times the batch may have reached the service."""
    failures: int = 0
    """How many streams died while this was their first unacknowledged batch."""


@dataclass(slots=True)
class _OpenStream:
    in_flight: deque[Entry] = field(default_factory=deque)
    nbytes: int = 0
    rows: int = 0
    next_offset: int = 0
    """The offset that the next batch gets. The oldest batch in flight has offset ``next_offset - len(in_flight)``."""


class Ledger:
    """The ledger of one delivery; see the module's docstring. Not thread-safe: use it from one thread only."""

    def __init__(self, sent_before: RowRanges | None = None) -> None:
        self.sent_before = sent_before or RowRanges()
        """Rows that earlier attempts may have sent; set this before the first batch is added."""
        self.durable = RowRanges()
        self.rows_added = 0
        self.added_until = 0
        """The position after the last row that was added."""
        self.rows_acked = 0
        self.rows_refused = 0
        self.rows_resent = 0
        self.bytes_sent = 0
        self.batches_acked = 0
        self._waiting: deque[Entry] = deque()
        self._open: dict[int, _OpenStream] = {}
        self._rows_waiting = 0
        self._bytes_waiting = 0
        self._rows_in_flight = 0
        self._bytes_in_flight = 0
        self.rows_to_resend = 0
        """The number of waiting rows that may already have reached the service."""

    def __repr__(self) -> str:
        streams = ", ".join(
            f"{number}: {len(stream.in_flight)} in flight, next offset {stream.next_offset}"
            for number, stream in self._open.items()
        )
        return (
            f"<Ledger {self.rows_added} rows added, {self.rows_acked} acked, {self.rows_refused} refused, "
            f"{len(self._waiting)} batches waiting, streams {{{streams}}}>"
        )

    # Where the batches are

    @property
    def waiting(self) -> Entry | None:
        """The first waiting entry, which is the next to be sent; None if no entry waits."""
        return self._waiting[0] if self._waiting else None

    @property
    def is_settled(self) -> bool:
        """Whether every batch is durable or refused."""
        return not self._rows_waiting and not self._rows_in_flight

    @property
    def reached_row(self) -> int:
        """The position after the last row that may have reached the service; refused rows do not count."""
        stops = [stop for _, stop in self.durable]
        stops += [entry.batch.stop_row for stream in self._open.values() for entry in stream.in_flight]
        stops += [entry.batch.stop_row for entry in self._waiting if entry.handed]
        return max(stops, default=0)

    @property
    def unacked_rows(self) -> int:
        """The number of rows waiting or in flight."""
        return self._rows_waiting + self._rows_in_flight

    @property
    def unacked_bytes(self) -> int:
        """The number of payload bytes waiting or in flight."""
        return self._bytes_waiting + self._bytes_in_flight

    @property
    def total_bytes_in_flight(self) -> int:
        """The number of payload bytes in flight on all streams."""
        return self._bytes_in_flight

    @property
    def rows_in_flight(self) -> int:
        """The number of rows in flight on all streams."""
        return self._rows_in_flight

    @property
    def has_in_flight(self) -> bool:
        """Whether any stream has a batch in flight, even one whose payload has no bytes."""
        return self._rows_in_flight > 0

    @property
    def rows_waiting(self) -> int:
        """The number of rows that wait for a stream."""
        return self._rows_waiting

    def in_flight_on(self, stream: int) -> tuple[int, int]:
        """Return the number of payload bytes and the number of rows in flight on a stream."""
        source = self._stream(stream, "look")
        return source.nbytes, source.rows

    def oldest(self, stream: int) -> Entry | None:
        """Return the first unacknowledged entry of a stream, or None if all its batches are acknowledged.

        If the stream dies, this entry's batch is the most probable cause.
        """
        in_flight = self._stream(stream, "look").in_flight
        return in_flight[0] if in_flight else None

    # Events

    def add(self, batch: Batch) -> None:
        """Add a batch that was read from the source."""
        entry = Entry(batch)
        self._waiting.append(entry)
        self._count_waiting(entry, 1)
        self.rows_added += batch.rows
        self.added_until = batch.stop_row

    def open(self, stream: int) -> None:
        """Record that a stream opened; its offsets start at 0."""
        if stream in self._open:
            raise LedgerError(f"cannot open stream {stream}, which is already open: {self!r}")
        self._open[stream] = _OpenStream()

    def hand(self, stream: int) -> tuple[int, Batch]:
        """Assign the first waiting batch to a stream; return the batch's offset on that stream, and the batch."""
        target = self._stream(stream, "hand")
        if not self._waiting:
            raise LedgerError(f"cannot send on stream {stream}, because no batch is waiting: {self!r}")
        entry = self._drop_first_waiting()
        batch = entry.batch
        self.rows_resent += self._rows_repeated(entry)
        entry.handed += 1
        target.in_flight.append(entry)
        target.nbytes += batch.nbytes
        target.rows += batch.rows
        self._rows_in_flight += batch.rows
        self._bytes_in_flight += batch.nbytes
        self.bytes_sent += batch.nbytes
        target.next_offset += 1
        return target.next_offset - 1, batch

    def acked(self, stream: int, offset: int) -> list[Batch]:
        """Record that a stream acknowledged ``offset`` and all lower ones; return the batches that became durable."""
        source = self._stream(stream, f"acknowledgement of offset {offset}")
        first = source.next_offset - len(source.in_flight)
        if offset >= source.next_offset:
            raise LedgerError(f"stream {stream} acknowledged offset {offset}, which was never sent: {self!r}")
        if offset < first - 1:
            raise LedgerError(f"stream {stream} acknowledged offset {offset} after offset {first - 1}: {self!r}")
        batches = []
        for _ in range(offset - first + 1):
            batch = source.in_flight.popleft().batch
            self.durable.add(batch.first_row, batch.stop_row)
            source.nbytes -= batch.nbytes
            source.rows -= batch.rows
            self._rows_in_flight -= batch.rows
            self._bytes_in_flight -= batch.nbytes
            self.rows_acked += batch.rows
            self.batches_acked += 1
            batches.append(batch)
        return batches

    def died(self, stream: int, reached: int) -> list[Entry]:
        """Record that a stream died, and that its first ``reached`` batches may have reached the service.

        All batches that were in flight on the stream return to the waiting queue. Returns the entries of those that may
        have reached the service, in the order in which they were sent. One of them can be the reason why the stream
        died.
        """
        source = self._stream(stream, "death")
        first = source.next_offset - len(source.in_flight)
        if not first <= reached <= source.next_offset:
            raise LedgerError(f"stream {stream} cannot have died after {reached} batches: {self!r}")
        entries = list(source.in_flight)
        suspects = entries[: reached - first]
        for entry in entries[reached - first :]:
            self._never_left(entry)
        if suspects:
            suspects[0].failures += 1
        del self._open[stream]
        for entry in entries:
            self._rows_in_flight -= entry.batch.rows
            self._bytes_in_flight -= entry.batch.nbytes
        self._wait_in_front(entries)
        return suspects

    def admit(self, sent: RowRanges) -> None:
        """Record that another attempt may also have sent the rows in ``sent``.

        The rows are added to ``sent_before``. If this attempt has already sent a row, the first sending of the row now
        counts as a resend, unless the row was refused or was in ``sent_before`` already.
        """
        handed = [entry for stream in self._open.values() for entry in stream.in_flight]
        handed += [entry for entry in self._waiting if entry.handed]
        for start, stop in sent:
            for first, last in list(self.sent_before.without(start, stop)):
                self.rows_resent += self.durable.rows_within(first, last)
                self.rows_resent += sum(_overlap(entry.batch, first, last) for entry in handed)
                self.rows_to_resend += sum(
                    _overlap(entry.batch, first, last) for entry in self._waiting if not entry.handed
                )
                self.sent_before.add(first, last)

    def close_stream(self, stream: int) -> None:
        """Record that a stream was closed; raise LedgerError if the stream has batches in flight."""
        if self._stream(stream, "close").in_flight:
            raise LedgerError(f"cannot close stream {stream}, which has batches in flight: {self!r}")
        del self._open[stream]

    def split(self, parts: Sequence[Batch]) -> None:
        """Replace the first waiting batch with ``parts``, to find out which part the service refuses."""
        entry = self._first_waiting("split")
        batch = entry.batch
        bounds = [batch.first_row, *(part.stop_row for part in parts)]
        if [part.first_row for part in parts] != bounds[:-1] or bounds[-1] != batch.stop_row:
            raise LedgerError(f"the parts do not make up rows {batch.first_row} to {batch.stop_row - 1}: {self!r}")
        self._drop_first_waiting()
        self._wait_in_front([Entry(part, handed=entry.handed) for part in parts])

    def refuse(self) -> Batch:
        """Remove and return the first waiting batch; called when the service has definitely refused it."""
        batch = self._first_waiting("refuse").batch
        self._drop_first_waiting()
        self.rows_refused += batch.rows
        return batch

    def _never_left(self, entry: Entry) -> None:
        entry.handed -= 1
        self.bytes_sent -= entry.batch.nbytes
        self.rows_resent -= self._rows_repeated(entry)

    def _rows_repeated(self, entry: Entry) -> int:
        """Return how many rows of an entry may have reached the service; sending the entry now resends these rows."""
        if entry.handed:
            return entry.batch.rows
        return self.sent_before.rows_within(entry.batch.first_row, entry.batch.stop_row)

    def _wait_in_front(self, entries: Iterable[Entry]) -> None:
        for entry in reversed(list(entries)):
            self._waiting.appendleft(entry)
            self._count_waiting(entry, 1)

    def _count_waiting(self, entry: Entry, sign: int) -> None:
        self._rows_waiting += sign * entry.batch.rows
        self._bytes_waiting += sign * entry.batch.nbytes
        self.rows_to_resend += sign * self._rows_repeated(entry)

    def _first_waiting(self, event: str) -> Entry:
        if not self._waiting:
            raise LedgerError(f"cannot {event}, because no batch is waiting: {self!r}")
        return self._waiting[0]

    def _drop_first_waiting(self) -> Entry:
        entry = self._waiting.popleft()
        self._count_waiting(entry, -1)
        return entry

    def _stream(self, stream: int, event: str) -> _OpenStream:
        try:
            return self._open[stream]
        except KeyError:
            raise LedgerError(f"{event} on stream {stream}, which is not open: {self!r}") from None


def _overlap(batch: Batch, first: int, stop: int) -> int:
    return max(0, min(batch.stop_row, stop) - max(batch.first_row, first))
