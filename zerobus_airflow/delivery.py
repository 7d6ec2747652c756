"""What all Zerobus operators share: one delivery by the core, told in Airflow's terms.

Two habits of Airflow shape this module.  A task that gets SIGTERM goes on after ``on_kill``, and is a success if
``execute`` then returns: so ``on_kill`` asks the core to stop, and the core raises, or the request itself does where
the source waits.  And a task retries on every exception but ``AirflowFailException``: so errors that another try
cannot mend are raised as one.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
    XComArg,
)

from zerobus_core import ConfigurationError, IngestOptions, Progress, Receipt, ZerobusIngestError
from zerobus_core.hosting import StopRequest

from .assets import table_asset_uri, table_page_url
from .checkpoint import Resume, checkpoint_store, delivery_name
from .hook import ZerobusHook
from .links import CatalogExplorerLink
from .rows import without_late_skip

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["TALK_TO_SUPERVISOR", "OnEmpty", "ProgressLog", "ZerobusDeliveryOperator"]

OnEmpty: TypeAlias = Literal["success", "skip", "fail"]

_PROGRESS_INTERVAL = 10.0
# Its answers bear no number: one that is not waited for would be taken for that of the next request.
TALK_TO_SUPERVISOR = "airflow.sdk.execution_time.comms"


class ZerobusDeliveryOperator(BaseOperator):
    """The common ground of the operators; use one of its subclasses.

    :param table: ``catalog.schema.table``. (templated)
    :param options: IngestOptions, or a mapping of its fields, or the output of a task that gives one. (templated)
    :param zerobus_conn_id: connection of type ``zerobus`` or ``databricks``. (templated)
    :param endpoint: Zerobus endpoint, where the connection does not hold it. (templated)
    :param on_empty: what no rows at all mean: ``success``, ``skip`` (downstream tasks too) or ``fail``. Where it is
        stated, it also says what a glob or directory without files means, which is a mistake otherwise.
    :param durable: keep a checkpoint in the task's state (Airflow 3.3 and later), written after each ACK.
    :param resume: which tries may skip the rows that it holds: ``retry``, automatic retries only; ``always``, also
        after someone cleared the task; ``never``.
    """

    template_fields: Sequence[str] = ("table", "options", "zerobus_conn_id", "endpoint")
    template_fields_renderers = {"options": "json"}  # noqa: RUF012 - Airflow's own attribute, read-only by custom
    operator_extra_links = (CatalogExplorerLink(),)
    ui_color = "#ffe3dc"

    def __init__(  # noqa: PLR0913 - an operator's parameters are what a Dag author writes
        self,
        *,
        table: str,
        options: IngestOptions | Mapping[str, Any] | XComArg | str | None = None,
        zerobus_conn_id: str = ZerobusHook.default_conn_name,
        endpoint: str | None = None,
        on_empty: OnEmpty | None = None,
        durable: bool = True,
        resume: Resume = "retry",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.table = table
        self.options = _templated(options)
        self.zerobus_conn_id = zerobus_conn_id
        self.endpoint = endpoint
        self.on_empty = None if on_empty is None else _one_of("on_empty", on_empty, "success", "skip", "fail")
        self.durable = durable
        self.resume = _one_of("resume", resume, "retry", "always", "never")
        self.table_page = ""
        self._asset_uri = ""
        self._is_killed = False
        # Made when it is needed: Airflow copies the tasks of a Dag deeply, and locks cannot be copied.
        self._stop: StopRequest | None = None

    def on_kill(self) -> None:
        """Ask the delivery to stop; ``execute`` then raises, with what is acknowledged in the checkpoint."""
        self._is_killed = True
        if self._stop is not None:
            self._stop.interrupt()

    def execute(self, context: Context) -> dict[str, Any]:
        """Send all records; return the receipt as a plain dict, only when every row is durable."""
        self.log.info("::group::Deliver to %s", self.table)
        # Airflow's own alarm for execution_timeout comes first; the deadline is for rows that suppress what it raises.
        limit = self.execution_timeout
        self._stop = StopRequest(
            deadline=None if limit is None else time.monotonic() + limit.total_seconds(),
            protected_modules=[TALK_TO_SUPERVISOR],
        )
        if self._is_killed:
            self._stop.set()
        try:
            hook = self._checked_hook()
            with self._stop, self._opened_records(context) as records:
                receipt = self._ingest(context, hook, records)
        except ZerobusIngestError as error:
            if error.retryable:
                raise
            raise AirflowFailException(str(error)) from error
        finally:
            self.log.info("::endgroup::")
        return self._result(context, receipt)

    def _opened_records(self, context: Context) -> AbstractContextManager[Any]:
        """What to send, for as long as it is being sent."""
        raise NotImplementedError

    def _source_version(self, context: Context) -> str | None:
        """What the operator itself knows of the records' identity, for users who state no ``source_version``."""
        return None

    def _checked_hook(self) -> ZerobusHook:
        # A mistake in the connection or in the table's name comes out before anything is read from the source.
        hook = ZerobusHook(self.zerobus_conn_id, endpoint=self.endpoint)
        workspace_url = hook.get_workspace().workspace_url
        self.table_page = table_page_url(workspace_url, self.table)
        self._asset_uri = table_asset_uri(workspace_url, self.table)
        return hook

    def _ingest(self, context: Context, hook: ZerobusHook, records: Any) -> Receipt:
        known = {
            "source_version": self._source_version(context),
            "delivery_name": delivery_name(context, self.resume),
        }
        return hook.ingest(
            self.table,
            without_late_skip(records),
            options=IngestOptions.from_mapping(known | _as_mapping(self.options)),
            checkpoint=checkpoint_store(context, self.resume) if self.durable else None,
            on_progress=ProgressLog(self.log),
            stop=self._stop,
        )

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
            message = f"{receipt.table}: there were no rows to deliver"
            raise AirflowSkipException(message) if self.on_empty == "skip" else AirflowException(message)
        for outlet in self.outlets:
            if getattr(outlet, "uri", None) == self._asset_uri:
                context["outlet_events"][outlet].extra = {"zerobus": result}
        return result


