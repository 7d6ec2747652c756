"""Turns HTTP requests into calls of handlers. Limits the size of request bodies, and answers errors in one form.

A handler is a plain function ``(Call) -> Response`` and runs in a worker thread, so that it can wait for Delta or for
an injected delay. If a handler raises a LocalZerobusError, the answer has the form that Databricks uses:
``{"error_code": …, "message": …}``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from ..errors import InvalidRequest, LocalZerobusError

if TYPE_CHECKING:
    from ..catalog.tokens import Identity
    from ..service import Service

__all__ = ["Call", "Handler", "answer_http_error", "endpoint"]

_log = logging.getLogger("zerobus_local")

MOST_BYTES = 64 * 1024 * 1024
"""The largest size of a request's body, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP request, including its whole body."""

    service: Service
    method: str
    path: dict[str, str]
    query: dict[str, str]
    headers: dict[str, str]
    """The headers, with names in lower case."""
    body: bytes

    @property
    def bearer(self) -> str | None:
        """The token of the ``authorization`` header; None if there is no bearer token."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None

    def identity(self) -> Identity:
        """Return the principal of the request's token; raise Unauthenticated if the token is missing or invalid."""
        return self.service.tokens.verify(self.bearer)

    def json(self) -> Any:
        """Return the value in the body; raise InvalidRequest if the body is not valid JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"the body is not valid JSON: {error}") from error

    def json_object(self) -> dict[str, Any]:
        """Return the object in the body; raise InvalidRequest if the body is not a JSON object."""
        value = self.json()
        if not isinstance(value, dict):
            raise InvalidRequest(f"the body must be a JSON object, not {type(value).__name__}")
        return value

    def form(self) -> dict[str, str]:
        """Return the fields of an ``application/x-www-form-urlencoded`` body.

        If a name is repeated, only its last value is returned. Raises InvalidRequest if the body is not a valid form.
        """
        try:
            fields = parse_qs(self.body.decode(), keep_blank_values=True, max_num_fields=100)
        except ValueError as error:
            raise InvalidRequest(f"the body is not a valid form: {error}") from error
        return {name: values[-1] for name, values in fields.items()}


Handler = Callable[[Call], Response]


def endpoint(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Wrap a handler as a Starlette endpoint."""

    async def answer(request: Request) -> Response:
        service: Service = request.app.state.service
        try:
            call = Call(
                service=service,
                method=request.method,
                path={name: str(value) for name, value in request.path_params.items()},
                query=dict(request.query_params),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=await _body(request),
            )
            return await run_in_threadpool(handler, call)
        except LocalZerobusError as error:
            if error.http_status >= 500:  # noqa: PLR2004  # the server's error, not the client's
                _log.error("%s %s: %s", request.method, request.url.path, error)
            return JSONResponse({"error_code": error.error_code, "message": error.message}, error.http_status)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:  # noqa: BLE001  # the edge of a request: the client must get an answer
            _log.exception("%s %s", request.method, request.url.path)
            body = {"error_code": "INTERNAL_ERROR", "message": f"error inside zerobus-local: {type(error).__name__}"}
            return JSONResponse(body, 500)

    return answer


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Return an answer, in Databricks' form, to an error that Starlette raised (unknown route, wrong method)."""
    assert isinstance(error, HTTPException)
    codes = {404: "ENDPOINT_NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}
    message = f"{request.method} {request.url.path}: {error.detail}"
    body = {"error_code": codes.get(error.status_code, "BAD_REQUEST"), "message": message}
    return JSONResponse(body, error.status_code, headers=error.headers)


async def _body(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MOST_BYTES:
            raise InvalidRequest(f"the body is larger than {MOST_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
