"""The Dagster resource with which assets and ops push rows to tables of a Databricks workspace."""

# Dagster needs the annotations of fields as types, not as text: no `from __future__ import annotations` here.
import sys
from collections.abc import AsyncIterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Literal, TypeAlias, cast

import dagster as dg
from pydantic import Field, field_validator

from zerobus_core import ConfigurationError, Handoff, IngestOptions, StreamManager, Workspace
from zerobus_core.hosting import LoopBridge, check_table_name, run_in_thread, warn_deprecated

from .config import ZerobusIngestConfig
from .credentials import ZerobusCredentials, client_credentials
from .delivery import DagsterDelivery, are_by_partition, routed_errors
from .handoff import handoff_of
from .history import OnRematerialize
from .metadata import Metadata, handoff_metadata, receipt_metadata, table_metadata
from .op_result import OpResult
from .options import checked_options, ingest_options
from .progress import core_logs_in, progress_log
from .resume import RESUME, resume_of
from .step import AssetKeyLike, Step, StepContext

__all__ = ["ZerobusResource"]

OnBusy: TypeAlias = Literal["fail", "skip", "wait"]
Options: TypeAlias = IngestOptions | ZerobusIngestConfig | Mapping[str, Any] | None


def _nothing() -> None:
    return None


class ZerobusResource(dg.ConfigurableResource[Any]):
    """Pushes rows to Databricks Delta tables through Zerobus Ingest.

    Connections are opened inside the step and closed before ``ingest`` returns. The resource does nothing when
    Dagster sets it up or tears it down: after a failure there, Dagster would not retry the step, and might not even
    report the failure.

    Examples:
        .. code-block:: python

            import dagster as dg
            from zerobus_dagster import ZerobusCredentials, ZerobusResource

            @dg.asset
            def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
                return zerobus.ingest(context, "main.default.flights", "data/flights-*.parquet")

            credentials = ZerobusCredentials(
                client_id=dg.EnvVar("DATABRICKS_CLIENT_ID"), client_secret=dg.EnvVar("DATABRICKS_CLIENT_SECRET")
            )
            defs = dg.Definitions(
                assets=[flights],
                resources={
                    "zerobus_credentials": credentials,
                    "zerobus": ZerobusResource(
                        endpoint=dg.EnvVar("ZEROBUS_SERVER_ENDPOINT"),
                        workspace_url=dg.EnvVar("DATABRICKS_HOST"),
                        credentials=credentials,
                    ),
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
    credentials: dg.ResourceDependency[ZerobusCredentials | None] = None  # type: ignore[assignment]  # as Dagster has it
    client_id: str | None = Field(
        # A default in Dagster's schema would make the launchpad fill it in.
        default_factory=_nothing,
        description="Deprecated: use credentials. The client id of the service principal.",
    )
    client_secret: str | None = Field(
        default_factory=_nothing,
        description="Deprecated: use credentials. An OAuth secret of the service principal.",
        repr=False,
        json_schema_extra={"dagster__is_secret": True},
    )
    options: dict[str, Any] = Field(
        default={}, description='Options of every delivery, by the names of IngestOptions: {"streams": 4}.'
    )
    # Any, because Dagster's configuration has no type that takes a word and also the older True and False.
    resume: Any = Field(default="retry", description=RESUME)
    checkpoint_uri: str | None = Field(
        default=None,
        description=(
            "A folder for checkpoints, as a local path or an fsspec URI; they are saved there many times a minute. "
            "Without it, they are observations in the event log, saved at most about twice a minute."
        ),
        examples=["s3://lake/checkpoints"],
    )
    on_rematerialize: OnRematerialize = Field(
        default="append",
        description="What to do if the asset or partition was delivered before: append the rows once more, or refuse.",
    )

    def __init__(self, **data: Any) -> None:
        if "resume" in data:
            data["resume"] = resume_of(data["resume"], stacklevel=2)
        super().__init__(**data)
        caller = sys._getframe(1).f_globals.get("__name__", "")
        # Dagster itself builds the resource again for each run; only the user's call causes a warning.
        if {"client_id", "client_secret"} & data.keys() and not caller.startswith("dagster."):
            warn_deprecated(
                "ZerobusResource with client_id and client_secret",
                "pass credentials=ZerobusCredentials(client_id=..., client_secret=...)",
                stacklevel=2,
            )

    @field_validator("options")
    @classmethod
    def _known_options(cls, value: dict[str, Any]) -> dict[str, Any]:
        return checked_options(value)

    def workspace(self) -> Workspace:
        """Return the workspace and its credentials, without opening a connection.

        Override this method to use other credentials.
        """
        whose = self.credentials or self
        return Workspace(
            endpoint=self.endpoint,
            workspace_url=self.workspace_url,
            credentials=client_credentials(whose.client_id, whose.client_secret),
        )

    @staticmethod
    def asset_attributes(table: str) -> dict[str, Any]:
        """Return attributes for the decorator of an asset that fills ``table``.

        Use them as in ``@dg.asset(**ZerobusResource.asset_attributes(table))``. They are the asset's kinds, and the
        metadata by which catalogs and lineage tools find the table. Raises ConfigurationError if ``table`` is not
        catalog.schema.table.
        """
        return {"kinds": {"databricks", "zerobus"}, "metadata": table_metadata(check_table_name(table))}

    def ingest(
        self,
        context: StepContext,
        table: str,
        records: Any,
        *,
        options: Options = None,
        asset_key: AssetKeyLike | None = None,
    ) -> dg.MaterializeResult[Any]:
        """Push all records to ``table``, and return when all of them are durable.

        ``records`` is anything that ``zerobus_core.ingest`` takes: rows, frames, Arrow data, paths or cursors. In a
        partitioned asset it can also be a mapping from each partition key of the run to such records. If ``options`` is
        a mapping or a ZerobusIngestConfig, its entries override those of the resource's options; IngestOptions replace
        the resource's options completely. ``asset_key`` is needed in a step that makes several assets.

        Return the result from the asset, or yield it. In an op, the result is a dict with the fields of the receipt;
        this dict also has an attribute ``metadata``. If the step delivers to ``table`` several times for the same
        asset, each result's metadata shows the sums so far, so return the last result. Raises the core's error if a
        retry can help, otherwise a ``dagster.Failure`` that allows no retries.
        """
        with routed_errors():
            delivery = self._delivery(context, table, options, asset_key)
            metadata = delivery.run(records)
        return _result(delivery.step, metadata)

    async def aingest(
        self,
        context: StepContext,
        table: str,
        records: Any,
        *,
        options: Options = None,
        asset_key: AssetKeyLike | None = None,
    ) -> dg.MaterializeResult[Any]:
        """Push all records to ``table`` from an async asset or op; see ``ingest``, and ``zerobus_core.aingest``.

        ``records`` can also be an async iterable, or a mapping from partition keys to async iterables. During the
        delivery, the event loop continues with its other tasks. If the call is cancelled or the run is terminated, the
        delivery stops sending rows within one second.
        """
        with routed_errors():
            delivery = self._delivery(context, table, options, asset_key)

            def run(bridge: LoopBridge) -> Metadata:
                return replace(delivery, loop=bridge).run(records)

            parts = list(records.values()) if are_by_partition(records) else [records]
            is_async = all(isinstance(part, AsyncIterable) for part in parts)
            metadata = await run_in_thread(run, daemon=not is_async)
        return _result(delivery.step, metadata)

    def hand_over(  # noqa: PLR0913 - everything but the source by name, as in the core
        self,
        context: StepContext,
        table: str,
        source: Any,
        *,
        name: str | None = None,
        state_uri: str | None = None,
        on_busy: OnBusy = "fail",
        options: Options = None,
        asset_key: AssetKeyLike | None = None,
    ) -> dg.MaterializeResult[Any]:
        """Deliver to ``table`` what is new in ``source`` since the last run; see ``zerobus_core.hand_over``.

        ``source`` is NewFiles, NewRows or NewItems. ``state_uri`` is the path or URI of a file for the state; NewFiles
        requires it. Without ``state_uri``, the state is kept in the asset's own events. ``name`` defaults to the
        asset's key. A retry of the step, or a re-execution from failure, delivers the same slice. ``on_busy`` says what
        to do if another run is delivering. The other parameters are as for ``ingest``.

        Raises a ``dagster.Failure`` that allows no retries if the asset is partitioned, if ``resume`` is not "retry",
        or if ``on_rematerialize`` is "refuse". Raises other errors as ``ingest`` does.
        """
        with routed_errors():
            step = Step.of(context, _asset_key(asset_key))
            with core_logs_in(step.log):
                handoff = self.handoff(step, table, source, name=name, state_uri=state_uri, options=options)
                receipt = handoff.run(on_busy=on_busy)
        receipts = step.deliveries.add(step.asset_key, None, receipt, step.add_metadata)
        return _result(step, {**receipt_metadata(receipts), **handoff_metadata(receipt)})

    def handoff(  # noqa: PLR0913 - as above
        self,
        step: Step,
        table: str,
        source: Any,
        *,
        name: str | None,
        state_uri: str | None,
        options: Options,
        is_of_asset: bool = False,
    ) -> Handoff:
        """Return the handoff for ``hand_over``, or for an asset of ``build_zerobus_sharded_asset``."""
        self._check_handoff(table, options)
        return handoff_of(
            step,
            self.workspace(),
            table,
            source,
            options=self._options(options),
            name=name,
            state_uri=state_uri,
            on_progress=progress_log(step.log),
            is_of_asset=is_of_asset,
        )

    def _check_handoff(self, table: str, options: Options) -> None:
        config = options if isinstance(options, ZerobusIngestConfig) else ZerobusIngestConfig()
        resume = resume_of(self.resume if config.resume is None else config.resume)
        if (config.on_rematerialize or self.on_rematerialize) == "refuse":
            wrong = 'on_rematerialize="refuse"'
        elif resume != "retry":
            wrong = f"resume={resume!r}"
        else:
            return
        raise ConfigurationError(
            f"{wrong} is not possible in a handoff: each new run delivers new rows, and each retry or re-execution "
            f"from failure delivers the rest of the same slice. Leave out {wrong}",
            table=table,
        )

    @contextmanager
    def stream_manager(
        self,
        table: str,
        *,
        context: StepContext | None = None,
        options: Options = None,
        asset_key: AssetKeyLike | None = None,
    ) -> Iterator[StreamManager]:
        """Return a context manager that opens a ``zerobus_core.StreamManager``.

        A StreamManager is for code that pushes rows while it produces them.

        At its end, the ``with`` block waits until every row is durable, or raises an error. If the step's ``context``
        is passed, progress is written to the step's log, and the figures are added to the step's materialization.
        Nothing is resumed: a retry sends every row again.
        """
        with routed_errors(), ExitStack() as stack:
            step = None if context is None else Step.of(context, _asset_key(asset_key))
            if step is not None:
                stack.enter_context(core_logs_in(step.log))
            hook = None if step is None else progress_log(step.log)
            manager = StreamManager(self.workspace(), table, options=self._options(options), on_progress=hook)
            with manager:
                yield manager
        if step is not None:
            partition = step.partitions[0] if len(step.partitions) == 1 else None
            receipts = step.deliveries.add(step.asset_key, partition, manager.receipt, step.add_metadata)
            step.add_metadata(partition, receipt_metadata(receipts))

    def _delivery(
        self, context: StepContext, table: str, options: Options, asset_key: AssetKeyLike | None
    ) -> DagsterDelivery:
        step = Step.of(context, _asset_key(asset_key))
        merged = self._options(options)
        config = options if isinstance(options, ZerobusIngestConfig) else ZerobusIngestConfig()
        return DagsterDelivery(
            step=step,
            workspace=self.workspace(),
            table=table,
            options=merged,
            name=step.deliveries.next_name(step.asset_key, table, merged),
            resume=resume_of(self.resume if config.resume is None else config.resume),
            on_rematerialize=cast("OnRematerialize", config.on_rematerialize or self.on_rematerialize),
            checkpoint_uri=self.checkpoint_uri,
        )

    def _options(self, given: Options) -> IngestOptions:
        if isinstance(given, IngestOptions):
            return given
        layer = given.options if isinstance(given, ZerobusIngestConfig) else given
        return ingest_options(self.options, layer or {})


def _asset_key(key: AssetKeyLike | None) -> dg.AssetKey | None:
    return None if key is None else dg.AssetKey.from_coercible(key)


def _result(step: Step, metadata: Metadata) -> dg.MaterializeResult[Any]:
    if step.is_asset:
        return dg.MaterializeResult(asset_key=step.asset_key, metadata=metadata)
    # An op that returns a MaterializeResult fails. An OpResult also has the attribute ``metadata``.
    return cast("dg.MaterializeResult[Any]", OpResult(metadata))
