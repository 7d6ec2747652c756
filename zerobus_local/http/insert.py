"""REST insert: ``POST /zerobus/v1/tables/<catalog>.<schema>.<table>/insert`` with a JSON array of records.

On Databricks this route is on the Zerobus endpoint's host; here it is on the HTTP port, because the gRPC port does not
speak HTTP/1.1. Status 200, with the body ``{}``, means that all rows are durable. Status 504 means that it is unknown
whether the rows are durable. Any other status means that no row is durable, unless a fault was injected after
the commit. The body of an error is ``{"error_code": …, "message": …}``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import JSONResponse, Response

from ..errors import InvalidRequest, LocalZerobusError, UnknownTable
from ..model.names import TableName
from ..storage.insert import insert_json_rows

if TYPE_CHECKING:
    from ..faults import Faults
    from .call import Call

__all__ = ["insert"]

# gRPC status -> HTTP status and REST error code, from docs.databricks.com, zerobus-errors
_STATUSES = {
    "INVALID_ARGUMENT": (400, "INVALID_PARAMETER_VALUE"),
    "UNAUTHENTICATED": (401, "UNAUTHENTICATED"),
    "PERMISSION_DENIED": (403, "PERMISSION_DENIED"),
    "NOT_FOUND": (404, "NOT_FOUND"),
    "RESOURCE_EXHAUSTED": (429, "RESOURCE_EXHAUSTED"),
    "UNIMPLEMENTED": (501, "NOT_IMPLEMENTED"),
    "UNAVAILABLE": (503, "TEMPORARILY_UNAVAILABLE"),
    "DEADLINE_EXCEEDED": (504, "DEADLINE_EXCEEDED"),
}


def insert(call: Call) -> Response:
    """Store either all rows of the body or none; answer with status 200 after all rows are durable."""
    table = call.path["full_name"]
    try:
        _insert(call)
    except _InjectedError as fault:
        call.service.streams.on_failed(table, f"REST: {fault.http[1]}: {fault}")
        return JSONResponse({"error_code": fault.http[1], "message": str(fault)}, fault.http[0])
    except UnknownTable as error:
        call.service.streams.on_failed(table, f"REST: NOT_FOUND: {error}")
        return JSONResponse({"error_code": "NOT_FOUND", "message": error.message}, 404)
    except TimeoutError as error:
        call.service.streams.on_failed(table, f"REST: {error}")
        return JSONResponse({"error_code": "DEADLINE_EXCEEDED", "message": str(error)}, 504)
    except LocalZerobusError as error:
        call.service.streams.on_failed(table, f"REST: {error.error_code}: {error}")
        raise
    return JSONResponse({})


class _InjectedError(Exception):
    """An error that a fault injects."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.http = _STATUSES.get(status.upper(), (500, "INTERNAL_ERROR"))


def _insert(call: Call) -> None:
    name = str(TableName.parse(call.path["full_name"]))
    faults = call.service.faults
    call.service.tokens.verify(call.bearer, name)
    table = call.service.catalog.table(name)
    try:
        rows = orjson.loads(call.body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise InvalidRequest("the body must be a JSON array of records, even for a single record: [{…}]")
    _refuse_repeated_names(call.body)
    _trigger_faults(faults, name, "before_commit")
    insert_json_rows(call.service.storage, table, rows)
    _trigger_faults(faults, name, "after_commit")


def _refuse_repeated_names(body: bytes) -> None:
    """Raise InvalidRequest if a JSON object repeats a field: the parser would silently keep only the last value."""

    def checked(members: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(members)
        if len(value) < len(members):
            names = [name for name, _ in members]
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidRequest(f"an object in the body has the field {twice!r} twice")
        return value

    try:
        json.loads(body, object_pairs_hook=checked)
    except RecursionError as error:
        raise InvalidRequest("the body is nested too deeply") from error


def _trigger_faults(faults: Faults, table: str, at: str) -> None:
    if at == "before_commit" and (throttle := faults.trigger("throttle", table)):
        raise _InjectedError("RESOURCE_EXHAUSTED", throttle.text)
    if failure := faults.trigger("fail", table, at=at):
        raise _InjectedError(failure.status, failure.text)
