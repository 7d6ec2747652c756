"""Sends requests with databricks-sdk.

This module is used for credentials and proxies that our own client does not support, for SQL statements, and by the
``doctor`` command.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
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
from ...workspace import ClientCredentials, FederatedCredentials, Workspace
from .answers import CREDENTIALS, GRANTS, token_of
from .connection import Answer

__all__ = ["TRANSLATION", "SdkError", "json_answer", "translated_error"]

# For each error of a library: our error, and the advice in its text. The most specific errors come first.
TRANSLATION: tuple[tuple[type[Exception], type[ZerobusIngestError], str], ...] = (
    (Unauthenticated, AuthenticationError, CREDENTIALS),
    (PermissionDenied, PermissionDeniedError, GRANTS),
    (NotFound, TableNotFoundError, f"check the name, create the table first, or {GRANTS}"),
    (TooManyRequests, ThrottledError, "Unity Catalog asks for fewer requests; try again later"),
    (TemporarilyUnavailable, TransportError, "Unity Catalog is unavailable; try again later"),
    (DeadlineExceeded, TransportError, "Unity Catalog took too long; try again later"),
    (InternalError, TransportError, "Unity Catalog failed; try again later"),
    (DatabricksError, ConfigurationError, "Unity Catalog refused the request"),
    (requests.Timeout, IngestTimeoutError, "the workspace did not answer in time"),
    (requests.RequestException, TransportError, "the workspace cannot be reached; check workspace_url and the network"),
    (TimeoutError, IngestTimeoutError, "the workspace did not answer in time"),
)
# databricks-sdk raises a ValueError or a NotImplementedError for most answers of the token route without a token. If
# the text of the error contains one of these codes, the credentials are wrong; most of the codes are from RFC 6749.
_REFUSED = re.compile(r"invalid_|unauthorized_client|unsupported_|access_denied|PERMISSION_DENIED|UNAUTHENTICATED")


class SdkError(Exception):
    """Wraps an error that was raised during a request with databricks-sdk; ``__cause__`` is that error."""


class SupplierError(Exception):
    """Wraps an error that the user's ``token_supplier`` raised; ``__cause__`` is that error."""


class _QuietHere(logging.Filter):
    """Drops log records of databricks-sdk and urllib3 in the threads in which ``json_answer`` runs.

    The log records are not needed, because our errors say what failed. Our errors contain no secrets.
    """

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread not in self.threads


_quiet = _QuietHere()
for _name in (
    "databricks.sdk",
    *(f"databricks.sdk.{part}" for part in ("oauth", "oidc", "retries")),
    "urllib3.connectionpool",
):
    logging.getLogger(_name).addFilter(_quiet)


def json_answer(  # noqa: PLR0913 - the request, and the promise that it is sent once
    workspace: Workspace,
    method: str,
    path: str,
    query: Mapping[str, str],
    body: Mapping[str, Any] | None,
    timeout: float,
    *,
    on_send: Callable[[], None] | None = None,
) -> Mapping[str, Any]:
    """Send a request and return the parsed JSON answer; raise SdkError if that fails.

    If ``on_send`` is given, the request is sent only once, because it must not run twice. ``on_send`` is called after a
    token was fetched, just before the request is sent.
    """
    here = threading.get_ident()
    _quiet.threads.add(here)
    try:
        config = _config(workspace, timeout, may_repeat=on_send is None)
        if on_send is not None:
            config.authenticate()  # so that any later failure is one of the request itself
            on_send()
        return _object(ApiClient(config).do(method, path, query=dict(query), body=None if body is None else dict(body)))
    except Exception as error:
        raise SdkError from error
    finally:
        _quiet.threads.discard(here)


def _object(answer: object) -> Mapping[str, Any]:
    if isinstance(answer, dict):
        return answer
    raise requests.exceptions.InvalidJSONError("the answer of the workspace is not a JSON object")


