"""The YAML component: files, or what a function returns, as an asset that is a Delta table."""

# Dagster reads the annotation of `context`, and takes no text for one: no `from __future__ import annotations` here.
import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, cast

import dagster as dg
from dagster.components import scaffold_component
from dagster.components.resolved.core_models import OpSpec
from pydantic import BaseModel, Field, model_validator

from zerobus_core.hosting import check_table_name

from .checks import build_zerobus_delivery_check
from .credentials import ZerobusCredentials
from .metadata import table_metadata
from .options import ingest_options
from .resource import ZerobusResource

__all__ = ["ZerobusIngestComponent"]

_PARTITION = "{partition_key}"


class ZerobusConnection(dg.Model, dg.Resolvable):
    """The names of the environment variables that hold the connection; never their values."""

    endpoint_env: str = "ZEROBUS_SERVER_ENDPOINT"
    workspace_url_env: str = "DATABRICKS_HOST"
    client_id_env: str = "DATABRICKS_CLIENT_ID"
    client_secret_env: str = "DATABRICKS_CLIENT_SECRET"  # noqa: S105  # the name of a variable

    def resource(self) -> ZerobusResource:
        """A resource that reads the variables when a run starts, not when definitions are loaded."""
        return ZerobusResource(
            endpoint=dg.EnvVar(self.endpoint_env),
            workspace_url=dg.EnvVar(self.workspace_url_env),
            credentials=ZerobusCredentials(
                client_id=dg.EnvVar(self.client_id_env), client_secret=dg.EnvVar(self.client_secret_env)
            ),
        )


class ZerobusDeliveryCheck(dg.Model, dg.Resolvable):
    """Bounds of the check that follows each delivery."""

    min_rows: int | None = None
    max_rows: int | None = None
    max_dead_lettered: int = 0


class ZerobusRetries(dg.Model, dg.Resolvable):
    """How often Dagster tries again after an error that another try can mend; only missing rows are sent then."""

    max_retries: int = Field(default=2, ge=0)
    delay: float = Field(default=30.0, ge=0, description="Seconds before the first retry; it doubles each time.")


class ZerobusScaffoldParams(BaseModel):
    """What ``dg scaffold defs`` asks for."""

    table: str = Field(default="main.default.my_table", description="catalog.schema.table")
    source: str = Field(default="data/*.parquet", description="Path or URI of the files to push.")


class ZerobusIngestScaffolder(dg.Scaffolder[ZerobusScaffoldParams]):
    """Writes a ``defs.yaml`` that is complete but for the files."""

    @classmethod
    def get_scaffold_params(cls) -> type[ZerobusScaffoldParams]:
        """See Dagster's Scaffolder."""
        return ZerobusScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[ZerobusScaffoldParams]) -> None:
        """See Dagster's Scaffolder."""
        attributes = {
            "table": request.params.table,
            "source": request.params.source,
            "connection": ZerobusConnection().model_dump(),
            "delivery_check": {"min_rows": 1},
        }
        scaffold_component(request, attributes)


