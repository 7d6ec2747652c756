"""From a database of any Airflow SQL connection to a Delta table, without holding the result in memory."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from zerobus_core import ConfigurationError
from zerobus_core.hosting import CursorThread, execute_on_server, sql_fingerprint

from .compat import XComArg
from .delivery import RowsProcessor, ZerobusDeliveryOperator
from .hook import find_connection
from .rows import cursor_rows

if TYPE_CHECKING:
    from .compat import Context

__all__ = ["SqlToZerobusOperator"]


class SqlToZerobusOperator(ZerobusDeliveryOperator):
    """Deliver the rows of a query; the task succeeds only when every one is durable.

    Rows flow from the database's cursor into the streams; columns are taken by name.

    :param sql: one SELECT, or the path of a ``.sql`` file. (templated)
    :param sql_conn_id: any connection whose hook is a ``DbApiHook`` of the common SQL provider. (templated)
    :param parameters: values for the placeholders of ``sql``, in the database driver's own style. (templated)
    :param ordered_by: the columns that ``sql`` orders its rows by. Stating them says that another try gets the same
        rows in the same order, and so may send only those that are missing; without it every try sends all rows.
    :param sql_hook_params: keyword arguments of the database's hook.
    :param rows_processor: a function that gets the rows, one dict at a time, and the context variables as keyword
        arguments, as that of ``SQLInsertRowsOperator``, and returns or yields the rows to send. Such rows are no longer
        known by the statement: to resume, say ``source_version`` in ``options``.

    For the other parameters see ZerobusDeliveryOperator.
    """

    template_fields: Sequence[str] = (*ZerobusDeliveryOperator.template_fields, "sql", "sql_conn_id", "parameters")
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own attribute, read-only by custom
        **ZerobusDeliveryOperator.template_fields_renderers,
        "sql": "sql",
        "parameters": "json",
    }
    template_ext: Sequence[str] = (".sql",)

    def __init__(
        self,
        *,
        sql: str,
        sql_conn_id: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        ordered_by: str | Sequence[str] | None = None,
        sql_hook_params: Mapping[str, Any] | None = None,
        rows_processor: RowsProcessor | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(sql, str | XComArg) or not sql:
            raise ConfigurationError(
                f"task {self.task_id!r}: sql is {sql!r}; give one SELECT as text, or the path of a .sql file. "
                "Statements that come before it belong in a task of their own, such as SQLExecuteQueryOperator"
            )
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.ordered_by = ordered_by
        self.sql_hook_params = sql_hook_params
        self.rows_processor = rows_processor

    def _open_records(self, context: Context) -> AbstractContextManager[Any]:
        hook = self._database_hook()
        self.log.info("Running on %s: %s", self.sql_conn_id, self.sql)
        execute = partial(execute_on_server, sql=self.sql, parameters=self.parameters)
        cursor = CursorThread(hook.get_conn, execute, name=self.sql_conn_id)
        return cursor if self.rows_processor is None else self._processed(cursor, context)

    @contextmanager
    def _processed(self, cursor: CursorThread, context: Context) -> Generator[Any]:
        assert self.rows_processor is not None
        with cursor:
            yield self.rows_processor(cursor_rows(cursor), **context)

    def _database_hook(self) -> Any:
        connection: Any = find_connection(self.sql_conn_id, "sql_conn_id")
        hook = connection.get_hook(hook_params=dict(self.sql_hook_params or {}))
        if not hasattr(hook, "get_cursor"):
            raise ConfigurationError(
                f"connection {self.sql_conn_id!r} is of type {hook.conn_type!r}, whose hook "
                f"{type(hook).__name__} is not a DbApiHook; give a connection of a SQL database as sql_conn_id"
            )
        return hook

    def _source_version(self, context: Context) -> str | None:
        if self.rows_processor is not None:
            return None
        return sql_fingerprint(self.sql, self.parameters, order_by=self.ordered_by, database=self.sql_conn_id)

    def lineage_inputs(self) -> list[Any]:
        """See ZerobusDeliveryOperator."""
        from .lineage import query_datasets

        return query_datasets(self._database_hook(), self.sql, self.sql_conn_id)
