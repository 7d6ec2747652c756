"""The operator that delivers records or files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from zerobus_core import ConfigurationError, read_shard
from zerobus_core.hosting import holds_no_files, is_shard

from .compat import context_merge, determine_kwargs
from .delivery import RowsProcessor, ZerobusDeliveryOperator
from .handoff import check_handoff, check_on_empty, check_shard, is_handoff_source
from .parameters import NO_SHARD, check_source
from .rows import Rows, protected, readable, rendered, resolve

if TYPE_CHECKING:
    from jinja2 import Environment

    from .compat import Context

__all__ = ["ZerobusIngestOperator"]


class ZerobusIngestOperator(ZerobusDeliveryOperator):
    """Deliver records, or files, to a Delta table; the task succeeds only when every row is durable.

    Pass exactly one of ``records``, ``source`` and ``records_callable``. Returns the receipt
    (``zerobus_core.Receipt.as_dict``), which has counts but no rows.

    :param records: the rows, as a list, a data frame, an Arrow table, or the output of another task. (That task then
        becomes an upstream task.) Values in the rows are never rendered as templates. (templated: task outputs are
        resolved)
    :param source: the files to deliver (Parquet, CSV, JSON Lines, Arrow IPC, Avro or Excel): the path or URI of a file,
        a directory or a glob; an ``ObjectStoragePath``, which is read through its own connection; or a list of these.
        ``source`` can also be ``NewFiles``, ``NewRows`` or ``NewItems``: then each run delivers what is new since the
        last run. (templated)
    :param records_callable: a function that returns or yields rows; it can have context variables as parameters,
        and runs only on the worker.
    :param shard: if ``source`` is ``NewFiles`` or ``NewRows``: one of the shards that ``freeze_slice_task`` returns,
        usually with ``expand(shard=…)``. The task then delivers only this shard of the slice, and ``finish_slice_task``
        advances the state. If ``source`` is files: one of the shards that ``split_source_task`` returns for the same
        ``source``. Such a shard can also be passed as ``source``, but not if the files have a URI with a secret or an
        ``ObjectStoragePath`` with a connection, because shards contain neither secrets nor connections. (templated:
        task outputs are resolved)
    :param op_args: positional arguments of ``records_callable``. (templated)
    :param op_kwargs: keyword arguments of ``records_callable``. (templated)
    :param rows_processor: a function that gets the rows, and the context variables as keyword arguments, like the
        ``rows_processor`` of ``SQLInsertRowsOperator``. It returns or yields the rows to send. It cannot be used with
        ``source``.

    For the other parameters see ZerobusDeliveryOperator.
    """

    template_fields: Sequence[str] = (
        *ZerobusDeliveryOperator.template_fields,
        "records",
        "source",
        "shard",
        "op_args",
        "op_kwargs",
    )
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own attribute, read-only by custom
        **ZerobusDeliveryOperator.template_fields_renderers,
        "shard": "json",
        "op_args": "py",
        "op_kwargs": "py",
    }

    def __init__(  # noqa: PLR0913 - an operator's parameters are what a Dag author writes
        self,
        *,
        records: Any = None,
        source: Any = None,
        shard: Any = NO_SHARD,
        records_callable: Callable[..., Any] | None = None,
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        rows_processor: RowsProcessor | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        given = {"records": records, "source": source, "records_callable": records_callable}
        names = [name for name, value in given.items() if value is not None]
        if len(names) != 1:
            raise ConfigurationError(
                f"task {self.task_id!r}: pass exactly one of {', '.join(given)}, not {' and '.join(names) or 'none'}"
            )
        self._given = names[0]
        if callable(records) or isinstance(records, Iterator):
            raise ConfigurationError(
                f"task {self.task_id!r}: records is a {type(records).__name__}, which a Dag cannot contain; pass "
                "the function that makes the rows as records_callable, so that it is called on the worker"
            )
        if (op_args or op_kwargs) and records_callable is None:
            raise ConfigurationError(
                f"task {self.task_id!r}: op_args and op_kwargs need records_callable, to which they are passed"
            )
        if rows_processor is not None and source is not None:
            raise ConfigurationError(
                f"task {self.task_id!r}: rows_processor can be used with records and records_callable only; rows of "
                "files do not pass through Python"
            )
        if is_handoff_source(source):
            check_handoff(self)
        else:
            check_source(source)
        self._has_shard = shard is not NO_SHARD
        self.shard = shard if self._has_shard else None
        check_shard(self, source, self.shard)
        self.records = protected(records)
        self.source = source
        self.records_callable = records_callable
        self.op_args = list(op_args or ())
        self.op_kwargs = dict(op_kwargs or {})
        self.rows_processor = rows_processor

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Environment, seen_oids: set[int]
    ) -> None:
        # Airflow also calls this method for mapped tasks. Afterwards it stores and shows the fields as they are.
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        # Airflow 2 leaves the reference to a task's output in place if that output is empty.
        self.records, self.source = (resolve(value, context) for value in (self.records, self.source))
        if not isinstance(self.records, Rows | str | None):
            self.records = Rows(self.records)

    def _open_records(self, context: Context) -> AbstractContextManager[Any]:
        if self._given == "source":
            return nullcontext(self._files())
        if self.records_callable is not None:
            records = self._call(self.records_callable, context)
        else:
            records = rendered(self.records)
        if self.rows_processor is not None:
            records = self.rows_processor(records, **context)
        return nullcontext(records)

    def _arguments(self) -> Any:
        return [self.op_args, self.op_kwargs] if self.op_args or self.op_kwargs else None

    def _call(self, function: Callable[..., Any], context: Context) -> Any:
        context_merge(context, self.op_kwargs)
        return function(*self.op_args, **determine_kwargs(function, self.op_args, context))

    def _files(self) -> Any:
        if self._has_shard and self.shard is None:
            raise ConfigurationError(
                "shard is None: the task that should return a shard returned nothing. No rows were delivered; pass "
                "one shard, for example with expand(shard=…)"
            )
        if self.source is None:
            raise ConfigurationError(
                "source is None: it is the output of a task that returned nothing; let that task return a path or "
                "URI of files, or an empty list if there are no files"
            )
        if isinstance(self.source, list | tuple) and not self.source:
            self.log.info("source is an empty list: there are no files to deliver")
            return []
        source = readable(self.source)
        if is_shard(source):
            check_on_empty(self)
        if self.shard is not None and not is_handoff_source(source):
            return read_shard(source, self.shard)
        is_empty = self.on_empty is not None and isinstance(source, str) and holds_no_files(source)
        return [] if is_empty else source

    def lineage_inputs(self) -> list[Any]:
        """See ZerobusDeliveryOperator."""
        from .lineage import file_datasets

        if is_handoff_source(self.source):
            return []
        return file_datasets(self.source) if self._given == "source" else []
