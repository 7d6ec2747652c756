"""A small client for the two requests that a service principal needs: one for a token, one for the table's schema.

It is used instead of databricks-sdk, whose import takes longer than the delivery of a few rows; see
docs/decisions/own_unity_catalog_client.md. How service principals get tokens:
https://docs.databricks.com/aws/en/dev-tools/auth/oauth-m2m
"""

from __future__ import annotations

import base64
import errno
import os
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from ...errors import ConfigurationError, IngestTimeoutError, TransportError, ZerobusIngestError
from ...version import USER_AGENT
from .answers import json_object_of, token_of
from .connection import Connection, UnsupportedProxyError, proxy_of

if TYPE_CHECKING:
    from ...workspace import ClientCredentials
    from .connection import Answer

__all__ = ["RetryLater", "get_json", "is_final", "reach", "unreachable_error"]

_TOKEN_PATH = "/oidc/v1/token"  # noqa: S105 - a path
_FORM = b"grant_type=client_credentials&scope=all-apis"
_CONNECT_TIMEOUT = 5.0

Judged = TypeVar("Judged")


class RetryLater(Exception):  # noqa: N818 - what the server asks for
    """Raised if the server asks for a retry after ``seconds``; ``__cause__`` is our error for the server's answer."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def get_json(
    workspace_url: str, credentials: ClientCredentials, path: str, *, timeout: float, query: str = ""
) -> Mapping[str, Any]:
    """Sign in, GET ``path`` and return the JSON object in the answer.

    ``timeout`` is the longest wait, in seconds, for a single network operation; the whole call can take longer. Raises
    our errors, RetryLater, UnsupportedProxyError, OSError and http.client's errors.
    """
    agent = {"User-Agent": USER_AGENT, "Accept": "application/json"}
    with reach(workspace_url, timeout=timeout) as connection:
        pair = f"{credentials.client_id}:{credentials.client_secret}".encode()
        sign_in = {
            **agent,
            "Authorization": f"Basic {base64.b64encode(pair).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        token = _judged(token_of, connection.request("POST", _TOKEN_PATH, sign_in, _FORM))
        bearer = {**agent, "Authorization": f"Bearer {token}"}
        return _judged(json_object_of, connection.request("GET", path + query, bearer))


def reach(workspace_url: str, *, timeout: float) -> Connection:
    """Open a connection to the workspace; raises the same errors as ``Connection``."""
    connection = Connection(workspace_url, timeout=min(timeout, _CONNECT_TIMEOUT))
    try:
        connection.connect()
        connection.wait(timeout)
    except BaseException:
        connection.close()
        raise
    return connection


def _judged(judge: Callable[[Answer], Judged], answer: Answer) -> Judged:
    try:
        return judge(answer)
    except ZerobusIngestError as error:
        if error.retryable and answer.retry_after.isdecimal():
            raise RetryLater(float(answer.retry_after)) from error
        raise


def unreachable_error(workspace_url: str, error: BaseException) -> ZerobusIngestError | None:
    """Return our error for a network failure, with advice on what to check; None if ``error`` is not such a failure."""
    url = urlsplit(workspace_url)
    proxy = _proxy_of(url)
    host = (url if proxy is None else proxy).hostname or ""
    check = (
        "workspace_url (DATABRICKS_HOST)" if proxy is None else f"{url.scheme}_proxy and no_proxy in the environment"
    )
    what = f"{type(error).__name__}: {error}"
    if type(error).__name__ in {"SSLError", "SSLCertVerificationError"}:  # ssl is imported for https only
        return _tls_error(host, url.netloc, what)
    if isinstance(error, socket.gaierror):
        return TransportError(f"the host name {host} is not known: check {check} and DNS ({what})")
    if url.scheme == "http" and proxy is None and isinstance(error, ConnectionRefusedError):
        return TransportError(
            f"nothing listens at {workspace_url}: the local server is probably not running, or was restarted on other "
            "ports; start it with `zerobus-local serve`, or read its ports again with `zerobus-local env`"
        )
    if isinstance(error, TimeoutError):
        return IngestTimeoutError(f"{host} did not answer in time: check {check} and the network ({what})")
    if isinstance(error, OSError) or type(error).__module__.startswith("http."):
        return TransportError(f"{host} cannot be reached: check {check} and the network ({what})")
    return None


def _tls_error(host: str, netloc: str, what: str) -> ZerobusIngestError:
    if "CERTIFICATE_VERIFY_FAILED" in what:
        return ConfigurationError(
            f"the certificate of {host} is not trusted: set REQUESTS_CA_BUNDLE or SSL_CERT_FILE to the bundle of "
            f"certificates that your network uses ({what})"
        )
    if host == "localhost" or host.startswith("127."):
        return ConfigurationError(
            f"{host} does not speak https: zerobus-local speaks plain http; write http://{netloc} ({what})"
        )
    return TransportError(f"no TLS connection to {host} could be opened: check the network and its proxies ({what})")


def _proxy_of(url: SplitResult) -> SplitResult | None:
    try:
        return proxy_of(url, os.environ)
    except (ConfigurationError, UnsupportedProxyError):
        return None


def is_final(error: BaseException) -> bool:
    """Return whether ``error`` says that the host name is unknown or that the host refused the connection.

    A retry a few seconds later would most likely fail in the same way.
    """
    if isinstance(error, socket.gaierror):
        return error.errno != socket.EAI_AGAIN
    return isinstance(error, ConnectionRefusedError) and error.errno == errno.ECONNREFUSED
