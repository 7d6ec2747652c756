"""A lane: one of a pool's N places for a stream. A lane whose stream is lost can open another.

When a stream is lost, the first of these rules that applies decides what follows:

1. An error that another attempt cannot fix ends the delivery (``Fail``). There is one exception: the lane's first
   AuthenticationError or PermissionDeniedError since its last acknowledgement does not end the delivery, because the
   SDK fetches another token for the next stream.
2. If ``max_attempts`` streams died while the same batch was their oldest unacknowledged one, the delivery ends
   (``Fail``), even if other batches are acknowledged in that time.
3. After ``max_attempts`` streams in a row without an acknowledgement, the lane is abandoned (``GiveUp``); the delivery
   goes on with the other lanes, if there are any.
4. Otherwise the lane opens another stream (``Retry``): at once if the lost stream had an acknowledgement, and otherwise
   after a pause with jitter.

These rules do not apply if every batch is already durable or refused. They also do not apply if the stream was lost
because the service refused one of its batches: the pool then searches for the bad row.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from ..errors import AuthenticationError, PermissionDeniedError
from ..process.backoff import pause_after
from .sdk_errors import is_vague

if TYPE_CHECKING:
    from ..errors import ZerobusIngestError
    from ..options import IngestOptions
    from .stream import Stream

__all__ = ["Fail", "GiveUp", "Lane", "LiveStream", "Retry", "Verdict"]


@dataclass(frozen=True, slots=True)
class Retry:
    """The lane can request another stream at time ``at`` of the pool's clock, or later."""

    at: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """This lane requests no more streams; ``error`` ends the delivery if this was the last lane."""

    error: ZerobusIngestError


@dataclass(frozen=True, slots=True)
class Fail:
    """The delivery ends with ``error``."""

    error: ZerobusIngestError


Verdict: TypeAlias = Retry | GiveUp | Fail


@dataclass(slots=True, eq=False)
class LiveStream:
    """A stream that was requested and is not yet closed or dead; times are on the pool's clock."""

    stream: Stream
    lane: Lane
    requested_at: float
    is_open: bool = False
    rotate_at: float = float("inf")
    progress_at: float = 0.0
    """When the stream last acknowledged a batch, or was last sent a batch while nothing was in flight on it."""
    handed_at: deque[float] = field(default_factory=deque)
    """When each batch in flight was sent, oldest first."""


@dataclass(slots=True, eq=False)
class Lane:
    """One of a pool's places for a stream; see the module's docstring.

    Pure: the time ``now`` and the random number ``draw`` (0 to 1) are arguments.
    """

    number: int
    options: IngestOptions
    current: LiveStream | None = None
    attempts: int = 0
    """The number of streams requested since the last call of ``on_progress``, whether or not they opened."""
    not_before: float = 0.0
    """The earliest time to request a stream."""
    token_refresh_used: bool = False
    """Whether the single retry after a rejected token has been used."""
    is_replacing: bool = False
    """Whether the next stream replaces one that died or could not be opened."""
    last_error: ZerobusIngestError | None = None
    """The last error that ended a stream since the last ACK; an error that gives no reason does not replace another."""
    is_given_up: bool = False
    """Whether no further stream will be requested."""

    def can_request(self, now: float) -> bool:
        """Return whether the lane has no stream and can request one now."""
        return self.current is None and not self.is_given_up and now >= self.not_before

    def on_progress(self) -> None:
        """Record an acknowledgement or other progress of the stream, so that earlier failures no longer count."""
        self.attempts = 0
        self.token_refresh_used = False
        self.last_error = None

    def on_lost(self, error: ZerobusIngestError, *, suspect_failures: int, now: float, draw: float) -> Verdict:
        """Record that the lane's stream was lost, and decide what follows.

        ``suspect_failures`` is the number of streams, including this one, that died while the same batch was the oldest
        unacknowledged batch on them. It is 0 if it is certain that no unacknowledged batch reached the service on
        this stream.
        """
        if self.last_error is None or not is_vague(error):
            self.last_error = error
        if not error.retryable:
            if not self._use_token_refresh(error):
                return Fail(self.last_error)
        elif suspect_failures >= self.options.max_attempts:
            return Fail(self.last_error)
        if self.attempts >= self.options.max_attempts:
            self.is_given_up = True
            return GiveUp(self.last_error)
        if self.attempts:
            self.not_before = now + pause_after(self.attempts, first=self.options.backoff, draw=draw)
        return Retry(self.not_before)

    def _use_token_refresh(self, error: ZerobusIngestError) -> bool:
        if not isinstance(error, AuthenticationError | PermissionDeniedError) or self.token_refresh_used:
            return False
        self.token_refresh_used = True
        return True
