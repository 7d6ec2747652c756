"""Turns a workspace's HTTP response into a token, a JSON object, or one of our errors; uses no network and no clock.

==============  ==================================  ==================================
status          result for the token route          result for Unity Catalog
==============  ==================================  ==================================
200             a token, or TransportError          JSON object, or TransportError
3xx             TransportError                      TransportError
401             AuthenticationError                 AuthenticationError
403             PermissionDeniedError               PermissionDeniedError
404             ConfigurationError                  TableNotFoundError
408             IngestTimeoutError                  IngestTimeoutError
429             ThrottledError                      ThrottledError
other 4xx       AuthenticationError                 ConfigurationError
5xx, others     TransportError                      TransportError
==============  ==================================  ==================================

One exception: if the status of Unity Catalog's response is not 200, and the response contains an ``error_code`` that
this module knows, then the result depends on this code, not on the status.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...errors import (
    AuthenticationError,
    ConfigurationError,
    IngestTimeoutError,
    PermissionDeniedError,
    TableNotFoundError,
    ThrottledError,
    TransportError,
    ZerobusIngestError,
)

if TYPE_CHECKING:
    from .connection import Answer

__all__ = ["CREDENTIALS", "GRANTS", "json_object_of", "token_of"]

GRANTS = "grant USE CATALOG, USE SCHEMA, and MODIFY + SELECT on the table itself to the service principal"
CREDENTIALS = "check the service principal's client id and secret, and that it belongs to this workspace"

_OK = 200
_LONGEST_QUOTE = 300
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
# What a header can hold: printable ASCII without blanks, more than RFC 6750's b64token allows.
_TOKEN = re.compile(r"[\x21-\x7e]+")

# Maps a status to the error and the advice of one route. For any other status, its class (3xx, 4xx, 5xx) decides.
_Table = dict[int, tuple[type[ZerobusIngestError], str]]
_EITHER: _Table = {
    401: (AuthenticationError, CREDENTIALS),
    408: (IngestTimeoutError, "the workspace did not answer in time; try again later"),
    429: (ThrottledError, "the workspace asks for fewer requests; try again later"),
}
_TOKEN_ROUTE: _Table = {
    **_EITHER,
    403: (PermissionDeniedError, "the workspace refuses this service principal, or the address of this machine"),
    404: (ConfigurationError, "check the workspace URL"),
}
_CATALOG: _Table = {
    **_EITHER,
    403: (PermissionDeniedError, GRANTS),
    404: (TableNotFoundError, f"check the name, create the table first, or {GRANTS}"),
}
_ERROR_CODES = {
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "TABLE_DOES_NOT_EXIST": 404,
    "SCHEMA_DOES_NOT_EXIST": 404,
    "CATALOG_DOES_NOT_EXIST": 404,
    "RESOURCE_EXHAUSTED": 429,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "DEADLINE_EXCEEDED": 408,
    "TEMPORARILY_UNAVAILABLE": 503,
    "INTERNAL_ERROR": 500,
}


def token_of(answer: Answer) -> str:
    """Return the access token in an answer of ``/oidc/v1/token``; raise one of our errors if the answer has none."""
    if answer.status != _OK:
        what = "no token was given"
        raise _error(answer, answer.status, _TOKEN_ROUTE, what=what, other=(AuthenticationError, CREDENTIALS))
    found = _json(answer)
    token = found.get("access_token") if isinstance(found, dict) else None
    kind = found.get("token_type") if isinstance(found, dict) else None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise TransportError(f"the workspace sent no token: its answer {_shape(answer, found)}; try again later")
    if kind is not None and not (isinstance(kind, str) and kind.lower() == "bearer"):
        raise TransportError("the workspace sent a token that is not a Bearer token; try again later")
    return token


def json_object_of(answer: Answer) -> Mapping[str, Any]:
    """Return the JSON object in an answer of Unity Catalog.

    Raises one of our errors if the request failed, or if the answer is not a JSON object.
    """
    found = _json(answer)
    if answer.status != _OK:
        code = found.get("error_code") if isinstance(found, dict) else None
        status = _ERROR_CODES.get(code, answer.status) if isinstance(code, str) else answer.status
        refused = (ConfigurationError, "Unity Catalog refused the request")
        raise _error(answer, status, _CATALOG, what="the table was not described", other=refused)
    if not isinstance(found, dict):
        raise TransportError(f"Unity Catalog did not describe the table: its answer {_shape(answer, found)}")
    return found


def _error(
    answer: Answer, status: int, table: _Table, *, what: str, other: tuple[type[ZerobusIngestError], str]
) -> ZerobusIngestError:
    said = f"HTTP {answer.status}{_quoted(answer)}"
    if status in table:
        kind, advice = table[status]
        return kind(f"{advice} ({said})")
    if 400 <= status < 500:  # noqa: PLR2004 - RFC 9110: the client's fault
        kind, advice = other
        return kind(f"{advice} ({said})")
    if 300 <= status < 400:  # noqa: PLR2004 - RFC 9110: redirects
        host = urlsplit(answer.location).hostname if answer.location else None
        where = f" to {host}" if host else ""
        return TransportError(
            f"{what}: the workspace URL leads elsewhere{where}; check the URL, and whether a network or proxy wants a "
            f"sign-in first ({said})"
        )
    return TransportError(f"{what}: the workspace failed; try again later ({said})")


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _shape(answer: Answer, found: Any) -> str:
    if not answer.body.strip():
        return "is empty"
    if isinstance(found, dict):
        return "is JSON without an access token" if "access_token" not in found else "has a malformed access token"
    if found is not None:
        return f"is JSON, but a value of type {type(found).__name__}, not an object"
    return f"is not JSON{_quoted(answer)}"


def _quoted(answer: Answer) -> str:
    """Return the readable part of the answer as one short line, with a colon and a space in front.

    Returns empty text if nothing in the answer is readable.
    """
    found = _json(answer)
    if isinstance(found, dict):
        words = [found.get(name) for name in ("error_code", "error", "message", "error_description")]
        text = ": ".join(word for word in words if isinstance(word, str) and word)
    else:
        text = answer.body[: 64 * 1024].decode("utf-8", "replace")
        title = _TITLE.search(text)
        if title is not None:
            from html import unescape

            text = f"an HTML page, {unescape(title[1]).strip()!r}"
        elif text.lstrip().startswith("<"):
            text = "an HTML page"
    text = " ".join(text.split())
    return f": {text[:_LONGEST_QUOTE]}{'…' * (len(text) > _LONGEST_QUOTE)}" if text else ""
