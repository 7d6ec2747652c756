"""Stores checkpoints in Dagster's event log, where a step's next attempt finds them on any machine.

A checkpoint is stored in an observation of the asset. Dagster writes an observation at once, so the checkpoint survives
if the process is killed, and the UI shows how far a failed delivery came.

The next attempt is a retry of the step in the same run, or a re-execution of that run from failure (with
``resume="always"``, any re-execution of that run). There can be many attempts. Materializing the asset again is not
another attempt: it starts from the first row.

A checkpoint without durable rows says only how many rows may have been sent. Such a checkpoint goes to the log of the
run instead of into an observation, because Dagster's plots show only about 100 events of an asset: a short delivery
then usually writes one observation and its materialization. In two cases, the checkpoint is an observation: if
``resume`` is "never", or if the attempt found an earlier checkpoint of the delivery.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import dagster as dg

from zerobus_core import Checkpoint
from zerobus_core.hosting import InvalidCheckpointError, plural

from .metadata import NAMESPACE, table_metadata
from .progress import tell_step
from .run_log import facts_in_log, write_to_log

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun, EventLogRecord

    from .resume import Resume
    from .step import Attempt, Step

__all__ = ["ROWS_DURABLE", "ObservationCheckpointStore", "observations_of", "tries_of"]

ROWS_DURABLE = f"{NAMESPACE}/rows_durable"
_CHECKPOINT = f"{NAMESPACE}/checkpoint"
_DELIVERY = f"{NAMESPACE}/delivery"
_ASSET = f"{NAMESPACE}/asset"
_PARTITION = f"{NAMESPACE}/partition"
# Dagster's own tags of a run that re-executes another run from failure (dagster/_core/storage/tags.py).
_FROM_FAILURE = ("dagster/is_resume_retry", "dagster/is_asset_resume_retry")
_MOST_TRIES = 64
_PAGE = 50
# Seconds. The largest expected difference between the clocks of a step's machine and of Dagster's database.
_CLOCK_SKEW = 3_600.0
# Seconds between saves: first 2, so that a short delivery also leaves a checkpoint; then at least 28; in a longer
# delivery 12.5 % of its duration so far, but at most 120; and from 100 minutes on 2 % of its duration so far. Each save
# is an event that Dagster keeps, and Dagster's plots and pages show only about 100 events of an asset.
_FIRST_INTERVAL = 2.0
_INTERVAL = 28.0
_LONG_INTERVAL = 120.0
_SHARE_AT_RISK = 0.125
_LONG_SHARE_AT_RISK = 0.02


def tries_of(run: DagsterRun, instance: DagsterInstance, resume: Resume = "retry") -> list[DagsterRun]:
    """Return this run and the runs that it re-executes from failure, newest first.

    With ``resume="always"``, the result contains all runs that this run re-executes in any way. The result has at most
    64 runs.
    """
    tries = [run]
    while len(tries) < _MOST_TRIES and (resume == "always" or _is_from_failure(run)):
        parent = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
        if parent is None or parent in tries:
            break
        tries.append(run := parent)
    return tries


def _is_from_failure(run: DagsterRun) -> bool:
    return any(run.tags.get(tag) == "true" for tag in _FROM_FAILURE)


def observations_of(instance: DagsterInstance, records_filter: dg.AssetRecordsFilter) -> Iterator[EventLogRecord]:
    """Yield all observations that match the filter, newest first, read page by page."""
    cursor, has_more = None, True
    while has_more:
        page = instance.fetch_observations(records_filter, limit=_PAGE, cursor=cursor)
        cursor, has_more = page.cursor, page.has_more
        yield from page.records


@dataclass(kw_only=True)
class ObservationCheckpointStore:
    """A ``CheckpointStore`` for one delivery of a step.

    ``delivery`` distinguishes the deliveries of one step to one table. ``partition`` is the partition of the records,
    if a run over several partitions delivers each separately. With ``resume="never"``, ``load`` finds no checkpoint.

    Observations with durable rows also prevent a second delivery: a later run with ``on_rematerialize="refuse"`` looks
    for observations of its asset or partitions, and refuses to deliver if another run wrote one.

    If one delivery is for several partitions together, the observations with its checkpoints belong to no partition,
    so a later run does not find these observations. If ``is_evidence`` is set, the store therefore also writes an
    observation for each of the partitions, once, as soon as rows are durable.
    """

    step: Step
    attempt: Attempt
    table: str
    delivery: str
    partition: str | None = None
    resume: Resume = "retry"
    is_evidence: bool = False
    clock: Callable[[], float] = time.monotonic
    _tries: list[DagsterRun] = field(init=False)
    _started: float = field(init=False)
    _saved: Checkpoint | None = field(init=False, default=None)
    _is_told: bool = field(init=False, default=False)
    _has_looked: bool = field(init=False, default=False)
    _is_first: bool = field(init=False, default=False)
    """Whether the last ``load`` looked for an earlier checkpoint of the delivery and found none.

    If so, every observation of the delivery is newer than the checkpoints in the log of the run.
    """

    def __post_init__(self) -> None:
        self._tries = tries_of(self.attempt.run, self.attempt.instance, self.resume)
        self._started = self.clock()

    @property
    def epoch(self) -> str:
        """The id of the run in which the delivery began."""
        return self._tries[-1].run_id

    @property
    def save_interval(self) -> float:
        """See CheckpointStore. The interval grows during the delivery, because Dagster keeps the event of each save."""
        elapsed = self.clock() - self._started
        if elapsed < _FIRST_INTERVAL:
            return _FIRST_INTERVAL
        share = min(_SHARE_AT_RISK * elapsed, _LONG_INTERVAL)
        return max(_INTERVAL, share, _LONG_SHARE_AT_RISK * elapsed)

    @property
    def rows_durable(self) -> int:
        """The number of durable rows in the last saved checkpoint; 0 if none was saved."""
        return self._saved.durable.rows if self._saved else 0

    def load(self) -> Checkpoint | None:
        """Return the last checkpoint that this or an earlier attempt saved; None if none is found."""
        may_find = self.resume != "never"
        text = next((value.value for value in self._checkpoints()), None) if may_find else None
        self._is_first = may_find and text is None
        if text is not None and not isinstance(text, str):
            raise InvalidCheckpointError(
                f"the checkpoint in Dagster's event log is of type {type(text).__name__}, not text"
            )
        found = None if text is None else Checkpoint.from_json(text)
        self.report_resumed(found)
        return found

    def report_resumed(self, found: Checkpoint | None) -> None:
        """Write a line to the step's log if ``found`` is a checkpoint of an earlier attempt.

        Only the first call can write: later calls get checkpoints of this attempt itself.
        """
        if self._has_looked:
            return
        self._has_looked = True
        if found is None:
            return
        runs = [run.run_id for run in self._tries]
        how = " from failure" if _is_from_failure(self.attempt.run) else ""
        why = "a retry of the step" if len(runs) == 1 else f"a re-execution{how} of run {runs[1]}"
        tell_step(
            self.step.log,
            "%s: this is %s; according to the checkpoint written at %s, %d rows of the delivery are durable",
            self.table,
            why,
            found.written_at,
            found.durable.rows,
        )

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint to Dagster, unless it is the same as the last one or there is nothing to record yet.

        There is nothing to record if the attempt's first checkpoint counts no rows, neither durable rows nor rows that
        may have been sent. A later checkpoint that counts no rows is written, because it corrects the previous one,
        which can count rows that were about to be sent but were never sent. Without this correction, the next attempt
        would report these rows as sent twice.

        A checkpoint is useful even if the source has no fingerprint: the next attempt then sends every row, and the
        checkpoint says how many of these rows are sent again.
        """
        is_unchanged = self._saved is not None and replace(self._saved, written_at=checkpoint.written_at) == checkpoint
        is_begun, self._saved = self._saved is not None, checkpoint
        if is_unchanged or not (checkpoint.durable or checkpoint.reached or is_begun):
            return
        rows = checkpoint.durable.rows
        if self._is_first and not rows:
            message = f"rows might have been sent to {self.table}; none of them is known to be durable"
            write_to_log(self.attempt, message, {**self._identity, _CHECKPOINT: checkpoint.to_json()})
            return
        self._observe(self._partition, rows, {_DELIVERY: self.delivery, _CHECKPOINT: checkpoint.to_json()})
        if rows and self.is_evidence and not self._is_told and self._partition is None:
            self._is_told = True
            for partition in self.step.partitions:
                self._observe(partition, rows, {})

    def _observe(self, partition: str | None, rows: int, metadata: dict[str, str]) -> None:
        self.step.log_event(
            dg.AssetObservation(
                asset_key=self._asset_key,
                partition=partition,
                description=f"{rows} {plural(rows, 'row')} durable in {self.table} so far",
                metadata={**table_metadata(self.table), ROWS_DURABLE: rows, **metadata},
            )
        )

    @property
    def _asset_key(self) -> dg.AssetKey:
        """The key of the asset to observe; in an op, a key that is made from the table's name."""
        return self.step.asset_key or dg.AssetKey(self.table.split("."))

    @property
    def _partition(self) -> str | None:
        if self.partition is not None:
            return self.partition
        return self.step.partitions[0] if len(self.step.partitions) == 1 else None

    @property
    def _identity(self) -> dict[str, str]:
        """The facts that identify this delivery in an event of a run's log.

        An observation has fields for the asset and the partition. An event of a run's log does not have these fields,
        so the facts include the asset and the partition.
        """
        return {
            "dagster/table_name": self.table,
            _DELIVERY: self.delivery,
            _ASSET: self._asset_key.to_string(),
            _PARTITION: self._partition or "",
        }

    def _checkpoints(self) -> Iterator[dg.MetadataValue]:
        """Yield the checkpoints of this delivery as metadata values that hold JSON text, newest first."""
        instance, step_key = self.attempt.instance, self.attempt.step_key
        run_ids = [run.run_id for run in self._tries]
        records_filter = dg.AssetRecordsFilter(
            asset_key=self._asset_key,
            asset_partitions=[self._partition] if self._partition else None,
            after_timestamp=self._begin(),
        )
        wanted = {key: self._identity[key] for key in (_DELIVERY, "dagster/table_name")}
        for record in observations_of(instance, records_filter):
            event = record.asset_observation
            is_ours = record.run_id in run_ids and record.event_log_entry.step_key == step_key
            if is_ours and event is not None and _has_checkpoint(event.metadata, wanted):
                yield event.metadata[_CHECKPOINT]
        for run_id in run_ids:
            for facts in facts_in_log(instance, run_id, step_key):
                if _has_checkpoint(facts, self._identity):
                    yield facts[_CHECKPOINT]

    def _begin(self) -> float | None:
        record = self.attempt.instance.get_run_record_by_id(self.epoch)
        return None if record is None else record.create_timestamp.timestamp() - _CLOCK_SKEW


def _has_checkpoint(metadata: Mapping[str, dg.MetadataValue], wanted: Mapping[str, str]) -> bool:
    """Return whether an event holds a checkpoint of the delivery that ``wanted`` describes."""
    return _CHECKPOINT in metadata and all(
        key in metadata and metadata[key].value == value for key, value in wanted.items()
    )
