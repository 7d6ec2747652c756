"""The one border to databricks-sdk: a table's description out of Unity Catalog, and its errors as ours."""

from __future__ import annotations

import hashlib
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import requests
from databricks.sdk.config import Config
from databricks.sdk.core import ApiClient
from databricks.sdk.credentials_provider import OAuthCredentialsProvider, OauthCredentialsStrategy
from databricks.sdk.errors import (
    DeadlineExceeded,
    InternalError,
    NotFound,
    PermissionDenied,
    TemporarilyUnavailable,
    TooManyRequests,
    Unauthenticated,
)
from databricks.sdk.errors.base import DatabricksError

from ..errors import (
    AuthenticationError,
    ConfigurationError,
    IngestInterruptedError,
    IngestTimeoutError,
    PermissionDeniedError,
    TableNotFoundError,
    ThrottledError,
    TransportError,
    ZerobusIngestError,
)
from ..process.backoff import pause_after
from ..process.fork import ForkSafeLock
from ..workspace import ClientCredentials, FederatedCredentials, Workspace

__all__ = ["TRANSLATION", "ask", "fetch_table_info", "forget_table_info"]

_MAX_CACHED = 256
_ATTEMPTS = 4
_FIRST_PAUSE = 0.5  # seconds at most; see backoff
# The longest that the caller's thread waits before it looks at a stop request again.
_SLICE = 0.1
_GRANTS = "grant USE CATALOG, USE SCHEMA, and MODIFY + SELECT on the table itself to the service principal"
_CREDENTIALS = "check the service principal's client id and secret, and that it belongs to this workspace"

# One table for every foreign error, most special first; the text says what to do.
TRANSLATION: tuple[tuple[type[Exception], type[ZerobusIngestError], str], ...] = (
    (Unauthenticated, AuthenticationError, _CREDENTIALS),
    (PermissionDenied, PermissionDeniedError, _GRANTS),
    (NotFound, TableNotFoundError, f"check the name, create the table first, or {_GRANTS}"),
    (TooManyRequests, ThrottledError, "Unity Catalog asks for fewer requests; try again later"),
    (TemporarilyUnavailable, TransportError, "Unity Catalog is unavailable; try again later"),
    (DeadlineExceeded, TransportError, "Unity Catalog took too long; try again later"),
    (InternalError, TransportError, "Unity Catalog failed; try again later"),
    (DatabricksError, ConfigurationError, "Unity Catalog refused the request"),
    (requests.Timeout, IngestTimeoutError, "the workspace did not answer in time"),
    (requests.RequestException, TransportError, "the workspace cannot be reached; check workspace_url and the network"),
    (TimeoutError, IngestTimeoutError, "the workspace did not answer in time"),
)
# databricks-sdk makes a ValueError or a NotImplementedError of every answer of the token route that is no token;
# these are RFC 6749's words for credentials that are wrong.
_REFUSED = re.compile(r"invalid_|unauthorized_client|unsupported_|access_denied|PERMISSION_DENIED|UNAUTHENTICATED")

_lock = ForkSafeLock()  # guards _cache
_cache: dict[tuple[object, ...], tuple[float, Mapping[str, Any]]] = {}
_salt = os.urandom(16)


def fetch_table_info(
    workspace: Workspace, table: str, *, timeout: float, max_age: float, stop: threading.Event | None = None
) -> Mapping[str, Any]:
    """The JSON answer of ``GET /api/2.1/unity-catalog/tables/{table}``; blocks for at most ``timeout`` seconds."""
    key = _key(workspace, table)
    now = time.monotonic()
    with _lock:
        fetched_at, info = _cache.get(key, (0.0, None))
    if info is not None and now - fetched_at < max_age:
        return info
    info = ask(workspace, f"/api/2.1/unity-catalog/tables/{table}", table=table, timeout=timeout, stop=stop)
    with _lock:
        _cache.pop(key, None)
        if len(_cache) >= _MAX_CACHED:
            del _cache[next(iter(_cache))]
        _cache[key] = (time.monotonic(), info)
    return info


def forget_table_info(workspace: Workspace, table: str) -> None:
    """Ask anew next time, however young the last answer is."""
    with _lock:
        _cache.pop(_key(workspace, table), None)


def _key(workspace: Workspace, table: str) -> tuple[object, ...]:
    return (workspace.workspace_url, _identity(workspace), table)


def ask(
    workspace: Workspace,
    path: str,
    *,
    table: str | None,
    timeout: float,
    query: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
) -> Mapping[str, Any]:
    """The JSON answer of the workspace to a GET; blocks for at most ``timeout`` seconds, and raises our errors."""
    return _within(
        timeout, table, stop, lambda: _patiently(lambda: _get(workspace, path, query, timeout), seconds=timeout / 4)
    )


def _identity(workspace: Workspace) -> object:
    """Who asks, without the secret: an answer for one identity is not given to another."""
    credentials = workspace.credentials
    if isinstance(credentials, ClientCredentials):
        secret = hashlib.blake2b(credentials.client_secret.encode(), key=_salt, digest_size=16).hexdigest()
        return (credentials.client_id, secret)
    return (credentials.client_id, credentials.token_supplier)


