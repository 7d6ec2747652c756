"""Requests streams, no faster than the service allows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING

from .lane import LiveStream
from .stream import Event, Listener, SdkStream, Stream

if TYPE_CHECKING:
    from .lane import Lane
    from .open_rate import OpenRate

__all__ = ["StreamOpener"]

_log = logging.getLogger("zerobus_core")


class StreamOpener:
    """Requests streams, each of which opens in its own thread; refuses requests while the rate limit is reached."""

    def __init__(
        self,
        open_stream: Callable[[Listener], SdkStream],
        open_rate: OpenRate,
        *,
        on_event: Callable[[Event], None],
        clock: Callable[[], float],
    ) -> None:
        """Build an opener.

        ``open_stream`` opens one SDK stream and blocks until that stream is open. ``on_event`` is called in other
        threads.
        """
        self._open_stream: Callable[[Listener], SdkStream] | None = open_stream  # None once closed
        self._open_rate = open_rate
        self._on_event = on_event
        self._clock = clock
        self.held_until: float | None = None
        """The time from which the rate limit allows the next stream; None if the rate limit holds no stream back."""
        self.requests = 0
        """The number of streams that were requested, whether or not they opened."""

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._open_stream is None

    def close(self) -> None:
        """Request no more streams, and drop the opener's reference to the SDK session.

        The threads of the streams have the other references, so the last of these threads to finish frees the session.
        """
        # The garbage collector must not free the session, because the collector can run in any thread.
        self._open_stream = None

    def request(self, lane: Lane, now: float) -> LiveStream | None:
        """Request a stream for ``lane``; if the rate limit is reached, set ``lane.not_before`` and return None."""
        assert self._open_stream is not None
        if (wait := self._open_rate.take(now)) > 0.0:
            lane.not_before = now + wait
            self._hold(until=lane.not_before)
            return None
        self.held_until = None
        self.requests += 1
        if self.requests == 1:
            _log.info("connecting")
        lane.attempts += 1
        stream = Stream(self.requests, self._open_stream, self._on_event, clock=self._clock)
        lane.current = LiveStream(stream, lane, requested_at=now)
        return lane.current

    def can_request_now(self, now: float) -> bool:
        """Return whether the rate limit allows a request now."""
        return self._open_rate.wait(now) == 0.0

    def waiting_reason(self) -> str | None:
        """Return a clause that says why the next stream has to wait; None if it does not have to wait."""
        if self.held_until is None:
            return None
        return f"{self._open_rate}; it opens the next one in {max(1, ceil(self.held_until - self._clock()))} s"

    def _hold(self, until: float) -> None:
        is_news = self.held_until is None
        self.held_until = until
        if is_news:
            _log.warning("a stream has to wait: %s", self.waiting_reason())
