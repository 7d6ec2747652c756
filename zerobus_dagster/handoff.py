"""Stores the state of handoffs in Dagster, in the asset's own events.

The state is an observation of the asset. If two runs write a state at the same moment, the run whose event comes first
in the log wins. Wiping the asset also removes the state, so the next run starts over.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from zerobus_core import Checkpoint, ConfigurationError
from zerobus_core.hosting import plural

from .checkpoint import observations_of, tries_of
from .metadata import HANDOFF_NAME, NAMESPACE, table_in, table_metadata

if TYPE_CHECKING:
    from dagster import DagsterInstance, EventLogRecord

    from zerobus_core import CheckpointStore, Handoff, IngestOptions, Workspace

    from .step import Step

__all__ = ["EventStateStore", "handoff_of"]

_STATE = f"{NAMESPACE}/handoff_state"
_REVISION = f"{NAMESPACE}/handoff_revision"
_SLICE = f"{NAMESPACE}/handoff_slice"
_CHECKPOINT = f"{NAMESPACE}/handoff_checkpoint"
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.1
# Seconds: a lease lasts 300, and each save of the checkpoint renews it.
_SAVE_INTERVAL = 10.0


@dataclass(kw_only=True)
class EventStateStore:
    """A ``StateStore`` in the observations of an asset. If ``log_event`` is None, the store is read-only."""

    instance: DagsterInstance
    asset_key: dg.AssetKey
    table: str
    name: str
    log_event: Callable[[dg.AssetObservation], None] | None = None

    side_files = None

    @property
    def shown(self) -> str:
        """See StateStore."""
        return f"the events of asset {self.asset_key.to_user_string()}"

    def load(self) -> str | None:
        """See StateStore."""
        return self._current()[1]

    def save(self, text: str, *, replaces: str | None) -> None:
        """See StateStore."""
        from zerobus_core.hosting import StateConflict

        revision, current = self._current()
        if current != replaces:
            raise StateConflict(self.shown)
        self._observe("state of the handoff", {_STATE: text, _REVISION: revision + 1})
        time.sleep(random.uniform(_SHORTEST_PAUSE, _LONGEST_PAUSE))  # noqa: S311 - concurrent runs must pause differently
        if self._current()[1] != text:
            raise StateConflict(self.shown)

    def has_traces(self) -> bool:
        """See StateStore."""
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=self.asset_key), limit=20
        ).records
        events = [record.asset_materialization for record in records]
        return any(
            event is not None and HANDOFF_NAME in event.metadata and table_in(event.metadata) == self.table
            for event in events
        )

    def checkpoint(self, slice_id: str, epoch: str) -> CheckpointStore:
        """See StateStore."""
        return _SliceCheckpoint(store=self, slice_id=slice_id, epoch=epoch)

    def forget(self, slice_id: str) -> None:
        """See StateStore. Does nothing, because events are kept."""

    def checkpoint_text(self, slice_id: str) -> str | None:
        """Return the last checkpoint that was saved for the slice; None if none was saved."""
        for record in self._records():
            metadata = _metadata_of(record)
            if _CHECKPOINT in metadata and metadata[_SLICE].value == slice_id:
                return str(metadata[_CHECKPOINT].value)
        return None

    def _observe(self, description: str, metadata: dict[str, Any]) -> None:
        assert self.log_event is not None, "a sensor does not write"
        self.log_event(
            dg.AssetObservation(
                asset_key=self.asset_key,
                description=description,
                metadata={**table_metadata(self.table), HANDOFF_NAME: self.name, **metadata},
            )
        )

    def _current(self) -> tuple[int, str | None]:
        """Return the highest revision and its state; (0, None) if there is no state.

        If several states have this revision, the one that was written first is returned.
        """
        found: list[tuple[int, int, str]] = []
        for record in self._records():
            metadata = _metadata_of(record)
            if _STATE not in metadata:
                continue
            revision = int(metadata[_REVISION].value)
            if found and revision < max(found)[0] - 1:
                break  # older events hold older states
            found.append((revision, -record.storage_id, str(metadata[_STATE].value)))
        return (max(found)[0], max(found)[2]) if found else (0, None)

    def _records(self) -> Iterator[EventLogRecord]:
        for record in observations_of(self.instance, dg.AssetRecordsFilter(asset_key=self.asset_key)):
            metadata = _metadata_of(record)
            if HANDOFF_NAME in metadata and metadata[HANDOFF_NAME].value == self.name:
                yield record


def _metadata_of(record: EventLogRecord) -> Any:
    observation = record.asset_observation
    return {} if observation is None else observation.metadata


@dataclass(kw_only=True)
class _SliceCheckpoint:
    """The checkpoint of a slice, from which any later run can resume."""

    store: EventStateStore
    slice_id: str
    epoch: str
    save_interval: float = _SAVE_INTERVAL

    def load(self) -> Checkpoint | None:
        text = self.store.checkpoint_text(self.slice_id)
        return None if text is None else Checkpoint.from_json(text)

    def save(self, checkpoint: Checkpoint) -> None:
        rows = checkpoint.durable.rows
        self.store._observe(
            f"{rows} {plural(rows, 'row')} of slice {self.slice_id} durable so far",
            {_SLICE: self.slice_id, _CHECKPOINT: checkpoint.to_json()},
        )


def handoff_of(  # noqa: PLR0913 - what the resource knows of a step's handoff
    step: Step,
    workspace: Workspace,
    table: str,
    source: Any,
    *,
    options: IngestOptions,
    name: str | None,
    state_uri: str | None,
    on_progress: Any,
    is_of_asset: bool = False,
) -> Handoff:
    """Return the handoff of a step.

    Retries of the step and re-executions from failure deliver the same slice. With ``is_of_asset``, all steps of
    the asset in this run share one slice.

    Raises ConfigurationError if the asset is partitioned, because its runs deliver partitions instead of slices. Also
    raises ConfigurationError outside of a run if ``state_uri`` is None.
    """
    # Imported here, so that processes that only load definitions do not load it.
    from zerobus_core import Handoff
    from zerobus_core.hosting import Owner

    if step.partitions:
        raise ConfigurationError(
            "hand_over is not for partitioned assets, whose runs deliver partitions instead of slices; use ingest",
            table=table,
        )
    attempt = step.attempt
    key = step.asset_key or dg.AssetKey(table.split("."))
    chosen = name or key.to_user_string()
    state: Any = state_uri
    if state is None:
        if attempt is None:
            raise ConfigurationError(
                "hand_over was called outside of a run, where there are no asset events: set state_uri", table=table
            )
        state = EventStateStore(
            instance=attempt.instance, asset_key=key, table=table, name=chosen, log_event=step.log_event
        )
    owner = None
    if attempt is not None:
        root = tries_of(attempt.run, attempt.instance)[-1].run_id
        owner = Owner(key=f"{root}/{key.to_user_string() if is_of_asset else attempt.step_key}")
    return Handoff(
        workspace, table, source, state=state, name=chosen, options=options, owner=owner, on_progress=on_progress
    )
