"""Runs one delivery inside a step: calls the core's ``ingest`` with Dagster's log, event log and error handling."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeGuard, TypeVar

import dagster as dg

from zerobus_core import (
    ConfigurationError,
    IngestInterruptedError,
    IngestOptions,
    TableSchema,
    ZerobusIngestError,
    ingest,
)
from zerobus_core.hosting import is_of_signal, is_shard

from .checkpoint import ObservationCheckpointStore, tries_of
from .file_checkpoint import StepFileStore
from .history import OnRematerialize, refuse_rematerialization
from .metadata import (
    Metadata,
    column_metadata,
    error_metadata,
    explorer_metadata,
    partition_metadata,
    range_metadata,
    receipt_metadata,
    table_metadata,
)
from .progress import LoopLog, core_logs_in, progress_log, tell_step

if TYPE_CHECKING:
    from zerobus_core import Receipt, Workspace
    from zerobus_core.hosting import LoopBridge

    from .progress import StepLog
    from .resume import Resume
    from .step import Step

__all__ = ["DagsterDelivery", "are_by_partition", "routed_errors"]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

Store: TypeAlias = ObservationCheckpointStore | StepFileStore


@dataclass(frozen=True, slots=True, kw_only=True)
class DagsterDelivery:
    """A delivery of rows to one table, inside one step.

    ``name`` distinguishes the deliveries of one step to one table, and is the same in every attempt of the step.
    ``loop`` is set in an async step: the delivery then runs in a thread of its own, and calls Dagster on the thread of
    the event loop.
    """

    step: Step
    workspace: Workspace
    table: str
    options: IngestOptions
    name: str
    resume: Resume
    on_rematerialize: OnRematerialize
    checkpoint_uri: str | None = None
    loop: LoopBridge | None = None

    def run(self, records: Any) -> Metadata:
        """Push all records, wait until they are durable, and return metadata for the materialization.

        ``records`` can be a mapping from the key of each partition of the run to the records of the partition. The
        partitions are then delivered one after the other, and the materialization of each shows its own figures. Raises
        the errors of ``ingest``; wrap the call in ``routed_errors``.
        """
        if self.on_rematerialize == "refuse":
            self._on_host(refuse_rematerialization, self.step, self.table)
        stop = None if self.loop is None else self.loop.stop
        columns = {
            **column_metadata(TableSchema.fetch(self.workspace, self.table, stop=stop)),
            **explorer_metadata(self.workspace.workspace_url, self.table),
        }
        if not (self.step.partitions and are_by_partition(records)):
            receipts = self._push(records, self.name)
            whole = self._whole_partition(receipts) if len(self.step.partitions) == 1 else {}
            return {**columns, **range_metadata(self.step.partitions), **receipt_metadata(receipts), **whole}
        self._check_partitions(records)
        for partition in self.step.partitions:
            receipts = self._push(records[partition], f"{self.name}, partition {partition}", partition)
            if whole := self._whole_partition(receipts):
                self._on_host(self.step.add_metadata, partition, whole)
        return {**columns, **table_metadata(self.table)}

    def _whole_partition(self, receipts: Sequence[Receipt]) -> Metadata:
        # Without "refuse", another run may have put rows of the partition into the table.
        return partition_metadata(receipts) if self.on_rematerialize == "refuse" else {}

    def _push(self, records: Any, name: str, partition: str | None = None) -> list[Receipt]:
        """Deliver the records; return all receipts of the asset or partition so far, the new one last."""
        step, loop = self.step, self.loop
        store = self._on_host(self._checkpoint_store, name, partition)
        log: StepLog = step.log if loop is None else LoopLog(step.log, loop)
        with core_logs_in(log), self._stops_told(log, store):
            receipt = ingest(
                self.workspace,
                self.table,
                records if loop is None else loop.records(records),
                options=self._on_host(self._named, name),
                checkpoint=store if loop is None else loop.store(store),
                on_progress=progress_log(log),
                stop=None if loop is None else loop.stop,
            )
        tell_step(
            log,
            "%s: %d rows read, %d acknowledged, %d durable before, %d in the dead-letter file",
            receipt.table,
            receipt.rows_read,
            receipt.rows_acked,
            receipt.rows_skipped,
            receipt.rows_dead_lettered,
        )
        return self._on_host(step.deliveries.add, step.asset_key, partition, receipt, step.add_metadata)

    @contextmanager
    def _stops_told(self, log: StepLog, store: Store | None) -> Iterator[None]:
        """If the delivery is stopped from outside during the ``with`` block, log how many rows are durable.

        Logs nothing if the delivery has no checkpoint store, or if ``resume`` is "never".
        """
        try:
            yield
        except BaseException as error:
            is_stop = not isinstance(error, Exception) or isinstance(error, IngestInterruptedError)
            if (is_stop or is_of_signal(error)) and store is not None and self.resume != "never":
                rest = (
                    "; re-execute the run from failure to send the rest"
                    if store.rows_durable
                    else "; a re-execution from failure sends every row"
                )
                tell_step(log, "%s: stopped, %d rows are durable%s", self.table, store.rows_durable, rest)
            raise

    def _on_host(
        self, function: Callable[_Parameters, _Result], *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> _Result:
        """Call a function that uses Dagster; in an async step, call it on the event loop's thread."""
        return function(*args, **kwargs) if self.loop is None else self.loop.call(function, *args, **kwargs)

    def _named(self, name: str) -> IngestOptions:
        """Return the options with a ``delivery_name`` that is the same in all attempts.

        The values of ``delivery_columns`` depend on this name.
        """
        attempt, given = self.step.attempt, self.options.delivery_name
        if given is not None:  # the user's name can be the same for several partitions
            return replace(self.options, delivery_name=json.dumps([given, name]))
        if attempt is None:
            return self.options
        began_in = tries_of(attempt.run, attempt.instance, self.resume)[-1].run_id
        asset = self.step.asset_key.to_user_string() if self.step.asset_key else None
        return replace(self.options, delivery_name=json.dumps([began_in, attempt.step_key, asset, name]))

    def _checkpoint_store(self, name: str, partition: str | None) -> Store | None:
        attempt, refuses = self.step.attempt, self.on_rematerialize == "refuse"
        if attempt is None or (self.resume == "never" and not refuses):
            return None
        observations = ObservationCheckpointStore(
            step=self.step,
            attempt=attempt,
            table=self.table,
            delivery=name,
            partition=partition,
            resume=self.resume,
            is_evidence=refuses,
        )
        if self.checkpoint_uri is None:
            return observations
        return StepFileStore(self.checkpoint_uri, observations, call=self._on_host)

    def _check_partitions(self, records: Mapping[Any, Any]) -> None:
        expected = set(self.step.partitions)
        if set(records) != expected:
            missing, unknown = sorted(expected - set(records)), sorted(map(str, set(records) - expected))
            raise ConfigurationError(
                f"the keys of a mapping of records must be the run's partitions; missing keys: {missing or 'none'}; "
                f"keys that are not in this run: {unknown or 'none'}",
                table=self.table,
            )


def are_by_partition(records: Any) -> TypeGuard[Mapping[str, Any]]:
    """Return whether records are a mapping from partitions to records.

    A shard is also a mapping, but its keys are not partitions.
    """
    return isinstance(records, Mapping) and not is_shard(records)


@contextmanager
def routed_errors() -> Iterator[None]:
    """Convert errors that the ``with`` block raises, so that Dagster retries only if a retry can help.

    A retryable ZerobusIngestError is passed on unchanged, so that a RetryPolicy applies. Any other ZerobusIngestError
    becomes a ``dagster.Failure`` that allows no retries and has the facts of the error as metadata. Exceptions of other
    classes are passed on unchanged.
    """
    try:
        yield
    except ZerobusIngestError as error:
        if error.retryable:
            raise
        raise dg.Failure(description=str(error), metadata=error_metadata(error), allow_retries=False) from error
