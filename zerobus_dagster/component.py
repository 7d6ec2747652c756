"""The YAML component: an asset that is a Delta table, filled from files, a query or a function."""

# Dagster needs the annotation of `context` as a type, not as text: no `from __future__ import annotations` here.
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import dagster as dg
from dagster.components import scaffold_component
from dagster.components.resolved.core_models import OpSpec
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from pydantic import BaseModel, Field, StrictBool, field_validator, model_validator

from .checks import build_zerobus_delivery_check
from .component_source import ZerobusSource, ZerobusTable
from .config import ZerobusIngestConfig
from .credentials import ZerobusCredentials
from .metadata import table_metadata
from .options import ingest_options
from .resource import ZerobusResource
from .resume import RESUME, resume_of

__all__ = ["ZerobusIngestComponent"]


class ZerobusConnection(dg.Model, dg.Resolvable):
    """The names of the environment variables that hold the endpoint, the workspace and the credentials."""

    endpoint_env: str = Field(
        default="ZEROBUS_SERVER_ENDPOINT", description="The variable that holds the Zerobus endpoint."
    )
    workspace_url_env: str = Field(
        default="DATABRICKS_HOST", description="The variable that holds the URL of the workspace."
    )
    client_id_env: str = Field(
        default="DATABRICKS_CLIENT_ID", description="The variable that holds the service principal's client id."
    )
    client_secret_env: str = Field(
        default="DATABRICKS_CLIENT_SECRET", description="The variable that holds the service principal's secret."
    )

    def resource(self) -> ZerobusResource:
        """Return a resource that reads the environment variables when a run starts, not when definitions are loaded."""
        return ZerobusResource(
            endpoint=dg.EnvVar(self.endpoint_env),
            workspace_url=dg.EnvVar(self.workspace_url_env),
            credentials=ZerobusCredentials(
                client_id=dg.EnvVar(self.client_id_env), client_secret=dg.EnvVar(self.client_secret_env)
            ),
        )


class ZerobusDeliveryCheck(dg.Model, dg.Resolvable):
    """The bounds of the check that follows each delivery."""

    name: str = Field(default="zerobus_delivery", description="The name of the check.")
    description: str | None = Field(default=None, description="The description that Dagster shows for the check.")
    blocking: bool = Field(
        default=False, description="Whether downstream assets wait for the check, and are not materialized if it fails."
    )
    min_rows: int | None = Field(default=None, description="The check fails if fewer rows are read.")
    max_rows: int | None = Field(default=None, description="The check fails if more rows are read.")
    max_dead_lettered: int = Field(default=0, description="The check fails if more rows go to the dead-letter file.")


class ZerobusRetries(dg.Model, dg.Resolvable):
    """How often, and after what delay, Dagster retries a step after a retryable error."""

    max_retries: int = Field(default=2, ge=0, description="Retries of a step, after its first attempt.")
    delay: float = Field(default=30.0, ge=0, description="Seconds before the first retry; it doubles each time.")


class ZerobusScaffoldParams(BaseModel):
    """The parameters of ``dg scaffold defs``."""

    table: str = Field(default="main.default.my_table", description="catalog.schema.table")
    source: str = Field(default="data/*.parquet", description="Path or URI of the files to push.")


