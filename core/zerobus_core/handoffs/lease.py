"""The owner and the lease of the open slice, and when another run can take it over. Uses no clock and no storage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["LEASE_SECONDS", "SHARDS_LEASE_SECONDS", "Lease", "Owner"]

LEASE_SECONDS = 300.0
# Shards wait in queues and between attempts, and nothing renews the lease then.
SHARDS_LEASE_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The owner of a delivery: a run of a task, a run of a step, or a process.

    ``key`` is the same in every attempt of a run. ``chain`` is the same in all automatic retries, but changes when a
    person asks for the run again (by clearing a task). ``host``, ``pid`` and ``process_start`` identify the process of
    the attempt.
    """

    key: str
    chain: str = ""
    host: str = ""
    pid: int = 0
    process_start: str = ""
    attempt: str = ""
    """The id of this attempt among the attempts of one process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease on the open slice: the owner that holds the slice, and since when (an ISO 8601 time in UTC)."""

    owner: Owner
    taken_at: str

    @property
    def is_of_shards(self) -> bool:
        """Whether several processes deliver the slice in shards; False if the owner's process delivers the slice."""
        return bool(self.owner.pid) and not self.owner.host

    def ends_at(self, renewed_at: datetime | None) -> datetime:
        """Return the time from which another run may take over the slice.

        ``renewed_at`` is the time when a checkpoint of the slice was last saved; None if no checkpoint was saved.
        """
        taken_at = datetime.fromisoformat(self.taken_at)
        last = taken_at if renewed_at is None else max(taken_at, renewed_at)
        return last + timedelta(seconds=SHARDS_LEASE_SECONDS if self.is_of_shards else LEASE_SECONDS)
