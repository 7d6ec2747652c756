"""Records in hand, or files by path: the operator for both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import ObjectStoragePath, determine_kwargs

from zerobus_core import ConfigurationError

from .delivery import ZerobusDeliveryOperator
from .rows import Rows, protected, rendered

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from jinja2 import Environment

__all__ = ["ZerobusIngestOperator"]


class ZerobusIngestOperator(ZerobusDeliveryOperator):
    """Deliver records, or files, to a Delta table; the task succeeds only when every row is durable.

    Exactly one of ``records``, ``source`` and ``records_callable`` says what to send.  Returns the receipt
    (``zerobus_core.Receipt.as_dict``), which holds counts and no rows.

    :param records: rows: a list, a data frame, an Arrow table, or the output of another task, which then becomes
        upstream. Your data is never rendered as a template. (templated: task outputs are resolved)
    :param source: path or URI of Parquet, CSV, JSON Lines, Arrow IPC or Avro files, a directory or a glob. (templated)
    :param records_callable: a function that returns or yields rows; it may ask for context variables by name, and runs
        on the worker only.

    For the other parameters see ZerobusDeliveryOperator.
    """

    template_fields: Sequence[str] = (*ZerobusDeliveryOperator.template_fields, "records", "source")

    def __init__(
        self,
        *,
        records: Any = None,
        source: Any = None,
        records_callable: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        given = {"records": records, "source": source, "records_callable": records_callable}
        names = [name for name, value in given.items() if value is not None]
        if len(names) != 1:
            raise ConfigurationError(
                f"task {self.task_id!r}: give exactly one of {', '.join(given)}, not {' and '.join(names) or 'none'}"
            )
        if callable(records) or isinstance(records, Iterator):
            raise ConfigurationError(
                f"task {self.task_id!r}: records is a {type(records).__name__}, which a Dag cannot hold; give the "
                "function that makes the rows as records_callable, so that it is called on the worker"
            )
        self.records = protected(records)
        self.source = source
        self.records_callable = records_callable

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Environment, seen_oids: set[int]
    ) -> None:
        # The method that Airflow calls for tasks that are mapped, too; what it leaves is kept and shown.
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        if not isinstance(self.records, Rows | str | None):
            self.records = Rows(self.records)

    def _opened_records(self, context: Context) -> AbstractContextManager[Any]:
        if self.records_callable is not None:
            kwargs = determine_kwargs(self.records_callable, (), context)
            return nullcontext(self.records_callable(**kwargs))
        if self.source is None:
            return nullcontext(rendered(self.records))
        from zerobus_core.hosting import holds_no_files

        source = _as_uri(self.source)
        is_empty = self.on_empty is not None and isinstance(source, str) and holds_no_files(source)
        return nullcontext([] if is_empty else source)


def _as_uri(source: Any) -> Any:
    if not isinstance(source, ObjectStoragePath):
        return source
    if source.conn_id:
        raise ConfigurationError(
            f"source {source} asks for the Airflow connection {source.conn_id!r}, and files are opened with what the "
            "worker itself may read. Give the URI without it, or let a function under @task.zerobus_ingest return "
            "pyarrow.dataset.dataset(path.path, filesystem=path.fs)"
        )
    return str(source)
