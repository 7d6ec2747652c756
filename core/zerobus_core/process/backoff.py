"""Pauses between attempts: exponential, capped, with full jitter.

With full jitter (a random pause between zero and an upper bound), tasks that failed together do not all retry together:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

__all__ = ["MAX_PAUSE", "pause_after"]

MAX_PAUSE = 30.0


def pause_after(attempts: int, *, first: float, draw: float) -> float:
    """Return the seconds to wait after ``attempts`` (1, 2, …) failures in a row.

    ``first`` is the upper bound of the pause after the first failure. ``draw`` is a random number from 0 to 1.
    """
    bound = min(MAX_PAUSE, first * 2.0 ** min(attempts - 1, 30))
    return bound * draw