def _within(
    timeout: float, table: str | None, stop: threading.Event | None, work: Callable[[], Mapping[str, Any]]
) -> Mapping[str, Any]:
    # databricks-sdk asks for its token without any time limit, so only a thread of its own keeps the promise;
    # the caller's thread waits in a way that lets signal handlers run.
    outcome: list[Mapping[str, Any] | BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001  # the edge of a thread: the waiting caller gets it
            outcome.append(error)

    thread = threading.Thread(target=run, name="zerobus-unity-catalog", daemon=True)
    thread.start()
    deadline = time.monotonic() + timeout
    while thread.is_alive() and (left := deadline - time.monotonic()) > 0:
        thread.join(min(left, _SLICE))
        if stop is not None and stop.is_set():
            raise IngestInterruptedError("stopped on request, before anything was sent", table=table)
    if not outcome:
        raise IngestTimeoutError(f"Unity Catalog gave no answer within {timeout:g} s", table=table)
    if isinstance(outcome[0], Exception):
        raise _translated(outcome[0], table) from outcome[0]
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _get(workspace: Workspace, path: str, query: Mapping[str, str] | None, timeout: float) -> Mapping[str, Any]:
    # auth_type and the strategy are named so that DATABRICKS_* variables around us change nothing.
    common: dict[str, Any] = {
        "host": workspace.workspace_url,
        "http_timeout_seconds": max(1.0, timeout / 2),
        # Half of the time: the pause before a last attempt, up to 11 s, is not counted by databricks-sdk.
        "retry_timeout_seconds": max(1, int(timeout / 2)),
        "product": "zerobus-orchestration",
    }
    credentials = workspace.credentials
    if isinstance(credentials, ClientCredentials):
        config = Config(
            auth_type="oauth-m2m",
            client_id=credentials.client_id,
            client_secret=credentials.client_secret,
            **common,
        )
    else:
        config = Config(credentials_strategy=_federation(credentials), client_id=credentials.client_id, **common)
    answer = ApiClient(config).do("GET", path, query=dict(query or {}))
    if not isinstance(answer, dict):
        raise requests.exceptions.InvalidJSONError("the answer of the workspace is no JSON object")
    return answer


def _patiently(work: Callable[[], Mapping[str, Any]], *, seconds: float) -> Mapping[str, Any]:
    """Try again, for so long, what fails for a moment; databricks-sdk does so for requests, not for their token.

    For a thread that may sleep: who waits for it has a deadline.
    """
    end = time.monotonic() + seconds
    for attempt in count(1):
        try:
            return work()
        except Exception as error:  # judged by the table of foreign errors, or raised as it is
            pause = pause_after(attempt, first=_FIRST_PAUSE, draw=random.random())  # noqa: S311  # jitter, no secret
            is_passing = isinstance(_translated(error, None), TransportError | ThrottledError)
            if not is_passing or attempt == _ATTEMPTS or time.monotonic() + pause > end:
                raise
        time.sleep(pause)
    raise AssertionError("count has no end")


def _federation(credentials: FederatedCredentials) -> OauthCredentialsStrategy:
    from databricks.sdk import oidc

    class Supplied(oidc.IdTokenSource):
        def id_token(self) -> oidc.IdToken:
            return oidc.IdToken(jwt=credentials.token_supplier())

    def provider(config: Config) -> OAuthCredentialsProvider:
        endpoints = config.databricks_oidc_endpoints
        if endpoints is None:
            raise requests.exceptions.InvalidURL("the workspace names no token endpoint")
        source = oidc.DatabricksOidcTokenSource(
            host=config.host,
            token_endpoint=endpoints.token_endpoint,
            client_id=credentials.client_id,
            id_token_source=Supplied(),
        )

        def headers() -> dict[str, str]:
            token = source.token()
            return {"Authorization": f"{token.token_type} {token.access_token}"}

        return OAuthCredentialsProvider(headers, source.token)

    return OauthCredentialsStrategy("zerobus-federation", provider)


def _translated(error: Exception, table: str | None) -> Exception:
    """Ours for theirs; an error that is in no table, and so a fault of somebody's program, stays as it is."""
    text = str(error).split(". Config: ")[0]  # databricks-sdk appends all of its settings
    for known in _chain(error):
        if isinstance(known, ZerobusIngestError):
            return known
        for foreign, ours, advice in TRANSLATION:
            if isinstance(known, foreign):
                return ours(f"{advice} ({type(known).__name__}: {text or known})", table=table)
    if isinstance(error, ValueError | NotImplementedError):
        if _REFUSED.search(text):
            return AuthenticationError(f"{_CREDENTIALS} ({text})", table=table)
        return TransportError(f"the workspace gave no token; try again later ({text})", table=table)
    return error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes; what was refused or not reached is often wrapped, twice."""
    # A TimeoutError around an answer only says that databricks-sdk has stopped asking again.
    if isinstance(error, TimeoutError) and error.__cause__ is not None:
        error = error.__cause__
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
