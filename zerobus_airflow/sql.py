"""From a database of any Airflow SQL connection to a Delta table, without holding the result in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook

from zerobus_core import ConfigurationError
from zerobus_core.hosting import CursorThread, execute_on_server, sql_fingerprint

from .delivery import ZerobusDeliveryOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.ordered_by = ordered_by
        self.sql_hook_params = sql_hook_params

    def _opened_records(self, context: Context) -> AbstractContextManager[Any]:
        hook = BaseHook.get_hook(self.sql_conn_id, hook_params=dict(self.sql_hook_params or {}))
        if not hasattr(hook, "get_cursor"):
            raise ConfigurationError(
                f"connection {self.sql_conn_id!r} is of type {hook.conn_type!r}, whose hook "
                f"{type(hook).__name__} is no DbApiHook; give a connection of a SQL database as sql_conn_id"
            )
        self.log.info("Running on %s: %s", self.sql_conn_id, self.sql)
        execute = partial(execute_on_server, sql=self.sql, parameters=self.parameters)
        return CursorThread(hook.get_conn, execute, name=self.sql_conn_id)

    def _source_version(self, context: Context) -> str | None:
        return sql_fingerprint(self.sql, self.parameters, order_by=self.ordered_by, database=self.sql_conn_id)
