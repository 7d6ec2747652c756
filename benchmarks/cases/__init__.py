"""The cases of ``make bench``, by name, in the order in which they run.

Each case is a module in this folder. Its function ``figures(settings)`` yields each figure as soon as it is known.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CASES", "Case", "CaseSkipped"]


class CaseSkipped(Exception):  # noqa: N818  # not an error: the run goes on and prints it
    """Raised by a case that cannot run here; the message says why."""


@dataclass(frozen=True, slots=True)
class Case:
    """A case of ``make bench``."""

    about: str
    limit: float
    """Seconds after which the case is stopped; the figures that it has yielded by then are kept."""


CASES = {
    "rows": Case("rows, Arrow data and one Parquet file, compared with hand-written loops", 160),
    "readme": Case("one record per call, as in the SDK's README", 40),
    "scaling": Case("1 to 16 streams, each with a rate limit", 70),
    "round_trips": Case("acknowledgements that come after 0, 50 and 200 ms", 80),
    "memory": Case("peak memory of deliveries from a generator", 90),
    "one_row": Case("one row in a fresh process", 30),
    "shares": Case("percentage of the time that each part of the core takes", 30),
    "cpu": Case("CPU per million rows, by kind of source", 90),
    "shards": Case("8 shards in 2 processes", 50),
    "dlt": Case("the load job of dlt, in an environment of its own", 80),
}
