"""Checkpoints in Dagster's event log, where the next try of a step finds them, on whichever machine it runs.

An observation of the asset holds the checkpoint: Dagster writes it at once, it outlives a killed process, and people
see in the UI how far a failed delivery came.

The next try is what Dagster itself means by one: a retry of the step in the same run, or a re-execution from failure of
that run, however many of them in a row.  Launching the asset anew is not: it starts from the first row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg

from zerobus_core.checkpoint import Checkpoint, InvalidCheckpointError

from .metadata import NAMESPACE, table_metadata

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun

    from .step import Attempt, Step

__all__ = ["ObservationCheckpointStore", "tries_of"]

_CHECKPOINT = f"{NAMESPACE}/checkpoint"
_DELIVERY = f"{NAMESPACE}/delivery"
# Dagster's own tags of a run that takes up another one where it failed (dagster/_core/storage/tags.py).
_FROM_FAILURE = ("dagster/is_resume_retry", "dagster/is_asset_resume_retry")
_MOST_TRIES = 64
_PAGE = 50
# How far the clocks of a step's machine and of Dagster's database may be apart.
_CLOCK_SKEW = 3_600.0
# A save waits until this share of the delivery's time has passed since the last: a killed process loses no more than
# that, and a long delivery leaves some hundreds of events instead of one each second.
_SHARE_AT_RISK = 0.02
_SHORTEST_INTERVAL = 1.0


def tries_of(run: DagsterRun, instance: DagsterInstance) -> list[DagsterRun]:
    """This run and those that it takes up from failure, newest first."""
    tries = [run]
    while len(tries) < _MOST_TRIES and any(run.tags.get(tag) == "true" for tag in _FROM_FAILURE):
        parent = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
        if parent is None or parent in tries:
            break
        tries.append(run := parent)
    return tries


@dataclass(kw_only=True)
class ObservationCheckpointStore:
    """The checkpoint of one delivery of a step: the ``CheckpointStore`` of the core.

    ``delivery`` tells the deliveries of one step to one table apart.
    """

    step: Step
    attempt: Attempt
    table: str
    delivery: str
    clock: Callable[[], float] = time.monotonic
    _tries: list[DagsterRun] = field(init=False)
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._tries = tries_of(self.attempt.run, self.attempt.instance)
        self._started = self.clock()

    @property
    def epoch(self) -> str:
        """The run that the delivery began in."""
        return self._tries[-1].run_id

    @property
    def save_interval(self) -> float:
        """See CheckpointStore: it grows with the delivery, because each save is an event that stays."""
        return max(_SHORTEST_INTERVAL, _SHARE_AT_RISK * (self.clock() - self._started))

    def load(self) -> Checkpoint | None:
        """The checkpoint that this or an earlier try saved last, or None."""
        for observation in self._observations():
            text = observation.metadata[_CHECKPOINT].value
            if not isinstance(text, str):
                raise InvalidCheckpointError(f"the observation holds {type(text).__name__}, not text")
            return Checkpoint.from_json(text)
        return None

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint to the event log; drop one that nothing can resume from, or that has nothing to tell."""
        if checkpoint.source_fingerprint is None or not (checkpoint.durable or checkpoint.reached):
            return
        rows = checkpoint.durable.rows
        self.step.log_event(
            dg.AssetObservation(
                asset_key=self._asset_key,
                partition=self._partition,
                description=f"{rows} rows durable in {self.table} so far",
                metadata={
                    **table_metadata(self.table),
                    _DELIVERY: self.delivery,
                    f"{NAMESPACE}/rows_durable": rows,
                    _CHECKPOINT: checkpoint.to_json(),
                },
            )
        )

    @property
    def _asset_key(self) -> dg.AssetKey:
        """In an op, the table itself is the asset that is observed."""
        return self.step.asset_key or dg.AssetKey(self.table.split("."))

    @property
    def _partition(self) -> str | None:
        return self.step.partitions[0] if len(self.step.partitions) == 1 else None

    def _observations(self) -> Iterator[dg.AssetObservation]:
        """Checkpoints of this delivery, newest first."""
        instance, run_ids = self.attempt.instance, {run.run_id for run in self._tries}
        records_filter = dg.AssetRecordsFilter(
            asset_key=self._asset_key,
            asset_partitions=[self._partition] if self._partition else None,
            after_timestamp=self._begin(),
        )
        cursor, has_more = None, True
        while has_more:
            page = instance.fetch_observations(records_filter, limit=_PAGE, cursor=cursor)
            cursor, has_more = page.cursor, page.has_more
            for record in page.records:
                observation = record.asset_observation
                is_ours = record.run_id in run_ids and record.event_log_entry.step_key == self.attempt.step_key
                if is_ours and observation is not None and self._is_of_this_delivery(observation):
                    yield observation

    def _is_of_this_delivery(self, observation: dg.AssetObservation) -> bool:
        wanted = {_DELIVERY: self.delivery, "dagster/table_name": self.table}
        metadata = observation.metadata
        return _CHECKPOINT in metadata and all(
            key in metadata and metadata[key].value == value for key, value in wanted.items()
        )

    def _begin(self) -> float | None:
        record = self.attempt.instance.get_run_record_by_id(self.epoch)
        return None if record is None else record.create_timestamp.timestamp() - _CLOCK_SKEW
