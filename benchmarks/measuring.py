"""The functions and classes with which the cases of ``make bench`` measure alternatives in the same run.

Other programs on the machine slow down what is measured. So all alternatives run once in each turn, in alternating
order, and each turn gives a ratio. The printed ratio is the median over the turns, and its noise is half of the
interquartile range as a share of the median.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["OURS", "Figure", "Sample", "Settings", "Spread", "Target", "compare", "figure_of", "measure"]

OURS = "ours"


@dataclass(frozen=True, slots=True)
class Sample:
    """The wall and CPU time of one call."""

    wall: float
    """Seconds from the beginning of the call to its end."""
    cpu: float
    """CPU seconds of this process with all its threads; the server is another process."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values, and how far they are apart."""

    median: float
    least: float
    most: float
    noise: float
    """Half of the interquartile range, as a share of the median; 0.0 for a single value."""
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of ``values``, of which there must be at least one."""
        median = statistics.median(values)
        noise = 0.0
        if len(values) > 1 and median:
            low, _, high = statistics.quantiles(values, n=4, method="inclusive")
            noise = (high - low) / 2 / abs(median)
        return cls(median, min(values), max(values), noise, len(values))


@dataclass(frozen=True, slots=True)
class Target:
    """The limit for a figure's ratio, or for our value if the figure has no ratio."""

    limit: float
    is_least: bool = True
    """Whether ``limit`` is a lower limit; if False, it is an upper limit."""

    def verdict(self, spread: Spread) -> str:
        """Return text that says whether the target is met, and how large the noise is.

        If the target is missed and noise can explain this, the text says so.
        """
        sign = "≥" if self.is_least else "≤"
        begin = f"target {sign} {self.limit:g}: "
        if spread.median >= self.limit if self.is_least else spread.median <= self.limit:
            return f"{begin}met, noise ±{spread.noise:.0%}"
        missed = "below" if self.is_least else "above"
        is_noise = abs(spread.median - self.limit) <= spread.noise * abs(spread.median)
        return f"{begin}{missed}, noise ±{spread.noise:.0%}" + (", so it may be met" if is_noise else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table."""

    case: str
    name: str
    unit: str
    values: Mapping[str, Spread]
    """The values of each way to deliver, by name: ``ours`` and the ways with which it is compared."""
    ratio: Spread | None = None
    """How many times as good our value is as that of the first other way, by wall time in most cases."""
    cpu_ratio: Spread | None = None
    """The ratio by CPU time of this process, which other programs on the machine disturb less than wall time."""
    target: Target | None = None

    @property
    def verdict(self) -> str:
        """Text that says whether the target was met; empty without a target."""
        if self.target is None:
            return ""
        return self.target.verdict(self.ratio or self.values[OURS])

    def as_json(self) -> dict[str, Any]:
        """Return the figure and its verdict as a JSON-compatible dict."""
        return {**asdict(self), "verdict": self.verdict}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Figure:
        """Return the figure from the result of ``as_json``."""

        def spread(name: str) -> Spread | None:
            return None if given[name] is None else Spread(**given[name])

        return cls(
            case=given["case"],
            name=given["name"],
            unit=given["unit"],
            values={way: Spread(**values) for way, values in given["values"].items()},
            ratio=spread("ratio"),
            cpu_ratio=spread("cpu_ratio"),
            target=None if given["target"] is None else Target(**given["target"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a run, which say how much it measures: everything, or less in a quick run."""

    quick: bool = False
    hundred_million: bool = False
    most_pairs: int = field(default=15)

    def rows(self, count: int) -> int:
        """Return ``count``, or a quarter of it in a quick run."""
        return count // 4 if self.quick else count

    def seconds(self, full: float) -> float:
        """Return the seconds after which a comparison starts no further turn: ``full``, or at most 3 in a quick run."""
        return min(full, 3.0) if self.quick else full


def measure(work: Callable[[], object]) -> Sample:
    """Call ``work``, and return the wall and CPU time of the call."""
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    return Sample(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def compare(
    ways: Mapping[str, Callable[[], object]],
    settings: Settings,
    *,
    seconds: float = 18.0,
    least: int = 3,
    measure: Callable[[Callable[[], object]], Sample] = measure,
) -> dict[str, list[Sample]]:
    """Return the same number of samples for each way: at least ``least``, and more until ``seconds`` are over.

    Each way runs once before anything is measured, to connect, import and fill caches.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in ways}
    for work in ways.values():
        work()
    end = time.perf_counter() + settings.seconds(seconds)
    turn = 0
    while turn < least or (turn < settings.most_pairs and time.perf_counter() < end):
        order = list(ways) if turn % 2 else list(reversed(ways))
        for name in order:
            samples[name].append(measure(ways[name]))
        turn += 1
    return samples


def figure_of(
    samples: Mapping[str, Sequence[Sample]], rows: int, *, case: str, name: str, target: Target | None = None
) -> Figure:
    """Return a figure with the rate of each way, and the ratio of ours to the first other way.

    ``rows`` is the number of rows that each sample delivered.
    """
    peer = next((way for way in samples if way != OURS), None)
    pairs = [] if peer is None else list(zip(samples[peer], samples[OURS], strict=True))
    return Figure(
        case=case,
        name=name,
        unit="rows/s",
        values={way: Spread.of([rows / each.wall for each in taken]) for way, taken in samples.items()},
        ratio=Spread.of([other.wall / ours.wall for other, ours in pairs]) if pairs else None,
        cpu_ratio=Spread.of([other.cpu / max(ours.cpu, 1e-9) for other, ours in pairs]) if pairs else None,
        target=target,
    )
