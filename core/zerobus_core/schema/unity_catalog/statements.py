"""Runs SQL through the Statement Execution API, in a SQL warehouse or on the local server.

https://docs.databricks.com/api/workspace/statementexecution/executestatement
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError, IngestTimeoutError, ZerobusIngestError
from .fetch import send

if TYPE_CHECKING:
    from ...workspace import Workspace

__all__ = ["execute_statement"]

_PATH = "/api/2.0/sql/statements"
# The local server accepts any id of a warehouse.
_LOCAL_WAREHOUSE = "local"
_PAUSE = 1.0
# How long the first request waits for the statement: well below the time after which its answer counts as lost.
_WAIT = "10s"
# The timeout of one request, in seconds: a warehouse might have to start, and can then take half a minute to answer.
_TIMEOUT = 60.0


def execute_statement(workspace: Workspace, statement: str, *, warehouse: str | None, timeout: float = 300.0) -> None:
    """Run one statement in a SQL warehouse or on the local server; ``warehouse`` can be None only for the local server.

    Blocks until the statement is done. The limit of ``timeout`` seconds begins with the answer to the first request.
    The whole call can take about 120 seconds longer: the first request can take up to 60 seconds, and so can the last
    one, which can be sent just before the limit.

    Raises ConfigurationError if ``warehouse`` is None and the workspace is not the local server. Raises
    ZerobusIngestError, with the warehouse's message, if the statement fails. Raises IngestTimeoutError if the statement
    is not done in time. If a request to the workspace fails, raises the same errors as ``TableSchema.fetch``. But
    if the statement was sent and the answer was lost, raises a ZerobusIngestError that says so: the statement is not
    sent again, because it could then run twice.
    """
    if warehouse is None and not workspace.workspace_url.startswith("http://"):
        raise ConfigurationError(
            "running SQL needs a SQL warehouse: pass its id with --warehouse; the workspace shows the id under SQL "
            "Warehouses > Connection details"
        )
    body = {"warehouse_id": warehouse or _LOCAL_WAREHOUSE, "statement": statement, "wait_timeout": _WAIT}
    answer = send(workspace, "POST", _PATH, body, timeout=_TIMEOUT)
    end = time.monotonic() + timeout
    while (state := _state(answer)) in {"PENDING", "RUNNING"}:
        if time.monotonic() > end:
            raise IngestTimeoutError(f"the SQL warehouse did not finish the statement in {timeout:.0f} s")
        time.sleep(_PAUSE)
        answer = send(workspace, "GET", f"{_PATH}/{answer.get('statement_id')}", None, timeout=_TIMEOUT)
    if state != "SUCCEEDED":
        raise ZerobusIngestError(f"the SQL warehouse refused the statement ({state}): {_message(answer)}")


def _state(answer: Any) -> str:
    status = answer.get("status")
    return str(status.get("state")) if isinstance(status, dict) else "without a state"


def _message(answer: Any) -> str:
    status = answer.get("status")
    error = status.get("error") if isinstance(status, dict) else None
    return str(error.get("message")) if isinstance(error, dict) else "no reason given"
