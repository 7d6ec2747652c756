"""Limits how often streams to a table are opened, in all deliveries of the process together.

The service warns at 100 opens per table per minute (client_warnings.rs in SDK 1.10.0); even quick reconnects must stay
below that.
"""

from __future__ import annotations

import threading
from collections import deque

from ..process.fork import in_each_child

__all__ = ["OpenRate", "open_rate_of"]


class OpenRate:
    """Allows at most ``limit`` opens in any ``period`` seconds; thread-safe."""

    def __init__(self, limit: int = 80, period: float = 60.0) -> None:
        self._limit = limit
        self._period = period
        self._lock = threading.Lock()  # guards _opened
        self._opened: deque[float] = deque()

    def __str__(self) -> str:
        return f"this process opens at most {self._limit} streams in {self._period:g} s to this table"

    def take(self, now: float) -> float:
        """Record that a stream is opened at ``now``, and return 0.0.

        If the limit is reached, records nothing and returns the number of seconds to wait.
        """
        with self._lock:
            wait = self._wait(now)
            if wait == 0.0:
                self._opened.append(now)
            return wait

    def wait(self, now: float) -> float:
        """Return the seconds from ``now`` until a stream can be opened; 0.0 if one can be opened now."""
        with self._lock:
            return self._wait(now)

    def _wait(self, now: float) -> float:
        while self._opened and self._opened[0] <= now - self._period:
            self._opened.popleft()
        return self._opened[0] + self._period - now if len(self._opened) >= self._limit else 0.0


# ``setdefault`` is atomic. A child of a fork begins without rates: it counts only the streams that it opens itself, and
# a lock that it inherits might never be released.
_rates: dict[tuple[str, str], OpenRate] = {}
in_each_child(_rates.clear)


def open_rate_of(endpoint: str, table: str) -> OpenRate:
    """Return the rate limit that all callers share for a table at an endpoint; the case of ``table`` is ignored."""
    return _rates.setdefault((endpoint, table.casefold()), OpenRate())
