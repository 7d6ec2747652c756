"""Measurements of a running delivery."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from ..receipt import AckLatency

__all__ = ["AckLatencies", "PoolStatistics"]


class AckLatencies:
    """The exact maximum of all latencies, and estimates of their percentiles.

    The percentiles are estimated from a uniform random sample of at most ``size`` latencies.
    """

    def __init__(self, size: int = 4096) -> None:
        self.on_add: Callable[[float], None] | None = None
        """An optional function that is called with each latency."""
        self._size = size
        self._seen = 0
        self._max = 0.0
        self._sample: list[float] = []
        self._random = random.Random(0)  # noqa: S311 - sampling, not secrecy; seeded, so that runs compare

    def add(self, seconds: float) -> None:
        """Add a latency in seconds."""
        if self.on_add is not None:
            self.on_add(seconds)
        self._seen += 1
        self._max = max(self._max, seconds)
        if len(self._sample) < self._size:
            self._sample.append(seconds)
        elif (slot := self._random.randrange(self._seen)) < self._size:
            self._sample[slot] = seconds

    def summary(self) -> AckLatency:
        """Return the percentiles and the maximum so far; all are 0 if no latency was added."""
        if not self._sample:
            return AckLatency()
        ordered = sorted(self._sample)
        last = len(ordered) - 1
        return AckLatency(p50=ordered[round(0.5 * last)], p95=ordered[round(0.95 * last)], max=self._max)


@dataclass(slots=True)
class PoolStatistics:
    """Counters of a pool of streams. Only ``open_now`` can decrease; the other counters never do."""

    open_now: int = 0
    most_open: int = 0
    reconnects: int = 0
    """The number of opened streams that replaced one that died or could not be opened."""
    stream_ids: list[str] = field(default_factory=list)
    ack_latencies: AckLatencies = field(default_factory=AckLatencies)

    def on_opened(self, stream_id: str | None, *, after_loss: bool) -> None:
        """Record that a stream opened; ``after_loss`` says whether it replaces a stream that was lost."""
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        self.reconnects += after_loss
        if stream_id is not None:
            self.stream_ids.append(stream_id)
