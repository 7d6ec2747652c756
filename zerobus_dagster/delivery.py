"""One delivery inside a step: the core's ``ingest`` with Dagster's log, event log and error routing around it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from zerobus_core import ConfigurationError, IngestOptions, TableSchema, ZerobusIngestError, ingest

from .checkpoint import ObservationCheckpointStore, tries_of
from .history import OnRematerialize, refuse_rematerialization
from .metadata import Metadata, column_metadata, error_metadata, range_metadata, receipt_metadata, table_metadata
from .progress import ProgressLog, core_logs_in, tell_step

if TYPE_CHECKING:
    from zerobus_core import Receipt, Workspace

    from .step import Step

__all__ = ["DagsterDelivery", "ingest_options", "routed_errors"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DagsterDelivery:
    """Rows on their way to one table, inside one step.

    ``name`` tells the deliveries of one step to one table apart, and is the same in every try of the step.
    """

    step: Step
    workspace: Workspace
    table: str
    options: IngestOptions
    name: str
    resume: bool
    on_rematerialize: OnRematerialize

    def run(self, records: Any) -> Metadata:
        """Push all records and return the event's metadata when every one of them is durable.

        A mapping has the records of each partition of the run under its key: they are delivered one after the other,
        and each partition gets the figures of its own.  Raises what ``ingest`` raises; wrap it in ``routed_errors``.
        """
        if self.on_rematerialize == "refuse":
            refuse_rematerialization(self.step, self.table)
        columns = column_metadata(TableSchema.fetch(self.workspace, self.table))
        if not (self.step.partitions and isinstance(records, Mapping)):
            receipts = self._push(records, self.name)
            return {**columns, **range_metadata(self.step.partitions), **receipt_metadata(receipts)}
        self._check_partitions(records)
        for partition in self.step.partitions:
            self._push(records[partition], f"{self.name}, partition {partition}", partition)
        return {**columns, **table_metadata(self.table)}

    def _push(self, records: Any, name: str, partition: str | None = None) -> list[Receipt]:
        """The receipts of the asset or partition so far, this delivery's last."""
        step, store = self.step, self._checkpoint_store(name, partition)
        with core_logs_in(step.log):
            receipt = ingest(
                self.workspace,
                self.table,
                records,
                options=self._named(name),
                checkpoint=store,
                on_progress=ProgressLog(step.log),
            )
        tell_step(
            step.log,
            "%s: %d rows read, %d acknowledged, %d durable before, %d in the dead-letter file",
            receipt.table,
            receipt.rows_read,
            receipt.rows_acked,
            receipt.rows_skipped,
            receipt.rows_dead_lettered,
        )
        return step.deliveries.add(step.asset_key, partition, receipt, step.add_metadata)

    def _named(self, name: str) -> IngestOptions:
        """The options, with what all tries of this delivery have in common, for the key of ``delivery_columns``."""
        attempt, given = self.step.attempt, self.options.delivery_name
        if given is not None:  # it may hold for several partitions of the run
            return replace(self.options, delivery_name=json.dumps([given, name]))
        if attempt is None:
            return self.options
        began_in = tries_of(attempt.run, attempt.instance)[-1].run_id
        asset = self.step.asset_key.to_user_string() if self.step.asset_key else None
        return replace(self.options, delivery_name=json.dumps([began_in, attempt.step_key, asset, name]))

    def _checkpoint_store(self, name: str, partition: str | None) -> ObservationCheckpointStore | None:
        attempt, refuses = self.step.attempt, self.on_rematerialize == "refuse"
        if attempt is None or not (self.resume or refuses):
            return None
        return ObservationCheckpointStore(
            step=self.step,
            attempt=attempt,
            table=self.table,
            delivery=name,
            partition=partition,
            resume=self.resume,
            is_evidence=refuses,
        )

    def _check_partitions(self, records: Mapping[Any, Any]) -> None:
        expected = set(self.step.partitions)
        if set(records) != expected:
            missing, unknown = sorted(expected - set(records)), sorted(map(str, set(records) - expected))
            raise ConfigurationError(
                "records in a mapping need the keys of the run's partitions: "
                f"missing {missing or 'none'}, not of this run {unknown or 'none'}",
                table=self.table,
            )


@contextmanager
def routed_errors() -> Iterator[None]:
    """Tell Dagster whether trying again can help.

    A retryable error leaves as it is, so that a RetryPolicy applies.  Any other becomes a ``dagster.Failure`` that
    allows no retries and carries the facts as metadata.
    """
    try:
        yield
    except ZerobusIngestError as error:
        if error.retryable:
            raise
        raise dg.Failure(description=str(error), metadata=error_metadata(error), allow_retries=False) from error


def ingest_options(*layers: Mapping[str, Any]) -> IngestOptions:
    """Build options out of configuration; later layers win.

    Raises ConfigurationError for an option that does not exist or a value that it cannot have.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update(layer)
    return IngestOptions.from_mapping(merged)
