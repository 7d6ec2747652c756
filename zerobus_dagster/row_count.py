"""Counts the rows of a table for checks, from the table's Delta log or through a SQL warehouse."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from zerobus_core import ConfigurationError, TransportError
from zerobus_core.hosting import check_table_name, shown_uri

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

__all__ = ["RowCount", "delta_row_count", "warehouse_row_count"]

RowCount = Callable[[], int]

_LOOK_EVERY = 1.0


def delta_row_count(uri: str, storage_options: Mapping[str, str] | None = None) -> RowCount:
    """Return a function that counts the rows of the Delta table at ``uri``, a path or an object store's URI.

    The returned function is for the ``row_count`` of a check. It reads the Delta log, and also the data files for which
    the log has no number of rows. It needs the package deltalake.
    """

    def count() -> int:
        try:
            from deltalake import DeltaTable
        except ImportError as error:
            raise ConfigurationError(
                f"counting the rows of the Delta table at {shown_uri(uri)} needs deltalake: pip install deltalake"
            ) from error
        table = DeltaTable(uri, storage_options=dict(storage_options or {}))
        return int(table.to_pyarrow_dataset().count_rows())

    return count


def warehouse_row_count(
    table: str, warehouse_id: str, *, client: Callable[[], WorkspaceClient] | None = None, timeout: float = 300.0
) -> RowCount:
    """Return a function that counts the rows of ``table`` ("catalog.schema.table") through a SQL warehouse.

    The returned function is for the ``row_count`` of a check. It raises TransportError if the query fails or does not
    end within ``timeout`` seconds. Errors of databricks-sdk are passed on. ``client`` builds the ``WorkspaceClient``;
    without ``client``, databricks-sdk finds the connection, for example from DATABRICKS_HOST.
    """
    name = ".".join(f"`{part}`" for part in check_table_name(table).split("."))

    def count() -> int:
        from databricks.sdk import WorkspaceClient

        workspace: Any = client() if client is not None else WorkspaceClient()
        deadline = time.monotonic() + timeout
        answer = workspace.statement_execution.execute_statement(
            statement=f"SELECT count(*) FROM {name}",  # noqa: S608  # the name was checked, and is quoted
            warehouse_id=warehouse_id,
            wait_timeout="30s",
        )
        while (state := answer.status.state.value) in ("PENDING", "RUNNING"):
            if time.monotonic() > deadline:
                workspace.statement_execution.cancel_execution(answer.statement_id)
                raise TransportError(f"the warehouse did not count the rows within {timeout:g} s", table=table)
            time.sleep(_LOOK_EVERY)
            answer = workspace.statement_execution.get_statement(answer.statement_id)
        if state != "SUCCEEDED":
            raise TransportError(f"the warehouse did not count the rows: {answer.status.error}", table=table)
        return int(answer.result.data_array[0][0])

    return count