class ProgressLog:
    """One line of progress every ten seconds, from the progress objects that come twice a second."""

    def __init__(self, log: Any, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._next = clock() + _PROGRESS_INTERVAL

    def __call__(self, progress: Progress) -> None:
        """Log the line, if it is time for one."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _PROGRESS_INTERVAL
        if progress.is_connecting:
            self._log.info("connecting%s", f"; trying again after: {progress.last_error}" * bool(progress.last_error))
            return
        self._log.info(
            "%d%s rows durable (%.0f rows/s); %d in flight on %d streams, the oldest for %.1f s",
            progress.rows_acked + progress.rows_skipped,
            "" if progress.total_rows is None else f" of {progress.total_rows}",
            progress.rows_per_s,
            progress.unacked_rows,
            progress.streams,
            progress.oldest_unacked_s,
        )


def _as_mapping(options: Any) -> dict[str, Any]:
    """The options as a dict, which Airflow can render; a ConfigurationError for what is none."""
    if isinstance(options, IngestOptions):
        defaults = IngestOptions()
        return {
            field.name: value
            for field in dataclasses.fields(options)
            if (value := getattr(options, field.name)) != getattr(defaults, field.name)
        }
    if not isinstance(options, Mapping | None):
        raise ConfigurationError(f"options is of type {type(options).__name__}; give IngestOptions or a dict of them")
    return dict(options or {})


def _templated(options: Any) -> Any:
    """What an operator keeps of ``options``; refused at parse time as far as they are known then."""
    if isinstance(options, XComArg) or _is_template(options):
        return options
    given = _as_mapping(options)
    is_known = not any(map(_is_template, given.values())) and not any(True for _ in XComArg.iter_xcom_references(given))
    if is_known:
        IngestOptions.from_mapping(given)
    return given


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and "{" in value


def _one_of(name: str, value: Any, *choices: str) -> Any:
    if value not in choices:
        raise ConfigurationError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
    return value