def _config(workspace: Workspace, timeout: float, *, may_repeat: bool) -> Config:
    # auth_type and the strategy are set explicitly, so that DATABRICKS_* environment variables change nothing.
    common: dict[str, Any] = {
        "host": workspace.workspace_url,
        "http_timeout_seconds": max(1.0, timeout / 2),
        # Half of the time, because databricks-sdk does not count the pause before the last attempt (up to 11 s).
        # It pauses for more than a second before it sends a request again, and so never does in one second.
        "retry_timeout_seconds": max(1, int(timeout / 2)) if may_repeat else 1,
        "product": "zerobus-orchestration",
    }
    credentials = workspace.credentials
    if isinstance(credentials, ClientCredentials):
        return Config(
            auth_type="oauth-m2m",
            client_id=credentials.client_id,
            client_secret=credentials.client_secret,
            **common,
        )
    return Config(credentials_strategy=_federation(credentials), client_id=credentials.client_id, **common)


def _federation(credentials: FederatedCredentials) -> OauthCredentialsStrategy:
    from databricks.sdk import oidc

    class Supplied(oidc.IdTokenSource):
        def id_token(self) -> oidc.IdToken:
            try:
                return oidc.IdToken(jwt=credentials.token_supplier())
            except Exception as error:
                raise SupplierError from error

    def provider(config: Config) -> OAuthCredentialsProvider:
        # Before databricks-sdk 0.71, the attribute is called oidc_endpoints. Reading either can send a request.
        name = "databricks_oidc_endpoints"
        endpoints = getattr(config, name if hasattr(type(config), name) else "oidc_endpoints")
        if endpoints is None:
            raise requests.exceptions.InvalidURL("the workspace does not publish the URL of a token endpoint")
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


def translated_error(error: Exception, text_of: Callable[[str], str]) -> Exception | None:
    """Return the error to raise for an error of databricks-sdk: one of ours, or the one that ``token_supplier`` raised.

    Returns None for an error of an unknown kind. ``text_of`` is a function that masks the secrets in a text.
    """
    chain = list(_chain(error))
    message = text_of(str(chain[0])).split(". Config: ")[0]  # databricks-sdk appends all of its settings
    for known in chain:
        if isinstance(known, SupplierError) and isinstance(known.__cause__, Exception):
            return known.__cause__
        ours = _named_error(known, message, text_of)
        if ours is not None:
            return ours
    if isinstance(chain[0], ValueError | NotImplementedError):
        if _REFUSED.search(message):
            return AuthenticationError(f"{CREDENTIALS} ({message})")
        return TransportError(f"the workspace sent no token; try again later ({message})")
    return None


def _named_error(known: BaseException, message: str, text_of: Callable[[str], str]) -> ZerobusIngestError | None:
    if isinstance(known, ZerobusIngestError):
        return known
    for foreign, ours, advice in TRANSLATION:
        if isinstance(known, foreign):
            return ours(f"{advice} ({type(known).__name__}: {message or text_of(str(known))})")
    answer = _token_answer_in(known)
    return None if answer is None else _token_error(answer)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its chain of causes, up to ten errors.

    The error that says what happened is often wrapped twice.
    """
    # A TimeoutError with a cause only says that databricks-sdk has stopped retrying; the cause says what failed.
    if isinstance(error, TimeoutError) and error.__cause__ is not None:
        error = error.__cause__
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _token_answer_in(error: BaseException) -> Answer | None:
    """Return the answer to a token request if this answer made databricks-sdk raise ``error``; otherwise, return None.

    The answer is taken from the stack frame that read it, because ``error`` does not contain the status of the answer:
    databricks-sdk raises a KeyError for an answer without Content-Type, and a ValueError for most other answers.
    """
    trace = error.__traceback__
    while trace is not None:
        response = trace.tb_frame.f_locals.get("resp")
        if isinstance(response, requests.Response) and trace.tb_frame.f_code.co_name == "retrieve_token":
            return Answer(status=response.status_code, body=response.content)
        trace = trace.tb_next
    return None


def _token_error(answer: Answer) -> ZerobusIngestError:
    try:
        token_of(answer)
    except ZerobusIngestError as error:
        return error
    return TransportError("the workspace gave no token; try again later")
