"""SQL over HTTP, on the route of Databricks' Statement Execution API: ``POST /api/2.0/sql/statements``.

Any ``warehouse_id`` is accepted. The answer is always complete, so clients never have to poll.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from ..catalog.rows import plain_values
from ..errors import InvalidRequest, LocalZerobusError, PermissionDenied

if TYPE_CHECKING:
    import pyarrow as pa

    from ..catalog.catalog import Result
    from .call import Call

__all__ = ["execute_statement"]


def execute_statement(call: Call) -> Response:
    """Run a SQL script; raise PermissionDenied unless the caller is the first service principal."""
    caller = call.identity()
    default = call.service.catalog.principals.default
    if caller.client_id != default.client_id:
        raise PermissionDenied(
            f"only the first service principal ({default.client_id}) may run SQL on the local server"
        )
    statement = call.json_object().get("statement")
    if not isinstance(statement, str):
        raise InvalidRequest('the body needs the field "statement", which contains the SQL text')
    answer: dict[str, Any] = {"statement_id": str(uuid.uuid4())}
    try:
        results = call.service.catalog.execute(statement)
    except LocalZerobusError as error:
        failure = {"error_code": error.error_code, "message": error.message}
        return JSONResponse(answer | {"status": {"state": "FAILED", "error": failure}})
    return JSONResponse(
        answer | {"status": {"state": "SUCCEEDED"}} | _shown(results[-1]) | {"messages": _messages(results)}
    )


def _messages(results: list[Result]) -> list[str]:
    return [line for result in results for line in (result.message, *result.notes)]


def _shown(result: Result) -> dict[str, Any]:
    if result.rows is None:
        return {
            "manifest": {"format": "JSON_ARRAY", "total_row_count": 0},
            "result": {"row_count": 0, "data_array": []},
        }
    rows: pa.Table = result.rows
    columns = [
        {"name": field.name, "position": position, "type_text": str(field.type)}
        for position, field in enumerate(rows.schema)
    ]
    values = [[_text(value) for value in row] for row in plain_values(rows)]
    return {
        "manifest": {
            "format": "JSON_ARRAY",
            "schema": {"column_count": len(columns), "columns": columns},
            "total_row_count": rows.num_rows,
            "truncated": False,
        },
        "result": {"chunk_index": 0, "row_offset": 0, "row_count": rows.num_rows, "data_array": values},
    }


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, default=str)
