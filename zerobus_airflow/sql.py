"""Delivers the rows of a query on any Airflow SQL connection, without holding all rows in memory."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from zerobus_core import ConfigurationError, SqlQuery, read_shard
from zerobus_core.hosting import CursorThread, execute_on_server, sql_fingerprint

from .compat import XComArg
from .delivery import RowsProcessor, ZerobusDeliveryOperator
from .handoff import check_handoff, check_on_empty
from .hook import find_connection
from .parameters import NO_SHARD
from .rows import cursor_rows

if TYPE_CHECKING:
    from zerobus_core import NewRows

    from .compat import Context

__all__ = ["SqlToZerobusOperator", "database_hook"]


def database_hook(conn_id: str, hook_params: Mapping[str, Any] | None = None) -> Any:
    """Return the ``DbApiHook`` of a connection; raise ConfigurationError for a connection of another kind."""
    connection: Any = find_connection(conn_id, "sql_conn_id")
    hook = connection.get_hook(hook_params=dict(hook_params or {}))
    if not hasattr(hook, "get_cursor"):
        raise ConfigurationError(
            f"connection {conn_id!r} is of type {hook.conn_type!r}, whose hook "
            f"{type(hook).__name__} is not a DbApiHook; pass a connection to a SQL database as sql_conn_id"
        )
    return hook


class SqlToZerobusOperator(ZerobusDeliveryOperator):
    """Deliver the rows of a query; the task succeeds only when every row is durable.

    Rows go from the database's cursor to the streams; columns are matched by name. JSON and arrays become JSON text in
    a STRING column, because this operator sets the option ``write_json``. To switch this option off, pass
    ``options={"write_json": False}``. ``IngestOptions(write_json=False)`` does not switch the option off: False is the
    default there, and operators ignore fields of IngestOptions that have default values. PostgreSQL's intervals become
    text, in the form in which PostgreSQL writes them.

    :param sql: one SELECT, or the path of a ``.sql`` file. (templated)
    :param sql_conn_id: any connection whose hook is a ``DbApiHook`` of the common SQL provider. (templated)
    :param parameters: values for the placeholders of ``sql``, in the database driver's own style. (templated)
    :param ordered_by: the columns in the ``ORDER BY`` of ``sql``. Setting it states that another attempt gets the same
        rows in the same order, so that a retry sends only the missing rows. Without it, every attempt sends all rows,
        unless ``options`` set ``source_version``.
    :param sql_hook_params: keyword arguments of the database's hook.
    :param rows_processor: a function that gets an iterator of the rows, as dicts, and the context variables as keyword
        arguments, like the ``rows_processor`` of ``SQLInsertRowsOperator``. It returns or yields the rows to send. With
        a ``rows_processor``, ``sql`` alone no longer identifies the rows: to resume, set ``source_version`` in
        ``options``.

    :param incremental: the column that shows which rows are new: each run delivers the rows whose value in this column
        is greater than in all rows delivered before (see ``zerobus_core.NewRows``). ``sql`` must then have no
        ``ORDER BY``.
    :param key: with ``incremental``: the column, or columns, that order rows with equal values.
    :param lag: with ``incremental``, if the column holds times: the longest delay, in seconds, between the time in a
        row's column and the commit of the row.
    :param lag_rows: instead of ``lag``, for columns that are not times: how many of the newest rows to leave for the
        next run. Rows with the same value as the oldest of these rows are left for the next run, too.
    :param commits_in_order: instead of ``lag`` and ``lag_rows``: states that rows become visible in the order of the
        column.
    :param initial: with ``incremental``: the value after which the first run begins. (templated)

    :param shard: one of the shards that ``split_sql_task`` returns, usually with ``expand(shard=…)``: only the rows in
        its range of the key are delivered, in the order of the key. ``sql`` must then have no ``ORDER BY``. (templated:
        task outputs are resolved)

    For the other parameters see ZerobusDeliveryOperator.
    """

    template_fields: Sequence[str] = (
        *ZerobusDeliveryOperator.template_fields,
        "sql",
        "sql_conn_id",
        "parameters",
        "initial",
        "shard",
    )
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own attribute, read-only by custom
        **ZerobusDeliveryOperator.template_fields_renderers,
        "sql": "sql",
        "parameters": "json",
        "shard": "json",
    }
    template_ext: Sequence[str] = (".sql",)

    def __init__(  # noqa: PLR0913 - an operator's parameters are what a Dag author writes
        self,
        *,
        sql: str,
        sql_conn_id: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        ordered_by: str | Sequence[str] | None = None,
        sql_hook_params: Mapping[str, Any] | None = None,
        rows_processor: RowsProcessor | None = None,
        incremental: str | None = None,
        key: str | Sequence[str] | None = None,
        lag: float | None = None,
        lag_rows: int | None = None,
        commits_in_order: bool = False,
        initial: Any = None,
        shard: Any = NO_SHARD,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(sql, str | XComArg) or not sql:
            raise ConfigurationError(
                f"task {self.task_id!r}: sql is {sql!r}; pass one SELECT as text, or the path of a .sql file. "
                "To run other statements first, use a separate task, such as SQLExecuteQueryOperator"
            )
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.ordered_by = ordered_by
        self.sql_hook_params = sql_hook_params
        self.rows_processor = rows_processor
        self.incremental = incremental
        self.key = key
        self.lag = lag
        self.lag_rows = lag_rows
        self.commits_in_order = commits_in_order
        self.initial = initial
        self._has_shard = shard is not NO_SHARD
        self.shard = shard if self._has_shard else None
        self._check_incremental()
        self._check_shard()

    def _check_shard(self) -> None:
        """Raise ConfigurationError for parameters that cannot be used with a shard."""
        names = ("ordered_by", "parameters", "incremental", "rows_processor")
        given = [name for name in names if getattr(self, name) is not None]
        if self._has_shard:
            check_on_empty(self)
        if self._has_shard and given:
            raise ConfigurationError(
                f"task {self.task_id!r}: {', '.join(given)} cannot be used with shard, because a shard selects a "
                "range of the key and orders its rows"
            )

    def _check_incremental(self) -> None:
        """Raise ConfigurationError for invalid combinations of parameters. Runs when the Dag is parsed."""
        if self.incremental is None:
            given = [name for name in ("key", "lag", "lag_rows", "initial") if getattr(self, name) is not None]
            if given or self.commits_in_order:
                raise ConfigurationError(
                    f"task {self.task_id!r}: {', '.join(given) or 'commits_in_order'} needs incremental, the column "
                    "that shows which rows are new"
                )
            return
        check_handoff(self)
        others = {"ordered_by": self.ordered_by, "parameters": self.parameters, "rows_processor": self.rows_processor}
        if given := [name for name, value in others.items() if value is not None]:
            raise ConfigurationError(
                f"task {self.task_id!r}: {', '.join(given)} cannot be used with incremental, which selects and "
                "orders the rows itself"
            )

    def _open_records(self, context: Context) -> AbstractContextManager[Any]:
        hook = self._database_hook()
        if self.incremental is not None:
            return nullcontext(self._new_rows(hook, self.incremental))
        if self._has_shard:
            return nullcontext(self._shard_rows(hook))
        self.log.info("Running on %s: %s", self.sql_conn_id, self.sql)
        # ``rows_processor`` gets the values as the database driver returns them.
        as_text = self.rows_processor is None
        execute = partial(execute_on_server, sql=self.sql, parameters=self.parameters, as_text=as_text)
        cursor = CursorThread(hook.get_conn, execute, name=self.sql_conn_id)
        return cursor if self.rows_processor is None else self._processed(cursor, context)

    def _shard_rows(self, hook: Any) -> Any:
        if not isinstance(self.shard, Mapping):
            raise ConfigurationError(
                f"shard is of type {type(self.shard).__name__}; pass one shard, for example with "
                "expand(shard=split_sql_task(…))"
            )
        self.log.info("Reading shard %s of %s on %s", self.shard.get("index"), self.shard.get("of"), self.sql_conn_id)
        return read_shard(SqlQuery(hook.get_conn, self.sql), self.shard)

    def _new_rows(self, hook: Any, column: str) -> NewRows:
        from zerobus_core import NewRows

        return NewRows(
            hook.get_conn,
            self.sql,
            column=column,
            key=self.key,
            lag=self.lag,
            lag_rows=self.lag_rows,
            commits_in_order=self.commits_in_order,
            initial=self.initial,
        )

    @contextmanager
    def _processed(self, cursor: CursorThread, context: Context) -> Generator[Any]:
        assert self.rows_processor is not None
        with cursor:
            yield self.rows_processor(cursor_rows(cursor), **context)

    def _database_hook(self) -> Any:
        return database_hook(self.sql_conn_id, self.sql_hook_params)

    def _own_options(self) -> dict[str, Any]:
        # Drivers return JSON and arrays as dicts and lists. With write_json, a STRING column accepts them.
        is_stated = isinstance(self.options, Mapping) and "write_json" in self.options
        return {} if is_stated else {"write_json": True}

    def _source_version(self, context: Context) -> str | None:
        if self.rows_processor is not None or self.incremental is not None or self._has_shard:
            return None
        return sql_fingerprint(self.sql, self.parameters, order_by=self.ordered_by, database=self.sql_conn_id)

    def lineage_inputs(self) -> list[Any]:
        """See ZerobusDeliveryOperator."""
        from .lineage import query_datasets

        return query_datasets(self._database_hook(), self.sql, self.sql_conn_id)
