"""Decides which open stream gets the next batch, and when the batch has to wait.

Three limits can hold a batch back:

1. The bytes in flight on all streams together are limited. This limit starts low and grows once it has held a batch
   back.
2. The bytes in flight on one stream are limited to a share of limit 1, so that a stalled stream cannot use up all of
   limit 1.
3. Once the service has refused a batch, the rows in flight are limited; see ``refusal_window``.

Limit 2 does not apply to a stream with nothing in flight, and limit 1 does not apply while nothing is in flight at all.
Otherwise a batch larger than a limit would wait forever.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .flight_window import FlightWindow
from .refusal_window import RefusalWindow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..batch import Batch
    from .lane import LiveStream
    from .ledger import Entry, Ledger

__all__ = ["Feeder"]

# Bytes of memory that a record takes besides its payload: an object, and entries in lists here and in the SDK.
_RECORD_OVERHEAD = 64


class Feeder:
    """Decides which stream gets the next batch; see the module's docstring. Not thread-safe; never blocks."""

    def __init__(self, ledger: Ledger, *, max_unacked_bytes: int, shares: int) -> None:
        """Build a feeder; ``shares`` is the number of lanes among which ``max_unacked_bytes`` is divided."""
        self._ledger = ledger
        self._expected_rows: int | None = None  # until the bytes of the first rows are known
        self._flight = FlightWindow(most=max_unacked_bytes, streams=shares)
        self._shares = shares
        self._window = RefusalWindow()

    def expect(self, rows: int) -> None:
        """Record that about ``rows`` rows will be sent."""
        self._expected_rows = rows

    def feed(self, streams: Sequence[LiveStream], now: float) -> None:
        """Send waiting batches on ``streams`` until no batch waits or a limit holds a batch back.

        All of ``streams`` must be open.
        """
        while (entry := self._ledger.waiting) is not None:
            if self._expected_rows is not None and streams:
                first, rows = entry.batch, self._expected_rows
                self._flight.on_size_known(_load_of(first) * rows // first.rows)
                self._expected_rows = None
            live = self._roomiest(streams, entry)
            if live is None:
                if streams:
                    self._flight.on_held_back()
                return
            if not self._window.take(entry.batch.rows, is_settled=not self._ledger.has_in_flight):
                return
            if not live.handed_at:
                live.progress_at = now
            offset, batch = self._ledger.hand(live.stream.number)
            live.handed_at.append(now)
            live.stream.send(offset, batch)

    def on_acked(self, batches: Iterable[Batch]) -> None:
        """Record that ``batches`` were acknowledged."""
        self._flight.on_acked(sum(map(_load_of, batches)))

    def on_lost(self) -> None:
        """Record that a stream died with batches in flight."""
        self._flight.on_lost()
        self._window.on_lost()

    def narrow_down(self, suspects: Sequence[Entry]) -> Batch | None:
        """Continue the search for a refused row; return the row as a batch if it is found now, otherwise None.

        The service refused one of ``suspects``, but does not say which one. The first suspect is sent again while
        nothing else is in flight; a suspect with several rows is sent in parts. A row counts as refused only if it was
        the only suspect.
        """
        first = suspects[0].batch
        if first.rows > 1:
            self._ledger.split(first.parts())
            self._window.restart(first_group=first.rows)
            return None
        refused = self._ledger.refuse() if len(suspects) == 1 else None
        self._window.restart()
        return refused

    def _roomiest(self, streams: Iterable[LiveStream], entry: Entry) -> LiveStream | None:
        """Of the streams that have room for the entry, return the one with the fewest bytes in flight.

        Returns None if no stream has room.
        """
        able = [live for live in streams if self._has_room(live, entry)]
        return min(able, key=lambda live: self._ledger.in_flight_on(live.stream.number), default=None)

    def _has_room(self, live: LiveStream, entry: Entry) -> bool:
        in_flight = _load(self._ledger.total_bytes_in_flight, self._ledger.rows_in_flight, like=entry.batch)
        if self._ledger.oldest(live.stream.number) is None:
            # With nothing in flight, any batch can go; otherwise a batch larger than the limit would wait forever.
            return in_flight == 0 or self._fits(in_flight, entry, share=1)
        on_stream = _load(*self._ledger.in_flight_on(live.stream.number), like=entry.batch)
        return self._fits(on_stream, entry, share=self._shares) and self._fits(in_flight, entry, share=1)

    def _fits(self, load: int, entry: Entry, *, share: int) -> bool:
        return load + _load_of(entry.batch) <= self._flight.limit // share


def _load_of(batch: Batch) -> int:
    return _load(batch.nbytes, batch.rows, like=batch)


def _load(nbytes: int, rows: int, *, like: Batch) -> int:
    """Return the bytes that count towards ``max_unacked_bytes``: those of the payload, and 64 more for each record.

    Rows of Arrow batches are not records, so nothing is added for them. ``like`` is any batch of the delivery: it shows
    whether the delivery sends records or Arrow batches.
    """
    return nbytes + rows * _RECORD_OVERHEAD if isinstance(like.payload, list) else nbytes