class ZerobusIngestScaffolder(dg.Scaffolder[ZerobusScaffoldParams]):
    """Writes a complete ``defs.yaml``; the user only adds the files to push."""

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
class ZerobusIngestComponent(dg.Component, ZerobusSource):
    """Fills Databricks Delta tables from files, a query or a Python function, through Zerobus Ingest.

    An asset is materialized only when every row is durable.
    """

    table: str | None = Field(
        default=None, description="The full name of the table.", examples=["main.default.flights"]
    )
    tables: list[ZerobusTable] = Field(
        default=[], description="Several tables, instead of table, source, records, sql and asset."
    )
    translation: (
        Annotated[
            TranslationFn[ZerobusTable], TranslationFnResolver[ZerobusTable](lambda table: {"table": table.table})
        ]
        | None
    ) = Field(default=None, description="Attributes of each asset; {{ table }} is the name of its table.")
    resource: str = Field(default="zerobus", description="The key of the ZerobusResource to push with.")
    connection: ZerobusConnection | None = Field(
        default=None, description="Instead of resource: the environment variables that hold the connection."
    )
    resume: Literal["retry", "always", "never"] | StrictBool | None = Field(
        default=None, description=f"{RESUME}  The resource's setting if left out; true and false are deprecated."
    )
    on_rematerialize: Literal["append", "refuse"] | None = Field(
        default=None,
        description="What to do if the asset or partition was delivered before; the resource's setting if left out.",
    )
    retries: ZerobusRetries | None = Field(default=None, description="Retries of the step; none if left out.")
    delivery_check: ZerobusDeliveryCheck | None = Field(
        default=None, description="A check of each delivery; none if left out."
    )
    op: OpSpec | None = Field(default=None, description="Name, tags, pool and backfill policy of the step.")

    @field_validator("resume")
    @classmethod
    def _one_word(cls, value: Any) -> Any:
        return None if value is None else resume_of(value, stacklevel=2)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        own = (self.table, self.source, self.records, self.sql, self.asset, self.handoff)
        if self.tables and any(own):
            raise ValueError(
                "set either tables, or table and its fields (source, records, sql, asset, handoff), not both"
            )
        if not self.tables:
            if self.table is None:
                raise ValueError("set table or tables")
            self._all_tables()
        if len(self.tables) > 1 and self.op is not None and self.op.name is not None:
            raise ValueError(
                "op.name is the name of a single step, but each of the tables has its own step: leave op.name out"
            )
        return self

    def _all_tables(self) -> list[ZerobusTable]:
        if self.tables:
            return self.tables
        return [
            ZerobusTable(
                table=str(self.table),
                source=self.source,
                records=self.records,
                sql=self.sql,
                asset=self.asset,
                handoff=self.handoff,
            )
        ]

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return what Dagster lists about this component: its tags, and what it produces."""
        known = inspect.signature(dg.ComponentTypeSpec).parameters
        # A field that Dagster does not know breaks every command of dg, even in projects without this component. The
        # field ``produces`` exists since Dagster 1.13.18.
        produces: dict[str, Any] = {"produces": ["asset", "asset_check"]} if "produces" in known else {}
        return dg.ComponentTypeSpec(tags=["databricks", "zerobus", "ingest"], **produces)

    def get_asset_spec(self, table: ZerobusTable | None = None) -> dg.AssetSpec:
        """Return the asset for a table; override this method to derive keys or metadata in another way.

        ``table`` is one of ``tables``, or None if the component fills a single table.
        """
        table = table or self._all_tables()[0]
        spec = table.asset or dg.AssetSpec(key=table.table.split("."))
        spec = spec.merge_attributes(metadata=table_metadata(table.table), kinds={"databricks", "zerobus"})
        return spec if self.translation is None else self.translation(spec, table)

    def execute(
        self, context: dg.AssetExecutionContext, zerobus: ZerobusResource, records: Any
    ) -> Iterator[dg.MaterializeResult[Any]]:
        """Push ``records``; override this method to change the records first, or to add to the result."""
        table = self._table_of(context.asset_key)
        launch = ZerobusIngestConfig(**self._launched(context.op_execution_context.op_config or {}))
        config = ZerobusIngestConfig(
            options={**table.options_in(context, {**zerobus.options, **self.options}), **launch.options},
            resume=self.resume if launch.resume is None else launch.resume,
            on_rematerialize=launch.on_rematerialize or self.on_rematerialize,
        )
        if table.handoff is None:
            yield zerobus.ingest(context, table.table, records, options=config)
            return
        handoff = table.handoff
        yield zerobus.hand_over(
            context,
            table.table,
            records,
            name=handoff.name,
            state_uri=handoff.state_uri,
            on_busy=handoff.on_busy,
            options=config,
        )

    @staticmethod
    def _launched(config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the run's configuration, with a ``resume`` of True replaced by "retry", and False by "never".

        True and False are deprecated, but cause no warning here. The warning came earlier, when Dagster built a
        ZerobusIngestConfig from the same configuration.
        """
        resume = config.get("resume")
        return {**config, "resume": None if resume is None else resume_of(resume)}

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the definitions: an asset for each table, its delivery check, and its resource.

        The check exists only if ``delivery_check`` is set, and the resource only if ``connection`` is set.
        """
        folder = context.path if context.path.is_dir() else context.path.parent
        ingest_options(self.options)
        parts = [self._definitions(table, folder) for table in self._all_tables()]
        return dg.Definitions.merge(*parts)

    def _definitions(self, table: ZerobusTable, folder: Path) -> dg.Definitions:
        spec, op = self._spec(table), self.op or OpSpec()
        table.check(spec)
        if table.handoff is not None and (self.on_rematerialize == "refuse" or self.resume in {"always", "never"}):
            raise ValueError(
                "handoff cannot be combined with on_rematerialize: refuse, resume: always or resume: never; leave "
                "these settings out. A new run always delivers what is new, and a retry always delivers the rest of "
                "its slice"
            )
        read = table.reader(folder)
        name = spec.key.to_python_identifier()
        key = f"zerobus_{name}" if self.connection else self.resource

        @dg.multi_asset(
            specs=[spec],
            name=op.name or name,
            description=op.description,
            op_tags=op.tags,
            pool=op.pool,
            backfill_policy=op.backfill_policy,
            retry_policy=self._retry_policy(),
            required_resource_keys={key},
        )
        def push(context: dg.AssetExecutionContext, config: ZerobusIngestConfig) -> Iterator[dg.MaterializeResult[Any]]:
            # ``config`` is not passed on: ``execute``, which people override, reads it from the context.
            yield from self.execute(context, getattr(context.resources, key), read(context))

        own = self.connection.resource() if self.connection else None
        resources = {} if own is None else {key: own, f"{key}_credentials": own.credentials}
        return dg.Definitions(assets=[push], asset_checks=self._checks(spec.key), resources=resources)

    def _spec(self, table: ZerobusTable) -> dg.AssetSpec:
        return self.get_asset_spec(table) if self.tables else self.get_asset_spec()

    def _table_of(self, key: dg.AssetKey) -> ZerobusTable:
        return next(table for table in self._all_tables() if self._spec(table).key == key)

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
