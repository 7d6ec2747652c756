"""The requests of a stream that are stored but not yet acknowledged.  Pure bookkeeping: no clock, no lock, no socket.

A request goes through three states: stored (passed to the storage), committed (its rows are in the Delta log), and
acknowledged.  It enters and leaves each state in the order of offsets.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["AckQueue", "Stored"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A request whose rows are being stored; ``rows_so_far`` counts the stream's rows up to and including it."""

    offset: int
    nbytes: int
    rows_so_far: int
    received_at: float


class AckQueue:
    """Requests between their arrival and their acknowledgement."""

    def __init__(self) -> None:
        self._stored: deque[Stored] = deque()
        self._committed: deque[tuple[float, Stored]] = deque()
        self.uncommitted_bytes = 0
        self.is_withholding = False

    def store(self, request: Stored) -> None:
        """Note that the request was passed to the storage."""
        self._stored.append(request)
        self.uncommitted_bytes += request.nbytes

    def next_committed(self) -> Stored:
        """Note that the oldest stored request was committed, and return it; pass it to ``acknowledge_at``."""
        request = self._stored.popleft()
        self.uncommitted_bytes -= request.nbytes
        return request

    def acknowledge_at(self, due: float, request: Stored) -> None:
        """Let the request's acknowledgement leave at ``due``, or when an earlier one leaves."""
        self._committed.append((due, request))

    def withhold(self) -> None:
        """From now on, drop committed requests without ever acknowledging them."""
        self.is_withholding = True

    def take_due(self, now: float) -> Stored | None:
        """Return the last request that can be acknowledged at ``now``; this also acknowledges those before it."""
        due = None
        while self._committed and self._committed[0][0] <= now:
            due = self._committed.popleft()[1]
        return due

    @property
    def next_due(self) -> float | None:
        """When the next acknowledgement leaves; None if that is unknown."""
        return self._committed[0][0] if self._committed else None

    @property
    def is_settled(self) -> bool:
        """Whether nothing is waiting: all stored requests are committed, and acknowledged or withheld."""
        return not self._stored and not self._committed

    @property
    def is_drained(self) -> bool:
        """Whether everything is acknowledged."""
        return self.is_settled and not self.is_withholding
