"""Triggers the faults of the token endpoint."""

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
    """A response that promises more bytes than it sends, and then ends the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half of a response."""
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        # The server closes a connection whose answer the application leaves incomplete.
        await send({"type": "http.response.body", "body": b'{"access_token": "', "more_body": True})


def trigger_token_faults(faults: Faults, table: str) -> tuple[Response | None, float | None]:
    """Return the response to send instead of a token, and the lifetime in seconds that a token must have.

    Each of the two is None if no fault sets it. ``table`` is the name of the table that the token is requested for, or
    "" for a token without a table. For such a token, the only rules that trigger are those for every table. If a
    "token_delay" rule triggers, this function first sleeps for the rule's ``seconds``.
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
