"""One of the N places for a stream in a pool: the stream that it has now, and how often opening one failed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..errors import ZerobusIngestError
    from .stream import Stream

__all__ = ["Lane", "LiveStream"]


@dataclass(slots=True, eq=False)
class LiveStream:
    """A stream from the request to open it until it is closed or dead; times are readings of the pool's clock."""

    stream: Stream
    lane: Lane
    requested_at: float
    is_open: bool = False
    rotate_at: float = float("inf")
    progress_at: float = 0.0
    """When it last acknowledged something, or was handed something while nothing was in flight."""
    handed_at: deque[float] = field(default_factory=deque)
    """When each batch in flight was handed over, oldest first."""


@dataclass(slots=True, eq=False)
class Lane:
    """See the module's docstring.

    ``attempts`` counts the streams requested since the lane's last ACK: a stream that opens and dies without
    acknowledging anything is as bad as one that never opens.
    """

    number: int
    current: LiveStream | None = None
    attempts: int = 0
    not_before: float = 0.0
    """Back-off: no stream is requested earlier."""
    auth_retried: bool = False
    """Whether the one retry is spent that lets a token expire in mid-delivery."""
    lost_one: bool = False
    """Whether the next stream replaces one that died."""
    reason: ZerobusIngestError | None = None
    """The last error that told why a stream was lost."""
    is_given_up: bool = False
    """Whether no further stream will be requested."""

    def made_progress(self) -> None:
        """Something was acknowledged: all is forgiven."""
        self.attempts = 0
        self.auth_retried = False
        self.reason = None
