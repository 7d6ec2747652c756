"""Routes under ``/local/``, which Databricks does not have: faults, streams, principals, SQL and the expiry of tokens.

Only the routes for principals and SQL need a token. By default the port is open to this machine only, and checks of the
Host and Origin headers keep pages of other sites out.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pyarrow as pa
from starlette.responses import JSONResponse, Response

from ..errors import InvalidRequest, NotFound, PermissionDenied

if TYPE_CHECKING:
    from .call import Call

__all__ = [
    "add_fault",
    "clear_faults",
    "create_principal",
    "expire_tokens",
    "list_faults",
    "list_streams",
    "remove_fault",
    "run_sql",
]


def list_faults(call: Call) -> Response:
    """GET /local/faults: return the active rules, keyed by their numbers, and the log of faults that happened."""
    faults = call.service.faults
    rules = {str(number): rule.as_dict() for number, rule in faults.list().items()}
    return JSONResponse({"rules": rules, "log": [injection.as_dict() for injection in faults.log()]})


def add_fault(call: Call) -> Response:
    """POST /local/faults: switch on the fault that the body describes as a JSON rule; return the number of the rule."""
    rule = call.json_object()
    try:
        return JSONResponse({"number": call.service.faults.add(rule)})
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"invalid fault: {error}") from error


def clear_faults(call: Call) -> Response:
    """DELETE /local/faults: switch off all faults; the log is kept."""
    call.service.faults.clear()
    return JSONResponse({})


def remove_fault(call: Call) -> Response:
    """DELETE /local/faults/{number}: switch off one fault."""
    number = call.path["number"]
    if not number.isdecimal() or not call.service.faults.remove(int(number)):
        raise NotFound(f"there is no fault {number}")
    return JSONResponse({})


def list_streams(call: Call) -> Response:
    """GET /local/streams: return the open streams, the recently closed streams, and the last errors."""
    return JSONResponse(
        {
            "streams": [stream.as_dict() for stream in call.service.streams.statistics()],
            "errors": list(call.service.streams.errors()),
        }
    )


def create_principal(call: Call) -> Response:
    """POST /local/principals {"name": …}: create a service principal without grants.

    Needs the token of the first service principal.
    """
    _require_first_principal(call)
    name = call.json_object().get("name")
    if not isinstance(name, str):
        raise InvalidRequest('the body needs "name"')
    made = call.service.catalog.principals.create(name)
    return JSONResponse({"client_id": made.client_id, "client_secret": made.client_secret, "name": made.name})


def run_sql(call: Call) -> Response:
    """POST /local/sql {"script": …}: return each statement's result, with rows as Arrow.

    Needs the token of the first service principal. This route exists because the Statement Execution API returns only
    the rows of the last statement, and returns them only as text.
    """
    _require_first_principal(call)
    script = call.json_object().get("script")
    if not isinstance(script, str):
        raise InvalidRequest('the body needs "script"')
    results = [
        {
            "message": result.message,
            "notes": result.notes,
            "rows": None if result.rows is None else _as_ipc(result.rows),
        }
        for result in call.service.catalog.execute(script)
    ]
    return JSONResponse({"results": results})


def expire_tokens(call: Call) -> Response:
    """POST /local/expire-tokens: reject every token that was issued before this request."""
    call.service.tokens.expire_all()
    return JSONResponse({})


def _as_ipc(rows: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return base64.b64encode(sink.getvalue()).decode()


def _require_first_principal(call: Call) -> None:
    default = call.service.catalog.principals.default
    if call.identity().client_id != default.client_id:
        raise PermissionDenied(f"only the first service principal ({default.client_id}) may do this")
