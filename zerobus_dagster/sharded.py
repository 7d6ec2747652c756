"""A sharded asset: one asset whose rows are delivered by several steps, each with its own part of the source."""

# Dagster reads the annotations of ops itself, and takes no text: no `from __future__ import annotations` here.
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import dagster as dg
from dagster import OpExecutionContext

from zerobus_core import ConfigurationError, IngestOptions, Receipt, merge_receipts
from zerobus_core.hosting import check_table_name

from .config import ZerobusIngestConfig
from .delivery import routed_errors
from .metadata import Metadata, receipt_metadata, receipts_in, table_metadata
from .progress import tell_step
from .step import AssetKeyLike

if TYPE_CHECKING:
    from .resource import ZerobusResource

__all__ = ["build_zerobus_sharded_asset"]

Shard: TypeAlias = Mapping[str, Any]
_ABOUT_THE_TABLE = {"dagster/column_schema", "dagster/table_name", "dagster/storage_kind"}


def build_zerobus_sharded_asset(  # noqa: PLR0913 - what a user says of an asset, everything by name
    key: AssetKeyLike,
    *,
    table: str,
    split: Callable[[OpExecutionContext], Sequence[Shard]],
    read: Callable[[OpExecutionContext, Shard], Any] | None = None,
    options: IngestOptions | ZerobusIngestConfig | Mapping[str, Any] | None = None,
    resource_key: str = "zerobus",
    required_resource_keys: Set[str] = frozenset(),
    pool: str | None = "zerobus",
    retry_policy: dg.RetryPolicy | None = None,
    **asset: Any,
) -> dg.AssetsDefinition:
    """An asset of several steps: one splits the source, one for each shard delivers it to ``table``, one merges.

    ``split`` gets the context of its step and returns shards, as ``zerobus_core.split_source`` does.  ``read`` gets the
    context of a shard's step and the shard, and returns what ``ingest`` takes as records: for shards of datasets and
    queries, ``read_shard(source, shard)``; without it the shard itself, which is right for files.  Neither is called
    while definitions are loaded.  ``required_resource_keys`` are those that the two use by ``context.resources``.

    The asset is materialized once, when every shard is durable, with the merged receipt.  A step that fails is tried
    again by ``retry_policy``, or by a re-execution from failure: only its shard, from its own checkpoint.
    ``pool`` limits how many shards are delivered at once, over all runs, if the instance has a limit for it.
    ``resource_key`` is that of the ZerobusResource.  All else (``group_name``, ``partitions_def``, ``description``, …)
    is as for ``dagster.graph_asset``.

    Executors: in-process, multiprocess, Celery, Kubernetes.  Not dagster-dask, which never runs dynamic outputs.
    Raises ConfigurationError if the table's name is not catalog.schema.table.
    """
    asset_key = dg.AssetKey.from_coercible(key)
    check_table_name(table)
    name = "__".join(asset_key.path).replace("-", "_").replace(".", "_")

    @dg.op(name=f"{name}__split", out=dg.DynamicOut(dict), required_resource_keys=set(required_resource_keys))
    def split_op(context: OpExecutionContext) -> Iterator[dg.DynamicOutput[dict[str, Any]]]:
        with routed_errors():
            shards = _checked(split(context), table)
        context.log.info(f"{table}: {len(shards)} shards")
        for index, shard in enumerate(shards):
            yield dg.DynamicOutput(shard, mapping_key=f"shard_{index:04d}")

    @dg.op(
        name=f"{name}__deliver",
        required_resource_keys={resource_key, *required_resource_keys},
        retry_policy=retry_policy,
        pool=pool,
    )
    def deliver_op(context: OpExecutionContext, shard: dict[str, Any]) -> dict[str, Any]:
        resource = cast("ZerobusResource", getattr(context.resources, resource_key))
        with routed_errors():
            records = shard if read is None else read(context, shard)
        result = resource.ingest(context, table, records, options=options, asset_key=asset_key)
        metadata: Metadata = {**cast("Metadata", result.metadata)}
        return {
            "receipt": receipts_in(metadata)[-1],
            "about": {name: value for name, value in metadata.items() if name in _ABOUT_THE_TABLE},
        }

    @dg.op(name=f"{name}__merge", out=dg.Out(dg.Nothing))
    def merge_op(context: OpExecutionContext, delivered: list[dict[str, Any]]) -> Iterator[dg.Output[None]]:
        if not delivered:
            context.log.warning(f"{table}: the source has no shards, and nothing was delivered")
            yield dg.Output(None, metadata={**table_metadata(table), "dagster-zerobus/shards": 0})
            return
        merged = merge_receipts(one["receipt"] for one in delivered)
        _report(context, merged)
        yield dg.Output(None, metadata={**delivered[0]["about"], **_merged_metadata(merged)})

    def graph() -> Any:
        return merge_op(split_op().map(deliver_op).collect())

    graph.__name__ = name
    attributes = {"metadata": table_metadata(table), "kinds": {"databricks", "zerobus"}, **asset}
    return dg.graph_asset(key=asset_key, **attributes)(graph)


def _checked(shards: Any, table: str) -> list[dict[str, Any]]:
    if isinstance(shards, Sequence) and all(isinstance(shard, Mapping) for shard in shards):
        return [dict(shard) for shard in shards]
    raise ConfigurationError(
        f"split must return the list of shards that split_source returns, not {type(shards).__name__}", table=table
    )


def _merged_metadata(receipt: Receipt) -> Metadata:
    slowest = round(receipt.slowest_shard_s or 0.0, 3)
    return {
        **receipt_metadata([receipt]),
        "dagster-zerobus/shards": receipt.shards,
        "dagster-zerobus/slowest_shard_s": slowest,
    }


def _report(context: OpExecutionContext, receipt: Receipt) -> None:
    tell_step(
        context.log,
        "%s: %d rows of %d shards read, %d acknowledged, %d durable before, %d in the dead-letter file",
        receipt.table,
        receipt.rows_read,
        receipt.shards,
        receipt.rows_acked,
        receipt.rows_skipped,
        receipt.rows_dead_lettered,
    )
