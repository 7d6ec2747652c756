"""Limits on the rates and the lifetime of a stream, and artificial delays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

__all__ = ["LONGEST", "Limits", "Pace"]

LONGEST: Final = 1e9
"""The longest time, in seconds, that can be set in options and faults.

A limit is needed, because Python limits the timeout of a waiting thread, and JSON has no infinite numbers.
"""
_STREAM_LIFE: Final = 900.0  # SDK 1.10.0, token_cache.rs: a stream lives about 15 minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits and delays of each stream; None means no limit. All times are in seconds.

    The service documents limits of 100,000 rows and 100 MB per second for each stream. By default, the local server
    does not limit these rates. The constructor raises ValueError if the value of a field is invalid; the error message
    contains the field's name.
    """

    rows_per_second: float | None = None
    bytes_per_second: float | None = None
    #: delay added between the commit and the acknowledgement
    ack_delay: float = 0.0
    #: delay added before the answer that opens the stream
    open_delay: float = 0.0
    #: age at which a stream is ended, with UNAVAILABLE and code 6002
    max_stream_life: float | None = _STREAM_LIFE
    #: how many seconds before the end of a stream the client is asked to close it; assumed, not documented
    close_signal_lead: float = 5.0

    def __post_init__(self) -> None:
        for name in ("rows_per_second", "bytes_per_second", "max_stream_life"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and 0 < value < math.inf):
                raise ValueError(f"{name} must be a number above 0, or None for no limit; it is {value!r}")
        if self.max_stream_life is not None and self.max_stream_life > LONGEST:
            raise ValueError(f"max_stream_life must be at most {LONGEST:g} s, or None; it is {self.max_stream_life}")
        for name in ("ack_delay", "open_delay", "close_signal_lead"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value <= LONGEST:
                raise ValueError(f"{name} must be from 0 to {LONGEST:g} s; it is {value!r}")


class Pace:
    """Limits the rates of one stream with a leaky bucket.

    A request is always accepted as a whole, and its size decides how long the next request has to wait.
    """

    def __init__(self, limits: Limits) -> None:
        self._rates = (limits.rows_per_second, limits.bytes_per_second)
        self.is_limited = any(rate is not None for rate in self._rates)
        self._free_at = [0.0, 0.0]

    def charge(self, rows: int, nbytes: int, now: float) -> float:
        """Count a request that was accepted at ``now``; return the time at which the next one can be accepted."""
        for index, (rate, amount) in enumerate(zip(self._rates, (rows, nbytes), strict=True)):
            if rate is not None:
                self._free_at[index] = max(self._free_at[index], now) + amount / rate
        return max(self._free_at)
