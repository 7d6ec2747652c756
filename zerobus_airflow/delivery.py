"""The base of all Zerobus operators: one delivery by the core, adapted to Airflow.

Three properties of Airflow shape this module. First, a task that gets SIGTERM continues after ``on_kill``, and it
succeeds if ``execute`` then returns. So ``on_kill`` calls ``StopRequest.interrupt``, after which the core raises an
error, even if the source was waiting for rows. Second, Airflow retries a task after nearly every exception, but not
after ``AirflowFailException``, so errors that a retry cannot fix are raised as AirflowFailException. Third, the alarm
of ``execution_timeout`` goes off once, at whatever point the program has reached (see ``alarm``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from zerobus_core import (
    IngestInterruptedError,
    IngestOptions,
    Receipt,
    ZerobusIngestError,
)
from zerobus_core.hosting import StopRequest

from .alarm import TALK_TO_SUPERVISOR, ExecutionTimeout
from .assets import table_asset_uri, table_page_url
from .checkpoint import Resume, checkpoint_store, delivery_name
from .compat import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseOperator,
    report_output,
)
from .handoff import hand_over, is_handoff_source
from .hook import ZerobusHook
from .links import CatalogExplorerLink, DeadLettersLink, dead_letters_page, keep_links
from .masking import mask_uris
from .observe import LogGroup, Observer, without_failing
from .parameters import (
    as_mapping,
    check_outlets,
    is_known,
    known_options,
    one_of,
    rendered_table,
    resume_of,
    templated_options,
    templated_table,
    with_arguments,
)
from .rows import without_late_skip

if TYPE_CHECKING:
    from jinja2 import Environment

    from zerobus_core import Workspace

    from .compat import Context, XComArg

__all__ = ["OnEmpty", "RowsProcessor", "ZerobusDeliveryOperator"]

OnEmpty: TypeAlias = Literal["success", "skip", "fail"]
RowsProcessor: TypeAlias = Callable[..., Any]


class ZerobusDeliveryOperator(BaseOperator):
    """Base of the operators; use one of its subclasses.

    :param table: ``catalog.schema.table``. (templated)
    :param options: IngestOptions, or a mapping of its fields, or the output of a task that returns such a mapping.
        (templated)
    :param zerobus_conn_id: connection of type ``zerobus`` or ``databricks``. (templated)
    :param endpoint: Zerobus endpoint, if the connection does not have it. (templated)
    :param on_empty: what the task does if there are no rows: ``success``, ``fail``, or ``skip``, which also skips the
        downstream tasks. If ``source`` is a glob or directory without files, this is an error unless ``on_empty`` is
        set. In a list of sources, a glob or directory without files is always an error.
    :param resume: which attempts skip the rows that are already durable. ``retry``: automatic retries only; ``always``:
        also attempts after someone cleared the task; ``never``: no attempt.
    :param checkpoint_uri: a directory (path or fsspec URI) for checkpoints, one file for each task instance. Without
        ``checkpoint_uri``, Airflow 3.3 and newer keep the checkpoint in the task's state. For older versions, the
        directory can be set in Airflow's configuration (section ``zerobus``, option ``checkpoint_uri``). (templated)
    :param retry_permanent_errors: also retry after errors that a retry alone cannot fix, such as missing grants. Use it
        if the table or its grants are created while the task runs. If the task has a ``retry_policy``, the policy
        decides first.
    :param state_uri: the path or URI of the file that keeps a handoff's state between runs. (In a handoff, each run
        delivers what is new in the source.) Without ``state_uri``, the state is stored with the table's asset, which
        must then be an outlet of the task (Airflow 3.3 and newer). ``state_uri`` is required for ``NewFiles`` and for
        shards of a slice. (templated)
    :param handoff_name: name of the handoff. By default, it consists of the ids of Dag and task and, in a mapped task,
        the map index; for shards of a slice, it is the name of the file at ``state_uri``. (templated)
    :param on_busy: what a handoff does if another run is delivering: ``fail`` (Airflow then retries the task),
        ``skip`` or ``wait``.
    :param durable: deprecated, use ``resume``; will be removed in 0.4.
    """

    template_fields: Sequence[str] = (
        "table",
        "options",
        "zerobus_conn_id",
        "endpoint",
        "checkpoint_uri",
        "state_uri",
        "handoff_name",
    )
    template_fields_renderers = {"options": "json"}  # noqa: RUF012 - Airflow's own attribute, read-only by custom
    operator_extra_links = (CatalogExplorerLink(), DeadLettersLink())
    ui_color = "#ffe3dc"

    def __init__(  # noqa: PLR0913 - an operator's parameters are what a Dag author writes
        self,
        *,
        table: str,
        options: IngestOptions | Mapping[str, Any] | XComArg | str | None = None,
        zerobus_conn_id: str = ZerobusHook.default_conn_name,
        endpoint: str | None = None,
        on_empty: OnEmpty | None = None,
        resume: Resume | None = None,
        checkpoint_uri: str | None = None,
        retry_permanent_errors: bool = False,
        state_uri: str | None = None,
        handoff_name: str | None = None,
        on_busy: Literal["fail", "skip", "wait"] = "fail",
        durable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.table = templated_table(table)
        self.options = templated_options(options)
        self.zerobus_conn_id = zerobus_conn_id
        self.endpoint = endpoint
        self.on_empty = None if on_empty is None else one_of("on_empty", on_empty, "success", "skip", "fail")
        self.resume = resume_of(resume, durable)
        self.checkpoint_uri = checkpoint_uri
        self.retry_permanent_errors = retry_permanent_errors
        self.state_uri = state_uri
        self.handoff_name = handoff_name
        self.on_busy = one_of("on_busy", on_busy, "fail", "skip", "wait")
        if is_known(self.table):
            check_outlets(self.outlets, self.table)
        self.table_page = ""
        self.dead_letters = ""
        self.receipt: Receipt | None = None
        self._asset_uri = ""
        self.workspace: Workspace | None = None
        self._is_killed = False
        # Made in ``execute``, because Airflow deep-copies the tasks of a Dag, and locks cannot be copied.
        self._stop: StopRequest | None = None

    @cached_property
    def hook(self) -> ZerobusHook:
        """The hook for the task's connection; the connection is read when the hook is first used."""
        return ZerobusHook(self.zerobus_conn_id, endpoint=self.endpoint)

    def on_kill(self) -> None:
        """Ask the delivery to stop; ``execute`` then saves its checkpoint, if it has one, and raises an error."""
        self._is_killed = True
        if self._stop is not None:
            self._stop.interrupt()

    def execute(self, context: Context) -> dict[str, Any]:
        """Send all records, and return the receipt as a plain dict once every row is durable."""
        try:
            return self._result(context, self._receipt(context))
        finally:  # a task that fails can have dead letters, too
            without_failing(lambda: keep_links(context, self), "Storing the links for the task's page")

    def _receipt(self, context: Context) -> Receipt:
        # Airflow's own alarm comes first; the deadline is for a source that suppresses the alarm's error.
        limit = self.execution_timeout
        stop = self._stop = StopRequest(
            deadline=None if limit is None else time.monotonic() + limit.total_seconds(),
            protected_modules=[TALK_TO_SUPERVISOR],
        )
        if self._is_killed:
            stop.set()
        timeout = ExecutionTimeout(stop)
        try:
            with timeout, LogGroup(self.log, f"Deliver to {self.table}"):
                receipt = self._deliver(context, stop)
                timeout.end()
                return receipt
        except IngestInterruptedError as error:
            # The source caught the alarm's error, so the stop request ended the delivery instead.
            if timeout.has_passed and not self._is_killed:
                raise AirflowTaskTimeout(
                    f"the execution_timeout of {self.execution_timeout} has passed: {error}"
                ) from error
            raise
        except ZerobusIngestError as error:
            if error.retryable or self._is_to_be_retried(error, context):
                raise
            raise AirflowFailException(str(error)) from error

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Environment, seen_oids: set[int]
    ) -> None:
        # Airflow also calls this method for mapped tasks. Afterwards it stores and shows the fields as they are.
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        mask_uris([getattr(self, name, None) for name in template_fields if name != "records"])

    def _open_records(self, context: Context) -> AbstractContextManager[Any]:
        """Return a context manager that keeps the records open while they are being sent."""
        raise NotImplementedError

    def _own_options(self) -> dict[str, Any]:
        """Return the operator's own defaults, which the user's ``options`` override."""
        return {}

    def _source_version(self, context: Context) -> str | None:
        """Return the ``source_version`` to use if the user's ``options`` set none."""
        return None

    def _deliver(self, context: Context, stop: StopRequest) -> Receipt:
        # A mistake in the connection, a name or an option is reported before anything is read from the source.
        workspace = self._checked_workspace()
        options = self._ingest_options(context)
        observer = Observer(context, self.table, self.log)
        self.log.info("Connecting to %s", workspace.endpoint)
        try:
            with stop, self._open_records(context) as records:
                observer.on_start(workspace.endpoint)
                if is_handoff_source(records):
                    receipt = self._hand_over(context, records, observer, stop)
                else:
                    receipt = self.hook.deliver(
                        workspace,
                        self.table,
                        without_late_skip(records),
                        options=options,
                        checkpoint=checkpoint_store(context, self.resume, table=self.table, uri=self.checkpoint_uri),
                        on_progress=observer.on_progress,
                        stop=stop,
                    )
        except ZerobusIngestError as error:
            self._set_dead_letters(options, error.counts.rows_dead_lettered)
            if not stop.is_set():  # Airflow is about to end the process
                observer.on_failure(error)
            raise
        self.receipt = receipt
        self._set_dead_letters(options, receipt.rows_dead_lettered)
        observer.on_success(receipt)
        return receipt

    def _hand_over(self, context: Context, source: Any, observer: Observer, stop: StopRequest) -> Receipt:
        options = IngestOptions.from_mapping(self._own_options() | as_mapping(known_options(self.options)))
        return hand_over(self, context, source, options=options, on_progress=observer.on_progress, stop=stop)

    @property
    def asset_uri(self) -> str:
        """The URI of the table's asset; empty until the task runs."""
        return self._asset_uri

    def _checked_workspace(self) -> Workspace:
        rendered_table(self.table)
        workspace = self.workspace = self.hook.get_workspace()
        self.table_page = table_page_url(workspace.workspace_url, self.table)
        self._asset_uri = table_asset_uri(workspace.workspace_url, self.table)
        check_outlets(self.outlets, self.table, self._asset_uri)
        return workspace

    def _ingest_options(self, context: Context) -> IngestOptions:
        known = self._own_options() | {
            "source_version": self._source_version(context),
            "delivery_name": delivery_name(context, self.resume),
        }
        options = IngestOptions.from_mapping(known | as_mapping(known_options(self.options)))
        is_mapped = (context["ti"].map_index or 0) >= 0
        return with_arguments(options, self._arguments()) if is_mapped else options

    def _arguments(self) -> Any:
        """Return the arguments that determine which rows the task delivers; None if it has no such arguments."""
        return None

    def _is_to_be_retried(self, error: ZerobusIngestError, context: Context) -> bool:
        """Return whether a permanent error is to be raised unchanged, so that Airflow can retry the task."""
        policy = getattr(self, "retry_policy", None)
        if policy is not None:
            ti = context["ti"]
            decision = policy.evaluate(error, ti.try_number, ti.max_tries, context)
            if decision.action.value != "default":
                return True  # Airflow asks the policy again, and follows its decision
        return self.retry_permanent_errors

    def _set_dead_letters(self, options: IngestOptions, count: int) -> None:
        if count and options.dead_letter_uri and self.workspace is not None:
            self.dead_letters = dead_letters_page(options.dead_letter_uri, self.workspace.workspace_url)

    def _result(self, context: Context, receipt: Receipt) -> dict[str, Any]:
        result = receipt.as_dict()
        self.log.info(
            "%s: %d rows: %d acknowledged, %d durable before, %d dead-lettered; %d sent again; %.1f s, %.0f rows/s",
            receipt.table,
            receipt.rows_read,
            receipt.rows_acked,
            receipt.rows_skipped,
            receipt.rows_dead_lettered,
            receipt.rows_resent,
            receipt.duration_s,
            receipt.rows_per_s,
        )
        if receipt.rows_read == 0 and self.on_empty in {"skip", "fail"}:
            self.receipt = None  # nothing was delivered, so no lineage is reported
            message = f"{receipt.table}: there were no rows to deliver"
            raise AirflowSkipException(message) if self.on_empty == "skip" else AirflowException(message)
        without_failing(lambda: report_output(self.hook, self._asset_uri), "Reporting lineage")
        for outlet in self.outlets:
            if getattr(outlet, "uri", None) == self._asset_uri:
                context["outlet_events"][outlet].extra = {"zerobus": result}
        return result

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the lineage for OpenLineage: the delivered table and the inputs; None if there is no receipt."""
        from .lineage import delivery_lineage

        return delivery_lineage(self)

    def lineage_inputs(self) -> list[Any]:
        """Return the data sets that the rows came from, for OpenLineage; empty if they are not known."""
        return []
