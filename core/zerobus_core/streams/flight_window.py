"""How many bytes may be in flight: few at first, many more whenever that was too few.

What is in flight when a connection breaks may be in the table twice, so no more is in flight than keeps the service
busy.  As long as the window holds batches back, it grows with what is acknowledged: it doubles with the first round of
acknowledgements, so that a break in a small delivery admits a batch or two, and becomes sixteen times as large with
each round after it, up to ``max_unacked_bytes``.  A lost stream halves it.

Each round in which the window is too small costs the time to an acknowledgement, 0.26 s where that takes 0.2 s more
than a commit.  To double each time would cost seven of them.  If the size of the delivery is known, the window begins
with an eighth of it: a break costs a large delivery no larger part than a small one, and one round is lost at most.
"""

from __future__ import annotations

__all__ = ["FlightWindow"]

# For each stream: a batch or two of small rows, so that an idle connection costs about one round.
_FIRST_BYTES = 512 * 1024
# The part of a delivery of known size that the window begins with.  At 0.26 s to an acknowledgement and 700,000 rows/s
# it keeps the service busy for half of the first round of a million rows, and for all of that of two million.
_FIRST_PART = 8
_GROWTH = 16


class FlightWindow:
    """Bytes are counted as ``max_unacked_bytes`` counts them.  Pure bookkeeping."""

    def __init__(self, *, most: int, streams: int) -> None:
        self._first = min(most, _FIRST_BYTES * streams)
        self._most = most
        self._has_held_back = False
        self._is_at_start = True
        self.limit = self._first
        """Bytes that may be in flight on all streams together."""

    def __repr__(self) -> str:
        return f"<FlightWindow {self.limit} of {self._most} bytes>"

    def on_size_known(self, nbytes: int) -> None:
        """The whole delivery is about so many bytes; without effect once a batch was acknowledged or a stream died."""
        if self._is_at_start:
            self.limit = max(self._first, min(self._most, nbytes // _FIRST_PART))

    def on_held_back(self) -> None:
        """A batch has to wait until others are acknowledged."""
        self._has_held_back = True

    def on_acked(self, nbytes: int) -> None:
        """So many bytes were acknowledged."""
        self._is_at_start = False
        if self._has_held_back:
            growth = 2 if self.limit < 2 * self._first else _GROWTH
            self.limit = min(self._most, self.limit + (growth - 1) * nbytes)

    def on_lost(self) -> None:
        """A stream died with batches in flight."""
        self._is_at_start = False
        self.limit = max(self._first, self.limit // 2)
        self._has_held_back = False
