"""How many bytes may be in flight: few at first, twice as many whenever that was too few.

What is in flight when a connection breaks may be in the table twice, so no more is in flight than keeps the service
busy.  As long as the window holds batches back, it grows by what is acknowledged, and so doubles with each round of
acknowledgements: the longer they take, the larger it becomes, up to ``max_unacked_bytes``.  A lost stream halves it.
"""

from __future__ import annotations

__all__ = ["FlightWindow"]

# For each stream: a batch or two of small rows, so that an idle connection costs about one round.
_FIRST_BYTES = 512 * 1024


class FlightWindow:
    """Bytes are counted as ``max_unacked_bytes`` counts them.  Pure bookkeeping."""

    def __init__(self, *, most: int, streams: int) -> None:
        self._first = min(most, _FIRST_BYTES * streams)
        self._most = most
        self._has_held_back = False
        self.limit = self._first
        """Bytes that may be in flight on all streams together."""

    def __repr__(self) -> str:
        return f"<FlightWindow {self.limit} of {self._most} bytes>"

    def on_held_back(self) -> None:
        """A batch has to wait until others are acknowledged."""
        self._has_held_back = True

    def on_acked(self, nbytes: int) -> None:
        """So many bytes were acknowledged."""
        if self._has_held_back:
            self.limit = min(self._most, self.limit + nbytes)

    def on_lost(self) -> None:
        """A stream died with batches in flight."""
        self.limit = max(self._first, self.limit // 2)
        self._has_held_back = False
