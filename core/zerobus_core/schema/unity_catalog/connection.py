"""One HTTP(S) connection to a workspace, made with the standard library.

This module does not use databricks-sdk, because importing it takes a second. The environment variables that
databricks-sdk uses apply here, too: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in upper or lower case, and
REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE. If neither bundle is set, SSL_CERT_FILE and SSL_CERT_DIR also apply.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from ...errors import ConfigurationError

if TYPE_CHECKING:
    import ssl

__all__ = ["Answer", "Connection", "UnsupportedProxyError"]

# In bytes; the description of a table with 2,000 columns has about one million.
_LONGEST_ANSWER = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The response of a server.

    ``retry_after`` and ``location`` are the values of these headers. The value of a missing header is "".
    """

    status: int
    body: bytes
    retry_after: str = ""
    location: str = ""


class UnsupportedProxyError(Exception):
    """Raised if an environment variable sets a proxy that the standard library does not support, such as SOCKS."""


class Connection:
    """A connection to the host of ``url``, opened by ``connect`` or the first request and kept until ``close``.

    ``timeout`` is the longest wait, in seconds, for a single network operation. The constructor raises
    ConfigurationError if an environment variable for a proxy or a CA bundle is invalid. It raises UnsupportedProxyError
    if the proxy is not an http proxy. The methods raise OSError and the errors of http.client.
    """

    def __init__(self, url: str, *, timeout: float, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._target = urlsplit(url)
        self._headers: dict[str, str] = {}
        self._prefix = ""
        self._http = self._connection(proxy_of(self._target, self._environ), timeout)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; can be called twice."""
        self._http.close()

    def connect(self) -> None:
        """Open the connection, including the TLS handshake for https.

        ``request`` also opens the connection if needed, so this method is useful for only two purposes. One is to test
        whether a connection is possible. The other is to open the connection with one timeout, and then to set another
        timeout for the answers with ``wait``.
        """
        self._http.connect()

    def wait(self, timeout: float) -> None:
        """Set the timeout of all later network operations: the longest wait for a single operation, in seconds."""
        self._http.timeout = timeout  # for the next connection, if the server closes this one
        if self._http.sock is not None:
            self._http.sock.settimeout(timeout)

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Send one request and return the answer.

        A redirect is returned and not followed, so that credentials are not sent to another host.
        """
        self._http.request(method, self._prefix + path, body=body, headers={**self._headers, **headers})
        with self._http.getresponse() as response:
            content = response.read(_LONGEST_ANSWER)
            return Answer(
                status=response.status,
                body=content,
                retry_after=response.headers.get("Retry-After", ""),
                location=response.headers.get("Location", ""),
            )

    def _connection(self, proxy: SplitResult | None, timeout: float) -> http.client.HTTPConnection:
        host, is_tls = self._target.hostname or "", self._target.scheme == "https"
        port = self._target.port or (443 if is_tls else 80)
        if proxy is None:
            if is_tls:
                return http.client.HTTPSConnection(host, port, timeout=timeout, context=_context(self._environ))
            return http.client.HTTPConnection(host, port, timeout=timeout)
        login = _proxy_login(proxy)
        via = (proxy.hostname or "", proxy.port or 80)
        if is_tls:
            tunnel = http.client.HTTPSConnection(*via, timeout=timeout, context=_context(self._environ))
            tunnel.set_tunnel(host, port, headers=login)
            return tunnel
        self._headers = login
        self._prefix = f"http://{self._target.netloc}"
        return http.client.HTTPConnection(*via, timeout=timeout)


def proxy_of(target: SplitResult, environ: Mapping[str, str]) -> SplitResult | None:
    """Return the proxy that the environment variables set for the URL ``target``.

    Returns None if they set no proxy for this URL. Raises ConfigurationError if the proxy is not a URL, and
    UnsupportedProxyError if it is not an http proxy.
    """
    proxies, is_bypassed = _settings(target, environ)
    named = next((proxies[key] for key in (target.scheme, "all") if proxies.get(key)), None)
    if named is None or is_bypassed:
        return None
    try:
        proxy = urlsplit(named if "://" in named else f"http://{named}")
        _ = proxy.port
    except ValueError:
        proxy = None
    if proxy is None or not proxy.hostname:
        raise ConfigurationError(f"the proxy in the environment ({target.scheme}_proxy or all_proxy) is not a URL")
    if proxy.scheme != "http":
        raise UnsupportedProxyError(proxy.scheme)
    return proxy


def _settings(target: SplitResult, environ: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    if sys.platform in {"darwin", "win32"}:
        from urllib.request import getproxies, proxy_bypass  # these include the system's settings

        return getproxies(), bool(proxy_bypass(target.netloc))
    proxies = {key: _variable(environ, f"{key}_proxy") for key in ("http", "https", "all")}
    if "REQUEST_METHOD" in environ and "http_proxy" not in environ:
        proxies["http"] = ""  # under CGI, HTTP_PROXY is the Proxy header of a request, which any client can set
    return proxies, _is_bypassed(target, _variable(environ, "no_proxy"))


def _variable(environ: Mapping[str, str], name: str) -> str:
    found = environ.get(name)
    return environ.get(name.upper(), "") if found is None else found


def _is_bypassed(target: SplitResult, no_proxy: str) -> bool:
    host = (target.hostname or "").lower()
    for entry in no_proxy.lower().replace(" ", "").split(","):
        name = entry.lstrip(".")
        if entry == "*" or (name and (host == name or host.endswith(f".{name}") or target.netloc.lower() == name)):
            return True
        if "/" in entry and _is_in_network(host, entry):
            return True
    return False


def _is_in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _proxy_login(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return a TLS context that trusts the CA bundle in REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE.

    If neither of these environment variables is set, the context trusts the CAs of the system and, if the certifi
    package is installed, certifi's CAs.
    """
    import ssl

    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        bundle = environ.get(name)
        if bundle:
            is_folder = os.path.isdir(bundle)
            try:
                return ssl.create_default_context(
                    cafile=None if is_folder else bundle, capath=bundle if is_folder else None
                )
            except OSError as error:
                raise ConfigurationError(f"{name}={bundle} in the environment cannot be read: {error}") from error
    context = ssl.create_default_context()
    try:
        import certifi
    except ModuleNotFoundError:
        pass
    else:
        context.load_verify_locations(certifi.where())
    return context
