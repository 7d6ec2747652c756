"""The IO manager: pushes what an asset returns to a Delta table, before Dagster considers it materialized."""

# Dagster needs the annotations of fields as types, not as text: no `from __future__ import annotations` here.
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from pydantic import Field, field_validator

from zerobus_core import ConfigurationError

from .delivery import DagsterDelivery, routed_errors
from .delta_input import load_table
from .options import checked_options, ingest_options
from .partition_rows import is_frame, split_frame
from .resource import ZerobusResource
from .resume import resume_of
from .step import Step
from .table_name import from_asset_key, from_metadata, full_name, plain

__all__ = ["ZerobusIOManager", "not_append"]


class ZerobusIOManager(dg.ConfigurableIOManager):
    """Pushes what assets return to Databricks Delta tables through Zerobus Ingest.

    Each part of the table's name (catalog, schema, table) is looked up in these places, and the first place that
    contains the part decides: the metadata of the output, the metadata of the asset's definition (``table``,
    ``schema``, ``catalog``, or a full ``dagster/table_name``), this manager's configuration, and the asset key
    (``["main", "default", "flights"]``).

    An asset can return lists of rows, frames and Arrow data directly. A generator has to be wrapped, as in
    ``return dg.MaterializeResult(value=rows())``, because Dagster treats yielded values as events.

    Examples:
        .. code-block:: python

            @dg.asset(key_prefix=["main", "default"], io_manager_key="zerobus_io")
            def flights() -> pl.DataFrame:
                return pl.read_parquet("flights.parquet")

            defs = dg.Definitions(
                assets=[flights],
                resources={"zerobus_io": ZerobusIOManager(zerobus=ZerobusResource(...))},
            )
    """

    zerobus: dg.ResourceDependency[ZerobusResource]
    catalog: str | None = Field(default=None, description="The catalog of tables that do not name theirs.")
    schema_: str | None = Field(
        default=None, alias="schema", description="The schema of tables that do not name theirs."
    )
    write_mode: str = Field(default="append", description="Only append: Zerobus cannot replace or delete rows.")
    options: dict[str, Any] = Field(
        default={},
        description="Options of every delivery, by the names of IngestOptions; they override the resource's.",
    )

    delta_uri: str | None = Field(
        default=None,
        description=(
            "Where inputs are loaded from: the URI of the Delta tables, with {catalog}, {schema} and {table} for the "
            "parts of the name. Without it, the manager loads no inputs."
        ),
        examples=["s3://lake/{schema}/{table}"],
    )
    storage_options: dict[str, str] = Field(
        default={}, description="Options of deltalake for delta_uri, such as the region of a bucket."
    )

    @field_validator("write_mode")
    @classmethod
    def _only_append(cls, value: str) -> str:
        if value != "append":
            raise ValueError(not_append(value))
        return value

    @field_validator("options")
    @classmethod
    def _known_options(cls, value: dict[str, Any]) -> dict[str, Any]:
        return checked_options(value)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Push ``obj``, and return when all rows are durable; Dagster then records the materialization."""
        with routed_errors():
            step = Step.of_output(context)
            table = self._table(context)
            if obj is None:
                raise ConfigurationError(
                    "the output is None: return rows (an empty list if there are none), or push with "
                    "ZerobusResource.ingest and return its result",
                    table=table,
                )
            delivery = DagsterDelivery(
                step=step,
                workspace=self.zerobus.workspace(),
                table=table,
                options=ingest_options(self.zerobus.options, self.options, _metadata(context, "ingest_options", {})),
                name=f"output {_name(context)} {context.mapping_key or ''}".rstrip(),
                resume=resume_of(self.zerobus.resume),
                on_rematerialize=self.zerobus.on_rematerialize,
                checkpoint_uri=self.zerobus.checkpoint_uri,
            )
            metadata = delivery.run(self._records(context, obj))
        # Without the keys that the output already has: adding a key twice is an error, and must not fail this step,
        # because its rows are durable.
        context.add_output_metadata({k: v for k, v in metadata.items() if k not in (context.output_metadata or {})})

    def load_input(self, context: dg.InputContext) -> Any:
        """Read the table of an upstream asset from ``delta_uri``.

        The rows are a pandas or polars frame if the input's annotation names such a type, and an Arrow table otherwise.
        For a partitioned asset with ``partition_expr`` in its metadata, only rows of the run's partitions are read.
        """
        upstream = context.upstream_output
        if upstream is None or not context.has_asset_key:
            raise NotImplementedError(
                "ZerobusIOManager loads the tables of upstream assets, but this input has no upstream asset"
            )
        key = context.asset_key.to_user_string()
        if self.delta_uri is None:
            raise NotImplementedError(
                f"without delta_uri, ZerobusIOManager only writes, so it cannot load {key}. Set delta_uri, "
                "or list the upstream asset in deps=[...] and read the table in the asset's body, or set "
                "AssetIn(input_manager_key=...) to an IO manager that reads Databricks"
            )
        # Dagster passes only the metadata of the asset's definition to an input, not that of the output.
        metadata = upstream.definition_metadata or {}
        table = self.table_of(None, metadata, context.asset_key.path, output=f"the input {key!r}")
        return load_table(context, table, self.delta_uri, self.storage_options, plain(metadata.get("partition_expr")))

    def _records(self, context: dg.OutputContext, obj: Any) -> Any:
        """Return the rows for the delivery.

        If ``partition_expr`` is set and the run is over several partitions, a frame is split by partition.
        """
        expression = _metadata(context, "partition_expr", None)
        if expression is None or not context.has_asset_partitions or not is_frame(obj):
            return obj
        keys = list(context.asset_partition_keys)
        return split_frame(obj, expression, context.asset_partitions_def, keys) if len(keys) > 1 else obj

    def _table(self, context: dg.OutputContext) -> str:
        write_mode = _metadata(context, "write_mode", self.write_mode)
        if write_mode != "append":
            raise ConfigurationError(not_append(write_mode))
        path = context.asset_key.path if context.has_asset_key else ()
        return self.table_of(
            context.output_metadata, context.definition_metadata, path, output=f"the output {_name(context)!r}"
        )

    def table_of(
        self,
        output_metadata: Mapping[str, Any] | None,
        definition_metadata: Mapping[str, Any] | None,
        path: Sequence[str],
        *,
        output: str,
    ) -> str:
        """Return the full name of an output's table.

        Raises ConfigurationError if a part of the name is missing, or if the same metadata contains two table names.
        """
        levels = (
            from_metadata(output_metadata),
            from_metadata(definition_metadata),
            {"schema": self.schema_, "catalog": self.catalog},
            from_asset_key(path),
        )
        return full_name(levels, output=output)


def not_append(write_mode: object) -> str:
    """Return an error text for a write mode other than append; it says what to do instead."""
    return (
        f'write_mode must be "append", not {write_mode!r}: Zerobus Ingest only appends. '
        "To replace rows, push to a staging table and MERGE from it"
    )


def _name(context: dg.OutputContext) -> str:
    try:
        return context.name
    except dg.DagsterInvariantViolationError:  # made by build_output_context() without a name
        return "result"


def _metadata(context: dg.OutputContext, key: str, default: Any) -> Any:
    for level in (context.output_metadata, context.definition_metadata):
        if level and key in level:
            return plain(level[key])
    return default
