"""The requests of a stream that are stored but not yet acknowledged.

A request has three states, one after the other: stored (passed to the storage), committed (its rows are in the Delta
log), and acknowledged. Requests change their state in the order of their offsets.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["AckQueue", "Stored"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A request whose rows were passed to the storage.

    ``rows_so_far`` is the number of rows in this request and in all earlier requests of the stream.
    """

    offset: int
    nbytes: int
    rows_so_far: int
    received_at: float


class AckQueue:
    """Requests that were passed to the storage and are not acknowledged yet."""

    def __init__(self) -> None:
        self._stored: deque[Stored] = deque()
        self._committed: deque[tuple[float, Stored]] = deque()
        self.uncommitted_bytes = 0
        self.is_withholding = False

    def store(self, request: Stored) -> None:
        """Record that the request was passed to the storage."""
        self._stored.append(request)
        self.uncommitted_bytes += request.nbytes

    def next_committed(self) -> Stored:
        """Record that the oldest stored request is committed, and return this request.

        The caller passes the request to ``acknowledge_at``, unless the acknowledgement is withheld.
        """
        request = self._stored.popleft()
        self.uncommitted_bytes -= request.nbytes
        return request

    def acknowledge_at(self, due: float, request: Stored) -> None:
        """Schedule a committed request to be acknowledged at the time ``due``.

        A request is never acknowledged before the requests that were scheduled earlier.
        """
        self._committed.append((due, request))

    def withhold(self) -> None:
        """Set ``is_withholding``: requests that are committed after this call are never acknowledged."""
        self.is_withholding = True

    def take_due(self, now: float) -> Stored | None:
        """Remove all requests that are due for acknowledgement at ``now``; return the last one, or None if none is due.

        An acknowledgement of the last request covers all requests that precede it.
        """
        due = None
        while self._committed and self._committed[0][0] <= now:
            due = self._committed.popleft()[1]
        return due

    @property
    def next_due(self) -> float | None:
        """The time at which the next acknowledgement is due; None if no acknowledgement is scheduled."""
        return self._committed[0][0] if self._committed else None

    @property
    def is_settled(self) -> bool:
        """Whether all requests are committed, and all scheduled acknowledgements are sent."""
        return not self._stored and not self._committed

    @property
    def is_drained(self) -> bool:
        """Whether all requests are acknowledged; always False after ``withhold``."""
        return self.is_settled and not self.is_withholding
