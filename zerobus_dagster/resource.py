"""The resource: a Databricks workspace that assets and ops push rows to."""

# Dagster reads the annotations of fields itself, and takes no text: no `from __future__ import annotations` here.
from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from zerobus_core import ClientCredentials, IngestOptions, Workspace

from .delivery import DagsterDelivery, ingest_options, routed_errors
from .history import OnRematerialize
from .step import AssetKeyLike, Step, StepContext

__all__ = ["ZerobusResource"]


class ZerobusResource(dg.ConfigurableResource[Any]):
    """Pushes rows to Databricks Delta tables through Zerobus Ingest.

    Connections are opened inside the step and closed before ``ingest`` returns: nothing happens when the resource
    is set up or torn down, where Dagster would not retry a failure, or not even report it.

    Examples:
        .. code-block:: python

            import dagster as dg
            from zerobus_dagster import ZerobusResource

            @dg.asset
            def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
                return zerobus.ingest(context, "main.default.flights", "data/flights-*.parquet")

            defs = dg.Definitions(
                assets=[flights],
                resources={
                    "zerobus": ZerobusResource(
                        endpoint=dg.EnvVar("ZEROBUS_SERVER_ENDPOINT"),
                        workspace_url=dg.EnvVar("DATABRICKS_HOST"),
                        client_id=dg.EnvVar("DATABRICKS_CLIENT_ID"),
                        client_secret=dg.EnvVar("DATABRICKS_CLIENT_SECRET"),
                    )
                },
            )
    """

    endpoint: str = Field(
        description="The Zerobus endpoint: https://<workspace-id>.zerobus.<region>.cloud.databricks.com",
        examples=["https://1234567890123456.zerobus.us-west-2.cloud.databricks.com"],
    )
    workspace_url: str = Field(
        description="The URL of the workspace.", examples=["https://dbc-a1b2c3d4-e5f6.cloud.databricks.com"]
    )
    client_id: str = Field(description="The client id (application id) of the service principal.")
    client_secret: str = Field(
        description="An OAuth secret of the service principal; give an EnvVar.",
        repr=False,
        json_schema_extra={"dagster__is_secret": True},
    )
    options: dict[str, Any] = Field(
        default={}, description='Options of every delivery, by the names of IngestOptions: {"streams": 4}.'
    )
    resume: bool = Field(
        default=True,
        description="Whether a retry of the step, or a re-execution from failure, sends only the missing rows.",
    )
    on_rematerialize: OnRematerialize = Field(
        default="append",
        description="When the asset or partition was delivered before: append the rows once more, or refuse.",
    )

    def workspace(self) -> Workspace:
        """Where rows go, and as whom; override it to push with other credentials.  No connection is made."""
        return Workspace(
            endpoint=self.endpoint,
            workspace_url=self.workspace_url,
            credentials=ClientCredentials(client_id=self.client_id, client_secret=self.client_secret),
        )

    def ingest(
        self,
        context: StepContext,
        table: str,
        records: Any,
        *,
        options: IngestOptions | Mapping[str, Any] | None = None,
        asset_key: AssetKeyLike | None = None,
    ) -> dg.MaterializeResult[Any]:
        """Push all records to ``table`` and return when every one of them is durable.

        ``records`` is anything that ``zerobus_core.ingest`` takes: rows, frames, Arrow data, paths, cursors; or, in a
        partitioned asset, a mapping from each partition key of the run to such records.
        ``options`` in a mapping win over the resource's own, IngestOptions replace them.  ``asset_key`` is needed in
        a step that makes several assets.

        Return the result from the asset, or yield it; in an op, use its metadata.  Where the step has delivered to
        ``table`` before, for the same asset, the result shows the sums: return the last one.  Raises the core's error
        where another try can help, and ``dagster.Failure`` that allows no retries where it cannot.
        """
        with routed_errors():
            key = None if asset_key is None else dg.AssetKey.from_coercible(asset_key)
            step = Step.of(context, key)
            merged = self._options(options)
            delivery = DagsterDelivery(
                step=step,
                workspace=self.workspace(),
                table=table,
                options=merged,
                name=step.deliveries.next_name(step.asset_key, table, merged),
                resume=self.resume,
                on_rematerialize=self.on_rematerialize,
            )
            metadata = delivery.run(records)
        return dg.MaterializeResult(asset_key=step.asset_key, metadata=metadata)

    def _options(self, given: IngestOptions | Mapping[str, Any] | None) -> IngestOptions:
        return given if isinstance(given, IngestOptions) else ingest_options(self.options, given or {})
