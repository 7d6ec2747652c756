"""The facts about a running step, read from any of Dagster's contexts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import dagster as dg
from dagster import AssetExecutionContext, OpExecutionContext, OutputContext

from zerobus_core import ConfigurationError

from .deliveries import Publish, StepDeliveries, deliveries_of

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterLogManager, DagsterRun, StepExecutionContext

    from .metadata import Metadata

__all__ = ["AssetKeyLike", "Attempt", "Step", "StepContext"]

AssetKeyLike: TypeAlias = dg.AssetKey | str | Sequence[str]
StepContext: TypeAlias = AssetExecutionContext | OpExecutionContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt of a step, in a run that a Dagster instance stores."""

    instance: DagsterInstance
    run: DagsterRun
    step_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The facts about a step that a delivery needs, and access to Dagster's event log.

    In an op, ``asset_key`` is None unless the op passed the key of an asset. ``partitions`` are the asset's partitions
    in this run. The tuple is empty if the asset has no partitions, and can have several entries in a run over a range
    of partitions. ``attempt`` is None if the asset or op was called as a function, as in unit tests: such a call has
    no run, so there is nothing to resume.
    """

    is_asset: bool
    """Whether the step materializes assets. False for an op."""
    log: DagsterLogManager
    log_event: Callable[[dg.AssetObservation], None]
    asset_key: dg.AssetKey | None
    partitions: tuple[str, ...]
    attempt: Attempt | None
    deliveries: StepDeliveries
    """The deliveries of this attempt so far."""
    add_metadata: Publish
    """Adds metadata to the materialization of one partition. If the partition is None, adds it to all partitions.

    Does nothing in an op, and outside of a run.
    """

    @classmethod
    def of(cls, context: StepContext, asset_key: dg.AssetKey | None = None) -> Step:
        """Build a Step from the context of an asset or op.

        If the step makes several assets, ``asset_key`` chooses one of them.

        Raises ConfigurationError if the step makes several assets and ``asset_key`` is None, or if the step makes
        assets and ``asset_key`` is not one of them.
        """
        op_context = context.op_execution_context if isinstance(context, AssetExecutionContext) else context
        assets = _assets_definition(op_context)
        key = _asset_key(assets, asset_key)
        is_partitioned = assets is not None and key is not None and assets.specs_by_key[key].partitions_def is not None
        has_partitions = op_context.has_partition_key or op_context.has_partition_key_range
        running = _running(op_context)
        is_asset = assets is not None or isinstance(context, AssetExecutionContext)
        return cls(
            is_asset=is_asset,
            log=context.log,
            log_event=context.log_event,
            asset_key=key,
            partitions=_partitions(op_context) if is_partitioned and has_partitions else (),
            attempt=_attempt(running),
            deliveries=deliveries_of(running),
            add_metadata=_asset_metadata(running, key),
        )

    @classmethod
    def of_output(cls, context: OutputContext) -> Step:
        """Build a Step from the context of an IO manager."""
        # Not has_partition_key: it is False in a run over a range of partitions.
        partitions = tuple(context.asset_partition_keys) if context.has_asset_partitions else ()
        running = _running_output(context)
        key = context.asset_key if context.has_asset_key else None
        return cls(
            is_asset=key is not None,
            log=context.log,
            log_event=context.log_event,
            asset_key=key,
            partitions=partitions,
            attempt=_attempt(running),
            deliveries=deliveries_of(running),
            add_metadata=_asset_metadata(running, key),
        )


def _assets_definition(context: OpExecutionContext) -> dg.AssetsDefinition | None:
    try:
        return context.assets_def if context.has_assets_def else None
    except dg.DagsterError:  # a context from build_*_context() outside of a call
        return None


def _asset_key(assets: dg.AssetsDefinition | None, wanted: dg.AssetKey | None) -> dg.AssetKey | None:
    keys = sorted(assets.keys) if assets is not None else []
    if wanted is not None:
        if keys and wanted not in keys:
            raise ConfigurationError(
                f"asset_key {wanted.to_user_string()!r} is not one of this step's assets: {_names_of(keys)}"
            )
        return wanted
    if len(keys) > 1:
        raise ConfigurationError(f"this step makes several assets: set asset_key to one of {_names_of(keys)}")
    return keys[0] if keys else None


def _names_of(keys: list[dg.AssetKey]) -> str:
    return ", ".join(key.to_user_string() for key in keys)


def _partitions(context: OpExecutionContext) -> tuple[str, ...]:
    return (context.partition_key,) if context.has_partition_key else tuple(context.partition_keys)


def _running(context: OpExecutionContext) -> StepExecutionContext | None:
    try:
        return context.get_step_execution_context()
    except dg.DagsterError:  # called directly
        return None


def _running_output(context: OutputContext) -> StepExecutionContext | None:
    try:
        return context.step_context
    except dg.DagsterInvariantViolationError:  # made by build_output_context()
        return None


def _attempt(running: StepExecutionContext | None) -> Attempt | None:
    if running is None:
        return None
    return Attempt(
        instance=running.instance,
        run=running.dagster_run,
        step_key=running.step.key,
    )


def _asset_metadata(running: StepExecutionContext | None, asset_key: dg.AssetKey | None) -> Publish:
    def add(partition: str | None, metadata: Metadata) -> None:
        # Called directly, or in an op: there is no event to add to.
        assets = running.assets_def if running is not None else None
        if running is not None and assets is not None and asset_key in assets.keys:
            running.add_asset_metadata(metadata, asset_key=asset_key, partition_key=partition)

    return add
