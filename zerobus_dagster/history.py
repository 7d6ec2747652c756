"""What Dagster remembers of earlier deliveries: Zerobus appends, so materializing again means the same rows twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import dagster as dg

from zerobus_core.errors import ConfigurationError

from .checkpoint import tries_of

if TYPE_CHECKING:
    from .step import Attempt, Step

__all__ = ["OnRematerialize", "refuse_rematerialization"]

OnRematerialize: TypeAlias = Literal["append", "refuse"]


def refuse_rematerialization(step: Step, table: str) -> None:
    """Raise ConfigurationError if the asset, or a partition of this run, was delivered to ``table`` by another run.

    Only what Dagster calls the latest materialization counts; wiping it in the UI, once the rows are deleted from the
    table, lets the delivery go.  The tries of this run before a re-execution from failure do not count.
    """
    if step.asset_key is None:
        raise ConfigurationError(
            'on_rematerialize="refuse" needs an asset: an op has no materializations to look at', table=table
        )
    if step.attempt is None:
        return
    asset = step.asset_key.to_user_string()
    for partition in step.partitions or (None,):
        run_id = _delivered_by(step.attempt, step.asset_key, partition, table)
        if run_id is not None:
            what = asset if partition is None else f"partition {partition} of {asset}"
            raise ConfigurationError(
                f"{what} was delivered by run {run_id}; materializing it again would append the same rows once more. "
                'Delete them from the table and wipe the materialization, or set on_rematerialize="append"',
                table=table,
            )


def _delivered_by(attempt: Attempt, asset_key: dg.AssetKey, partition: str | None, table: str) -> str | None:
    records_filter = dg.AssetRecordsFilter(
        asset_key=asset_key, asset_partitions=None if partition is None else [partition]
    )
    own = {run.run_id for run in tries_of(attempt.run, attempt.instance)}
    for record in attempt.instance.fetch_materializations(records_filter, limit=1).records:
        event = record.asset_materialization
        name = event.metadata.get("dagster/table_name") if event is not None else None
        if name is not None and name.value == table and record.run_id not in own:
            return record.run_id
    return None
