"""Applies injected faults at the token endpoint."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from ..faults import Faults

__all__ = ["CutResponse", "trigger_token_faults"]

_WITHOUT_BODY = {204, 304}  # RFC 9110: with these statuses, a response that has a body cannot be sent
_ERRORS = {400: "invalid_request", 401: "invalid_client", 403: "access_denied", 429: "too_many_requests"}


class CutResponse(Response):
    """A response that is cut off: the server closes the connection before it has sent the whole body.

    The Content-Length header gives more bytes than the server sends.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the headers and only the first bytes of the body."""
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        # The server closes a connection whose answer the application leaves incomplete.
        await send({"type": "http.response.body", "body": b'{"access_token": "', "more_body": True})


def trigger_token_faults(faults: Faults, table: str) -> tuple[Response | None, float | None]:
    """Apply the faults to one token request; return a response to send instead of a token, and a token lifetime.

    The response is None unless a fault replaces the token. The lifetime, in seconds, is None unless a fault sets it.
    ``table`` is the name of the table for which the token is requested. It is "" if the token is not for a table; then
    only the rules that apply to every table can trigger. If a "token_delay" rule triggers, this function first sleeps
    for the rule's ``seconds``.
    """
    delay = faults.trigger("token_delay", table)
    if delay is not None:
        time.sleep(delay.seconds)
    refusal = faults.trigger("token_status", table)
    if refusal is not None:
        status = refusal.http_status
        body = {"error": _ERRORS.get(status, "temporarily_unavailable"), "error_description": "injected fault"}
        if status in _WITHOUT_BODY:
            return Response(status_code=status), None
        return JSONResponse(body, status), None
    if faults.trigger("token_garbage", table):
        return Response("<html>injected fault</html>", media_type="text/html"), None
    if faults.trigger("token_cut", table):
        return CutResponse(), None
    expiry = faults.trigger("token_expire", table)
    return None, expiry.seconds if expiry is not None else None
