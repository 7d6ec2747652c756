"""The OAuth endpoints of a workspace: discovery, client credentials, and token exchange (RFC 8693).

The requests of two clients were observed. databricks-sdk reads ``/.well-known/databricks-config``, then the metadata
of the authorization server, and then posts to ``/oidc/v1/token`` with HTTP Basic authentication. The Zerobus SDK posts
to ``/oidc/v1/token`` directly, with ``authorization_details`` for one table (see its default_token_factory.rs).
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

import jwt
from starlette.responses import JSONResponse, Response

from ..errors import InvalidRequest, LocalZerobusError, NotFound, PermissionDenied

if TYPE_CHECKING:
    from .call import Call
from .faults import trigger_token_faults

__all__ = ["databricks_config", "server_metadata", "token"]

_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_JWT = "urn:ietf:params:oauth:token-type:jwt"


class _OAuthError(Exception):
    """An error that is sent to the client as JSON, in the format that RFC 6749, section 5.2, defines."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description


def databricks_config(call: Call) -> Response:
    """Answer GET /.well-known/databricks-config."""
    return JSONResponse({"oidc_endpoint": f"{call.service.workspace_url}/oidc", "workspace_id": "1"})


def server_metadata(call: Call) -> Response:
    """Answer GET /oidc/.well-known/oauth-authorization-server (RFC 8414)."""
    oidc = f"{call.service.workspace_url}/oidc"
    return JSONResponse(
        {
            "issuer": oidc,
            "token_endpoint": f"{oidc}/v1/token",
            "authorization_endpoint": f"{oidc}/v1/authorize",
            "grant_types_supported": ["client_credentials", _EXCHANGE],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "response_types_supported": ["code"],
            "scopes_supported": ["all-apis"],
        }
    )


def token(call: Call) -> Response:
    """Answer POST /oidc/v1/token."""
    try:
        form = call.form()
        answer, lifetime = trigger_token_faults(call.service.faults, _table_asked_for(form))
        return answer or JSONResponse(_grant(call, form, lifetime), headers={"cache-control": "no-store"})
    except _OAuthError as error:
        headers = {"www-authenticate": "Basic"} if error.error == "invalid_client" else {}
        body = {"error": error.error, "error_description": error.description}
        return JSONResponse(body, error.status, headers=headers)


def _table_asked_for(form: dict[str, str]) -> str:
    try:
        details = json.loads(form.get("authorization_details", ""))
        return next(str(d["object_full_path"]).lower() for d in details if d["object_type"] == "TABLE")
    except (ValueError, RecursionError, TypeError, KeyError, StopIteration):
        return ""


def _grant(call: Call, form: dict[str, str], forced_lifetime: float | None) -> dict[str, Any]:
    grant_type = form.get("grant_type")
    if grant_type == "client_credentials":
        client_id, lifetime = _client(call, form), None
    elif grant_type == _EXCHANGE:
        client_id, lifetime = _subject(call, form)
    else:
        known = f"client_credentials or {_EXCHANGE}"
        raise _OAuthError(400, "unsupported_grant_type", f"grant_type {grant_type!r} is not known; use {known}")
    try:
        access_token, seconds = call.service.tokens.issue(
            client_id, _details(form), lifetime=_least(lifetime, forced_lifetime)
        )
    except PermissionDenied as error:
        raise _OAuthError(401, "access_denied", error.message) from error
    except LocalZerobusError as error:
        raise _OAuthError(400, "invalid_authorization_details", error.message) from error
    return {
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": max(int(seconds), 1),
        "scope": form.get("scope") or "all-apis",
    }


def _least(*lifetimes: float | None) -> float | None:
    return min((lifetime for lifetime in lifetimes if lifetime is not None), default=None)


def _client(call: Call, form: dict[str, str]) -> str:
    client_id, secret = _basic(call.headers.get("authorization", "")) or (
        form.get("client_id", ""),
        form.get("client_secret", ""),
    )
    principal = call.service.catalog.principals.authenticate(client_id, secret)
    if principal is None:
        raise _OAuthError(401, "invalid_client", "Client authentication failed: the client id or its secret is wrong")
    return principal.client_id


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise _OAuthError(401, "invalid_client", "the Basic authorization header cannot be decoded") from error
    return client_id, secret


def _subject(call: Call, form: dict[str, str]) -> tuple[str, float]:
    """Check a token-exchange request; return the principal id and the lifetime, in seconds, of the new token.

    ``form`` contains the fields of the request. Its ``subject_token`` is a JWT. The principal is
    the field ``client_id`` or, if the form does not contain it, the JWT's ``sub``. The new token expires
    no later than the JWT. The JWT's signature is not checked, because the local server has no identity provider from
    which it could get the keys.
    """
    if form.get("subject_token_type") != _JWT:
        raise _OAuthError(400, "invalid_request", f"subject_token_type must be {_JWT}")
    tokens = call.service.tokens
    try:
        claims = jwt.decode(form.get("subject_token", ""), options={"verify_signature": False, "verify_exp": False})
        expires_at = float(claims["exp"])
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError) as error:
        raise _OAuthError(400, "invalid_grant", "subject_token is not a JWT with an expiry (exp)") from error
    left = expires_at - tokens.now()
    if left <= 0:
        raise _OAuthError(400, "invalid_grant", "subject_token has expired")
    name = form.get("client_id") or str(claims.get("sub", ""))
    try:
        principal = call.service.catalog.principals.find(name)
    except NotFound as error:
        raise _OAuthError(401, "invalid_client", error.message) from error
    return principal.client_id, min(left, tokens.lifetime)


def _details(form: dict[str, str]) -> list[dict[str, Any]]:
    text = form.get("authorization_details")
    if not text:
        return []
    try:
        details = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"authorization_details are not valid JSON: {error}") from error
    if not isinstance(details, list):
        raise InvalidRequest("authorization_details must be a JSON array")
    return details
