"""Limits the bytes in flight: the limit is low at first, and grows quickly once it has held a batch back.

Rows that are in flight when a connection breaks may be in the table twice. The limit therefore allows no more bytes in
flight than the service needs to stay busy.

Once the limit has held a batch back, the limit grows with each acknowledgement, up to ``max_unacked_bytes``. A round
is the time until everything in flight is acknowledged. While the limit is below twice its lowest value, a round at most
doubles the limit, so that a broken connection in a small delivery can duplicate only a batch or two. Later, a round
multiplies the limit by up to sixteen: with doubling alone, seven rounds would pass until the limit is high enough, and
a round takes time, for example 0.26 s.

If a stream dies with batches in flight, the limit is halved, but not below its lowest value: 512 KiB for each stream,
or ``max_unacked_bytes`` if that is less. The limit then grows again only after it has held a batch back again.
"""

from __future__ import annotations

__all__ = ["FlightWindow"]

# The first limit for each stream, in bytes: one or two batches of small rows, so that an idle connection costs about
# one round.
_FIRST_BYTES = 512 * 1024
# If the size of the delivery is known, the first limit is half of it, if that is more. If the service takes about 0.1 s
# to acknowledge, it acknowledges the first batches while the first half is sent, so nothing waits. With one eighth,
# deliveries of 0.2 to 0.4 s took 15% to 25% longer than unlimited ones.
_FIRST_PART = 2
_GROWTH = 16


class FlightWindow:
    """Adjusts the limit on the bytes in flight, which are counted as for ``max_unacked_bytes``. Sends nothing."""

    def __init__(self, *, most: int, streams: int) -> None:
        self._first = min(most, _FIRST_BYTES * streams)
        self._most = most
        self._has_held_back = False
        self._is_at_start = True
        self.limit = self._first
        """The number of bytes that can be in flight on all streams together."""

    def __repr__(self) -> str:
        return f"<FlightWindow {self.limit} of {self._most} bytes>"

    def on_size_known(self, nbytes: int) -> None:
        """Record that the whole delivery has about ``nbytes`` bytes.

        This has no effect once a batch was acknowledged or a stream died with batches in flight.
        """
        if self._is_at_start:
            self.limit = max(self._first, min(self._most, nbytes // _FIRST_PART))

    def on_held_back(self) -> None:
        """Record that a batch has to wait until other batches are acknowledged."""
        self._has_held_back = True

    def on_acked(self, nbytes: int) -> None:
        """Record that ``nbytes`` bytes were acknowledged."""
        self._is_at_start = False
        if self._has_held_back:
            growth = 2 if self.limit < 2 * self._first else _GROWTH
            self.limit = min(self._most, self.limit + (growth - 1) * nbytes)

    def on_lost(self) -> None:
        """Record that a stream died with batches in flight."""
        self._is_at_start = False
        self.limit = max(self._first, self.limit // 2)
        self._has_held_back = False
