"""The work in the steps of a sharded asset.

SourceWork delivers all rows of a source. SliceWork delivers only the new data of a source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from dagster import OpExecutionContext

from zerobus_core import ConfigurationError, merge_receipts
from zerobus_core.hosting import shard_facts

from .delivery import routed_errors
from .metadata import Metadata, handoff_metadata, receipts_in
from .progress import core_logs_in
from .step import Step

if TYPE_CHECKING:
    import dagster as dg

    from zerobus_core import Handoff, Receipt

    from .resource import Options, ZerobusResource

__all__ = ["Read", "Shard", "ShardedWork", "SliceWork", "SourceWork", "Split"]

Shard: TypeAlias = Mapping[str, Any]
Split: TypeAlias = Callable[[OpExecutionContext], Sequence[Shard]]
Read: TypeAlias = Callable[[OpExecutionContext, Shard], Any]
_ABOUT_THE_TABLE = {"dagster/column_schema", "dagster/table_name", "dagster/storage_kind"}


class ShardedWork(Protocol):
    """The work of the three kinds of steps: split, deliver and merge. Receipts pass between steps as plain dicts."""

    def split(self, context: OpExecutionContext) -> list[dict[str, Any]]:
        """Return the shards, as JSON-compatible dicts."""
        ...

    def deliver(self, context: OpExecutionContext, shard: dict[str, Any]) -> dict[str, Any]:
        """Deliver one shard. The returned dict contains the receipt ("receipt") and metadata of the table ("about")."""
        ...

    def merge(self, context: OpExecutionContext, receipts: list[dict[str, Any]]) -> tuple[Receipt, Metadata] | None:
        """Return the merged receipt and additional metadata. Return None if there is no receipt to merge."""
        ...


@dataclass(frozen=True, kw_only=True)
class SourceWork:
    """The work in the steps of an asset that delivers all rows of its source in every run. It uses no handoff."""

    table: str
    asset_key: dg.AssetKey
    resource_key: str
    options: Options
    split_source: Split
    read: Read | None

    def split(self, context: OpExecutionContext) -> list[dict[str, Any]]:
        """See ShardedWork."""
        with routed_errors():
            return _checked(self.split_source(context), self.table)

    def deliver(self, context: OpExecutionContext, shard: dict[str, Any]) -> dict[str, Any]:
        """See ShardedWork."""
        with routed_errors():
            records = shard if self.read is None else self.read(context, shard)
        resource = _resource(context, self.resource_key)
        result = resource.ingest(context, self.table, records, options=self.options, asset_key=self.asset_key)
        metadata: Metadata = {**cast("Metadata", result.metadata)}
        about = {name: value for name, value in metadata.items() if name in _ABOUT_THE_TABLE}
        # ``read`` can return something other than a shard, and then the receipt does not say which shard it is for.
        receipt = {**receipts_in(metadata)[-1], "shard": shard_facts(shard)}
        return {"receipt": receipt, "about": about}

    def merge(self, context: OpExecutionContext, receipts: list[dict[str, Any]]) -> tuple[Receipt, Metadata] | None:
        """See ShardedWork."""
        if receipts:
            return merge_receipts(receipts), {}
        context.log.warning(f"{self.table}: the source has no shards, so nothing was delivered")
        return None


@dataclass(frozen=True, kw_only=True)
class SliceWork:
    """The work in the steps of an asset that uses a handoff: each run delivers one slice, the new data of the source.

    In one run, all steps of the asset deliver shards of the same slice.
    """

    table: str
    asset_key: dg.AssetKey
    resource_key: str
    options: Options
    source: Callable[[OpExecutionContext], Any]
    n: int
    state_uri: str | None
    name: str | None

    def split(self, context: OpExecutionContext) -> list[dict[str, Any]]:
        """See ShardedWork."""
        with self._handoff(context) as handoff:
            return handoff.split(self.n)

    def deliver(self, context: OpExecutionContext, shard: dict[str, Any]) -> dict[str, Any]:
        """See ShardedWork."""
        with self._handoff(context) as handoff:
            return {"receipt": handoff.deliver_shard(shard).as_dict(), "about": {}}

    def merge(self, context: OpExecutionContext, receipts: list[dict[str, Any]]) -> tuple[Receipt, Metadata] | None:
        """See ShardedWork."""
        with self._handoff(context) as handoff:
            receipt = handoff.finish_shards(receipts)
        return receipt, cast("Metadata", handoff_metadata(receipt))

    @contextmanager
    def _handoff(self, context: OpExecutionContext) -> Iterator[Handoff]:
        step = Step.of(context, self.asset_key)
        with routed_errors(), core_logs_in(step.log):
            yield _resource(context, self.resource_key).handoff(
                step,
                self.table,
                self.source(context),
                name=self.name,
                state_uri=self.state_uri,
                options=self.options,
                is_of_asset=True,
            )


def _resource(context: OpExecutionContext, key: str) -> ZerobusResource:
    return cast("ZerobusResource", getattr(context.resources, key))


def _checked(shards: Any, table: str) -> list[dict[str, Any]]:
    found = type(shards).__name__
    if isinstance(shards, Sequence) and not isinstance(shards, str | bytes):
        others = [type(shard).__name__ for shard in shards if not isinstance(shard, Mapping)]
        if not others:
            return [dict(shard) for shard in shards]
        found = f"a {found} with {others[0]}"
    raise ConfigurationError(
        f"split must return the list of shards that split_source returns, not {found}", table=table
    )
