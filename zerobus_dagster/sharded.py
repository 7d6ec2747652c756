"""Builds sharded assets, in which several steps each deliver one part of the source."""

# Dagster needs the annotations of ops as types, not as text: no `from __future__ import annotations` here.
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

import dagster as dg
from dagster import OpExecutionContext

from zerobus_core import ConfigurationError, IngestOptions, Receipt
from zerobus_core.hosting import check_table_name, plural

from .config import ZerobusIngestConfig
from .metadata import Metadata, receipt_metadata, table_metadata
from .progress import tell_step
from .shards import Read, ShardedWork, SliceWork, SourceWork, Split
from .step import AssetKeyLike

__all__ = ["build_zerobus_sharded_asset"]


def build_zerobus_sharded_asset(  # noqa: PLR0913 - what a user says of an asset, everything by name
    key: AssetKeyLike,
    *,
    table: str,
    split: Split | None = None,
    read: Read | None = None,
    source: Callable[[OpExecutionContext], Any] | None = None,
    shards: int | None = None,
    state_uri: str | None = None,
    handoff: str | None = None,
    options: IngestOptions | ZerobusIngestConfig | Mapping[str, Any] | None = None,
    resource_key: str = "zerobus",
    required_resource_keys: Set[str] = frozenset(),
    pool: str | None = "zerobus",
    retry_policy: dg.RetryPolicy | None = None,
    **asset: Any,
) -> dg.AssetsDefinition:
    """Build an asset of several steps: one splits a source, others deliver one shard each, and one merges receipts.

    ``split`` gets the context of its step and returns shards, as ``zerobus_core.split_source`` does. ``read`` gets the
    context of a shard's step and the shard, and returns the records for ``ingest``. For shards of a dataset or query,
    ``read`` must return ``zerobus_core.read_shard(x, shard)``, where ``x`` is the dataset or query that was split.
    Shards of files need no ``read``: without it, the shard itself is passed to ``ingest``.

    To deliver only what is new since the last run, pass ``source`` and ``shards`` instead of ``split``. ``source`` is a
    function that gets the context of a step and returns NewFiles or NewRows. The first step freezes the slice and
    splits it into at most ``shards`` shards, and the last step advances the state. The state is in the asset's own
    events, or in the file ``state_uri``, which NewFiles requires. ``handoff`` is the name of the handoff; by default,
    it is the asset's key. ``source`` cannot be used for partitioned assets.

    ``split``, ``read`` and ``source`` are not called while definitions are loaded. ``required_resource_keys`` are the
    resources that these functions use through ``context.resources``.

    The asset is materialized once, when every shard is durable. The materialization contains the merged receipt, unless
    ``split`` returned no shards. If a shard's step fails, ``retry_policy`` or a re-execution from failure retries this
    step. The retry sends only this shard, starting from the shard's own checkpoint.
    ``pool`` is a Dagster pool: if the instance has a limit for it, at most that many shards are delivered at once, over
    all runs. ``resource_key`` is the key of the ZerobusResource. All other parameters (``group_name``,
    ``partitions_def``, ``description``, …) are as for ``dagster.graph_asset``.

    Works with the executors in-process, multiprocess, Celery and Kubernetes, but not with dagster-dask, which never
    runs dynamic outputs. Raises ConfigurationError if ``table`` is not catalog.schema.table, or if the combination of
    parameters is invalid.
    """
    asset_key = dg.AssetKey.from_coercible(key)
    check_table_name(table)
    common: Any = {"table": table, "asset_key": asset_key, "resource_key": resource_key, "options": options}
    work: ShardedWork
    if source is not None and split is None and read is None and shards is not None:
        work = SliceWork(**common, source=source, n=shards, state_uri=state_uri, name=handoff)
    elif split is not None and source is None and not (shards or state_uri or handoff):
        work = SourceWork(**common, split_source=split, read=read)
    else:
        raise ConfigurationError(
            "pass either split (and read, if needed), or source and shards (and state_uri and handoff, if needed)",
            table=table,
        )
    name = "__".join(asset_key.path).replace("-", "_").replace(".", "_")
    keys = {resource_key, *required_resource_keys}
    split_keys = set(required_resource_keys) if source is None else keys

    @dg.op(name=f"{name}__split", out=dg.DynamicOut(dict), required_resource_keys=split_keys)
    def split_op(context: OpExecutionContext) -> Iterator[dg.DynamicOutput[dict[str, Any]]]:
        found = work.split(context)
        context.log.info(f"{table}: {len(found)} {plural(len(found), 'shard')}")
        for index, shard in enumerate(found):
            yield dg.DynamicOutput(shard, mapping_key=f"shard_{index:04d}")

    @dg.op(name=f"{name}__deliver", required_resource_keys=keys, retry_policy=retry_policy, pool=pool)
    def deliver_op(context: OpExecutionContext, shard: dict[str, Any]) -> dict[str, Any]:
        return work.deliver(context, shard)

    @dg.op(name=f"{name}__merge", out=dg.Out(dg.Nothing), required_resource_keys=split_keys)
    def merge_op(context: OpExecutionContext, delivered: list[dict[str, Any]]) -> Iterator[dg.Output[None]]:
        merged = work.merge(context, [one["receipt"] for one in delivered])
        if merged is None:
            yield dg.Output(None, metadata={**table_metadata(table), "dagster-zerobus/shards": 0})
            return
        receipt, more = merged
        _report(context, receipt)
        about = delivered[0]["about"] if delivered else {}
        metadata = {**table_metadata(table), **about, **_merged_metadata(receipt, len(delivered)), **more}
        yield dg.Output(None, metadata=metadata)

    def graph() -> Any:
        return merge_op(split_op().map(deliver_op).collect())

    graph.__name__ = name
    attributes = {"metadata": table_metadata(table), "kinds": {"databricks", "zerobus"}, **asset}
    return dg.graph_asset(key=asset_key, **attributes)(graph)


def _merged_metadata(receipt: Receipt, shards: int) -> Metadata:
    slowest = round(receipt.slowest_shard_s or 0.0, 3)
    return {
        **receipt_metadata([receipt]),
        "dagster-zerobus/shards": shards,
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
