"""What a stream has stored and not yet acknowledged.  Pure bookkeeping: no clock, no lock, no socket.

A request goes through three states: stored (handed to the storage), committed (its rows are in the Delta log), and
acknowledged.  It enters and leaves each state in the order of offsets.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["AckQueue", "Stored"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A request whose rows are on their way; ``rows_so_far`` counts from the stream's begin, this request included."""

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
        """The request was handed to the storage."""
        self._stored.append(request)
        self.uncommitted_bytes += request.nbytes

    def next_committed(self) -> Stored:
        """Report that the oldest stored request was committed; the result is to be passed to ``acknowledge_at``."""
        request = self._stored.popleft()
        self.uncommitted_bytes -= request.nbytes
        return request

    def acknowledge_at(self, due: float, request: Stored) -> None:
        """Its acknowledgement leaves at ``due``, or when one before it does."""
        self._committed.append((due, request))

    def withhold(self) -> None:
        """From here on requests that are committed are dropped, and never acknowledged."""
        self.is_withholding = True

    def take_due(self, now: float) -> Stored | None:
        """The last request that can be acknowledged at ``now``; those before it are acknowledged with it."""
        due = None
        while self._committed and self._committed[0][0] <= now:
            due = self._committed.popleft()[1]
        return due

    @property
    def next_due(self) -> float | None:
        """When the next acknowledgement leaves, as far as is known."""
        return self._committed[0][0] if self._committed else None

    @property
    def is_settled(self) -> bool:
        """Whether nothing is on its way: all that was stored is committed, and acknowledged or withheld."""
        return not self._stored and not self._committed

    @property
    def is_drained(self) -> bool:
        """Whether all is acknowledged."""
        return self.is_settled and not self.is_withholding
