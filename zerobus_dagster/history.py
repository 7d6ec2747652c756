"""Finds earlier deliveries in Dagster: Zerobus appends, so materializing again would write the same rows twice."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import dagster as dg

from zerobus_core import ConfigurationError

from .checkpoint import ROWS_DURABLE, observations_of, tries_of
from .metadata import receipts_in, table_in

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from .step import Step

__all__ = ["OnRematerialize", "refuse_rematerialization"]

OnRematerialize: TypeAlias = Literal["append", "refuse"]


def refuse_rematerialization(step: Step, table: str) -> None:
    """Raise ConfigurationError if another run has delivered rows of the asset or of this run's partitions.

    Two kinds of events show this: the latest materialization, if it was a delivery to ``table``, and any observation
    that rows are durable in ``table``. To deliver after the rows were deleted from the table, wipe the asset in the UI.

    If this run re-executes a run from failure, both count as the same run. If this run re-executes a run in full, that
    run counts as another run, whatever ``resume`` is.

    Also raises ConfigurationError in an op, which has no materializations. Does nothing outside of a run.
    """
    if step.asset_key is None:
        raise ConfigurationError('on_rematerialize="refuse" needs an asset: an op has no materializations', table=table)
    if step.attempt is None:
        return
    own = {run.run_id for run in tries_of(step.attempt.run, step.attempt.instance)}
    for partition in step.partitions or (None,):
        past = _Past(step.attempt.instance, step.asset_key, partition, table, own)
        if (run_id := past.delivered_by()) is not None:
            raise ConfigurationError(
                f"{past} was delivered by run {run_id}; materializing it again would append the same rows once more. "
                'Delete the rows from the table and wipe the materialization, or set on_rematerialize="append"',
                table=table,
            )
        if (run_id := past.begun_by()) is not None:
            raise ConfigurationError(
                f"run {run_id} delivered some rows of {past}; a new delivery would append them once more. "
                "Re-execute that run from failure (a source with a fingerprint sends only its missing rows), or delete "
                'its rows from the table and wipe the asset, or set on_rematerialize="append"',
                table=table,
            )


@dataclass(frozen=True, slots=True)
class _Past:
    """The deliveries to a table that other runs made for an asset, or for one of its partitions.

    ``own`` contains the ids of this run and of the runs that it re-executes from failure. These are not treated as
    other runs.
    """

    instance: DagsterInstance
    asset_key: dg.AssetKey
    partition: str | None
    table: str
    own: Set[str]

    def __str__(self) -> str:
        asset = self.asset_key.to_user_string()
        return asset if self.partition is None else f"partition {self.partition} of {asset}"

    def delivered_by(self) -> str | None:
        """Return the id of the run that made the last materialization.

        Returns None if there is no materialization, if the last one was not a delivery to the table, or if the id of
        its run is in ``own``.
        """
        for record in self.instance.fetch_materializations(self._filter, limit=1).records:
            event = record.asset_materialization
            metadata = event.metadata if event is not None else {}
            tables = {table_in(metadata), *(receipt.get("table") for receipt in receipts_in(metadata))}
            if self.table in tables and record.run_id not in self.own:
                return record.run_id
        return None

    def begun_by(self) -> str | None:
        """Return the id of the last other run that recorded durable rows in the table; None if no other run did."""
        for record in observations_of(self.instance, self._filter):
            event = record.asset_observation
            metadata = event.metadata if event is not None else {}
            has_rows = ROWS_DURABLE in metadata and metadata[ROWS_DURABLE].value
            if has_rows and table_in(metadata) == self.table and record.run_id not in self.own:
                return record.run_id
        return None

    @property
    def _filter(self) -> dg.AssetRecordsFilter:
        partitions = None if self.partition is None else [self.partition]
        return dg.AssetRecordsFilter(asset_key=self.asset_key, asset_partitions=partitions)
