"""A bound on stream-open requests per table, over all deliveries of the process.

The service side warns of 100 opens per table per minute (client_warnings.rs in SDK 1.10.0); reconnecting in a hurry
must never come near it.
"""

from __future__ import annotations

import threading
from collections import deque

from ..process.fork import in_each_child

__all__ = ["OpenRate", "open_rate_of"]


class OpenRate:
    """At most ``limit`` opens in any ``period`` seconds; safe for concurrent use."""

    def __init__(self, limit: int = 80, period: float = 60.0) -> None:
        self._limit = limit
        self._period = period
        self._lock = threading.Lock()  # guards _opened
        self._opened: deque[float] = deque()

    def __str__(self) -> str:
        return f"this process opens at most {self._limit} streams in {self._period:g} s to this table"

    def take(self, now: float) -> float:
        """Take a place for an open at ``now``; returns 0.0, or the seconds until one is free, taking none."""
        with self._lock:
            wait = self._wait(now)
            if wait == 0.0:
                self._opened.append(now)
            return wait

    def wait(self, now: float) -> float:
        """Seconds from ``now`` until a place is free; 0.0 if one is."""
        with self._lock:
            return self._wait(now)

    def _wait(self, now: float) -> float:
        while self._opened and self._opened[0] <= now - self._period:
            self._opened.popleft()
        return self._opened[0] + self._period - now if len(self._opened) >= self._limit else 0.0


# ``setdefault`` is atomic; a child process counts what it opens itself, and an inherited lock may never be released.
_rates: dict[tuple[str, str], OpenRate] = {}
in_each_child(_rates.clear)


def open_rate_of(endpoint: str, table: str) -> OpenRate:
    """The rate limit of a table: one object for all callers and all spellings of its name."""
    return _rates.setdefault((endpoint, table.casefold()), OpenRate())