@dg.scaffold_with(ZerobusIngestScaffolder)
class ZerobusIngestComponent(dg.Component, dg.Model, dg.Resolvable):
    """Pushes files, or what a Python function returns, to a Databricks Delta table through Zerobus Ingest.

    The asset is materialized when every row is durable, and not before.
    """

    table: str = Field(description="The full name of the table.", examples=["main.default.flights"])
    source: str | None = Field(
        default=None,
        description=(
            "Files to push: a path (relative to this component's folder), a glob, a directory or an fsspec URI; "
            "{partition_key} stands for the partition of the run."
        ),
        examples=["data/flights-*.parquet", "s3://lake/flights/{partition_key}.parquet"],
    )
    records: str | None = Field(
        default=None,
        description="Instead of source: a function that takes the context and returns records.",
        examples=["my_project.api.fetch_orders"],
    )
    asset: dg.ResolvedAssetSpec | None = Field(
        default=None, description="The asset; without it, an asset with the table's name as its key."
    )
    resource: str = Field(default="zerobus", description="The key of the ZerobusResource to push with.")
    connection: ZerobusConnection | None = Field(
        default=None, description="Instead of resource: the environment variables that hold the connection."
    )
    options: dict[str, Any] = Field(
        default={}, description="Options of the delivery, by the names of IngestOptions.", examples=[{"streams": 4}]
    )
    retries: ZerobusRetries | None = None
    delivery_check: ZerobusDeliveryCheck | None = None
    op: OpSpec | None = Field(default=None, description="Name, tags, pool and backfill policy of the step.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.source) == bool(self.records):
            raise ValueError("give either source (files to push) or records (a function that returns them)")
        return self

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """How Dagster lists this component."""
        known = inspect.signature(dg.ComponentTypeSpec).parameters
        # A field that Dagster does not have breaks every command of dg, also in projects that do not use us:
        # ``produces`` came with 1.13.18.
        produces: dict[str, Any] = {"produces": ["asset", "asset_check"]} if "produces" in known else {}
        return dg.ComponentTypeSpec(tags=["databricks", "zerobus", "ingest"], **produces)

    def get_asset_spec(self) -> dg.AssetSpec:
        """The asset that stands for the table; override it to derive keys or metadata in another way."""
        spec = self.asset or dg.AssetSpec(key=self.table.split("."))
        return spec.merge_attributes(metadata=table_metadata(self.table), kinds={"databricks", "zerobus"})

    def execute(
        self, context: dg.AssetExecutionContext, zerobus: ZerobusResource, records: Any
    ) -> Iterator[dg.MaterializeResult[Any]]:
        """Push ``records``; override it to change them on their way or to add to the result."""
        yield zerobus.ingest(context, self.table, records, options=self.options)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """One asset, and its check if there is to be one."""
        # What is wrong shows when definitions are loaded, not when a run fails.
        check_table_name(self.table)
        ingest_options(self.options)
        spec, op = self.get_asset_spec(), self.op or OpSpec()
        if _PARTITION in (self.source or "") and spec.partitions_def is None:
            raise ValueError(f"source {self.source!r} has a {_PARTITION}, and the asset has no partitions_def")
        read = self._reader(context.path if context.path.is_dir() else context.path.parent)
        key = f"zerobus_{spec.key.to_python_identifier()}" if self.connection else self.resource

        @dg.multi_asset(
            specs=[spec],
            name=op.name or spec.key.to_python_identifier(),
            description=op.description,
            op_tags=op.tags,
            pool=op.pool,
            backfill_policy=op.backfill_policy,
            retry_policy=self._retry_policy(),
            required_resource_keys={key},
        )
        def push(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
            yield from self.execute(context, getattr(context.resources, key), read(context))

        own = {key: self.connection.resource()} if self.connection else {}
        return dg.Definitions(assets=[push], asset_checks=self._checks(spec.key), resources=own)

    def _reader(self, folder: Path) -> Callable[[dg.AssetExecutionContext], Any]:
        if self.records is not None:
            return _function(self.records)
        source = str(self.source)
        return _files(source if "://" in source else str(folder / source))

    def _retry_policy(self) -> dg.RetryPolicy | None:
        if self.retries is None:
            return None
        return dg.RetryPolicy(
            max_retries=self.retries.max_retries, delay=self.retries.delay, backoff=dg.Backoff.EXPONENTIAL
        )

    def _checks(self, key: dg.AssetKey) -> list[dg.AssetChecksDefinition]:
        if self.delivery_check is None:
            return []
        return [build_zerobus_delivery_check(key, **self.delivery_check.model_dump())]


def _files(pattern: str) -> Callable[[dg.AssetExecutionContext], str | dict[str, str]]:
    def files(context: dg.AssetExecutionContext) -> str | dict[str, str]:
        if _PARTITION not in pattern:
            return pattern
        if context.has_partition_key:
            return pattern.replace(_PARTITION, context.partition_key)
        return {key: pattern.replace(_PARTITION, key) for key in context.partition_keys}

    return files


def _function(path: str) -> Callable[[dg.AssetExecutionContext], Any]:
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"records names no function: {path!r} ({error}); write package.module.function") from error
    if not callable(found):
        raise TypeError(f"records names {type(found).__name__} {path!r}, which is no function")
    return cast("Callable[[dg.AssetExecutionContext], Any]", found)
