"""The workspace that rows go to: endpoint, workspace URL and credentials.

Each class checks its values when an object of the class is created.

Endpoint forms: https://docs.databricks.com/aws/en/ingestion/zerobus-ingest, and the same pages for Azure and GCP. Plain
``http://`` is accepted on loopback only, where ``zerobus-local`` listens.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from .errors import ConfigurationError
from .masking import Mask

__all__ = ["ClientCredentials", "FederatedCredentials", "Workspace", "mask_of"]

_ENDPOINT_HOST = re.compile(
    r"[0-9a-z-]+\.zerobus\.[a-z0-9-]+\.(cloud\.databricks\.(com|us|mil)|azuredatabricks\.(net|us)|gcp\.databricks\.com)"
)
_ENDPOINT_FORMS = (
    "https://<workspace-id>.zerobus.<region>.cloud.databricks.com (AWS), "
    ".azuredatabricks.net (Azure) or .gcp.databricks.com (GCP), "
    "or http://127.0.0.1:<port> for zerobus-local"
)
_WORKSPACE_FORMS = (
    "https://dbc-….cloud.databricks.com (AWS), https://adb-….azuredatabricks.net (Azure) or "
    "https://….gcp.databricks.com (GCP), or http://127.0.0.1:<port> for zerobus-local"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """A service principal: its client id (the application id) and one of its OAuth secrets."""

    client_id: str
    client_secret: str = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("client_id", "client_secret"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise ConfigurationError(f"{name} must be text, not a value of type {type(value).__name__}")
            if value is None or not value.strip():
                raise ConfigurationError(
                    f"{name} is empty: pass the service principal's client id and one of its OAuth secrets"
                )
            if value != value.strip() or any(ch.isspace() for ch in value):
                raise ConfigurationError(f"{name} contains white space: it was probably copied with a line break")


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedCredentials:
    """Credentials from your own identity provider: its token is exchanged for a Databricks token (RFC 8693).

    ``token_supplier`` is called from a worker thread whenever a token is needed, and returns a JWT. ``client_id`` is
    the id of the service principal for workload identity federation; None means account-level federation.
    """

    token_supplier: Callable[[], str] = field(repr=False)
    client_id: str | None = None

    def __post_init__(self) -> None:
        if not callable(self.token_supplier):
            raise ConfigurationError("token_supplier must be a function that returns a JWT of your identity provider")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A Databricks workspace, its Zerobus endpoint, and the credentials to use there. Building one opens no connection.

    Raises ConfigurationError for an invalid endpoint or URL; the message shows the valid forms.
    """

    endpoint: str
    workspace_url: str
    credentials: ClientCredentials | FederatedCredentials

    def __post_init__(self) -> None:
        _refuse_if_swapped(self.endpoint, self.workspace_url)
        object.__setattr__(self, "endpoint", _checked_endpoint(self.endpoint))
        object.__setattr__(self, "workspace_url", _checked_workspace_url(self.workspace_url))
        if not isinstance(self.credentials, ClientCredentials | FederatedCredentials):
            raise ConfigurationError(
                f"credentials must be ClientCredentials or FederatedCredentials, not {type(self.credentials).__name__}"
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Workspace:
        """Build a workspace from environment variables.

        They are ZEROBUS_SERVER_ENDPOINT, DATABRICKS_HOST, DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET. Raises a
        ConfigurationError that names every missing variable.
        """
        env = os.environ if environ is None else environ
        if not isinstance(env, Mapping):
            raise ConfigurationError(f"environ must be a mapping of names to text, not {type(env).__name__}")
        names = (
            "ZEROBUS_SERVER_ENDPOINT",
            "DATABRICKS_HOST",
            "DATABRICKS_CLIENT_ID",
            "DATABRICKS_CLIENT_SECRET",
        )
        missing = [name for name in names if not env.get(name)]
        if missing:
            raise ConfigurationError(f"set {', '.join(missing)} in the environment")
        endpoint, workspace_url, client_id, client_secret = (env[name] for name in names)
        return cls(
            endpoint=endpoint,
            workspace_url=workspace_url,
            credentials=ClientCredentials(client_id=client_id, client_secret=client_secret),
        )


def mask_of(workspace: Workspace) -> Mask:
    """Return a mask that hides the workspace's client secret in texts that come from servers and libraries."""
    credentials = workspace.credentials
    if isinstance(credentials, ClientCredentials):
        return Mask(client_id=credentials.client_id, secret=credentials.client_secret)
    return Mask()


def _checked_endpoint(text: object) -> str:
    url = _split("endpoint", text, _ENDPOINT_FORMS)
    if _is_local(url) or (url.scheme == "https" and _ENDPOINT_HOST.fullmatch(url.hostname or "")):
        return f"{url.scheme}://{url.netloc}"
    hint = ""
    if _is_loopback(url):
        hint = f"; on loopback zerobus-local speaks plain http: write http://{url.netloc}"
    elif url.scheme == "http":
        hint = "; plain http is for loopback only"
    elif ".zerobus." not in f".{url.hostname}":
        hint = "; this looks like a workspace URL, the Zerobus endpoint is another host"
    raise ConfigurationError(f"endpoint {_shown(url)!r} is not a Zerobus endpoint{hint}. Expected {_ENDPOINT_FORMS}")


def _checked_workspace_url(text: object) -> str:
    url = _split("workspace_url", text, _WORKSPACE_FORMS)
    host = url.hostname or ""
    if ".zerobus." in f".{host}":
        raise ConfigurationError(
            f"workspace_url {_shown(url)!r} is a Zerobus endpoint; pass the URL of the workspace: {_WORKSPACE_FORMS}"
        )
    if _is_local(url) or (url.scheme == "https" and "." in host):
        return f"{url.scheme}://{url.netloc}"
    hint = f"; on loopback zerobus-local speaks plain http: write http://{url.netloc}" if _is_loopback(url) else ""
    raise ConfigurationError(f"workspace_url {_shown(url)!r} is not a workspace URL{hint}. Expected {_WORKSPACE_FORMS}")


def _refuse_if_swapped(endpoint: object, workspace_url: object) -> None:
    if not isinstance(endpoint, str) or not isinstance(workspace_url, str):
        return
    if ".zerobus." in workspace_url and ".zerobus." not in endpoint and "databricks" in endpoint:
        raise ConfigurationError(
            "endpoint and workspace_url are swapped: the one with .zerobus. in its host is the endpoint "
            "(ZEROBUS_SERVER_ENDPOINT), the other one is the workspace URL (DATABRICKS_HOST)"
        )


def _split(name: str, text: object, forms: str) -> SplitResult:
    if text is not None and not isinstance(text, str):
        raise ConfigurationError(f"{name} must be text, not a value of type {type(text).__name__}. Expected {forms}")
    if text is None or not text.strip():
        raise ConfigurationError(f"{name} is empty. Expected {forms}")
    text = text.strip()
    try:
        url = urlsplit(text if "://" in text else f"https://{text}")
        _ = url.port  # raises if the port is not a number
    except ValueError:
        # Neither the text of the ValueError nor the chain is kept: both can quote a part of a password.
        raise ConfigurationError(f"{name} {_quoted(text)} is not a URL. Expected {forms}") from None
    if url.username or url.password:
        raise ConfigurationError(f"{name} must not contain a user name or password. Expected {forms}")
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ConfigurationError(f"{name} {_quoted(text)} is not a URL. Expected {forms}")
    if url.path.strip("/") or url.query or url.fragment:
        raise ConfigurationError(
            f"{name} {_shown(url)!r} must end after the host; if it was copied from a browser, give "
            f"{url.scheme}://{url.netloc} only. Expected {forms}"
        )
    return url


def _quoted(text: str) -> str:
    """Return the repr of ``text``, without any part that could be a password or a token."""
    text, at, host = text.rpartition("@")
    return repr(re.split(r"[?#]", f"{'…@' if at else ''}{host}")[0])


def _shown(url: SplitResult) -> str:
    return f"{url.scheme}://{url.netloc}{url.path}"


def _is_local(url: SplitResult) -> bool:
    return url.scheme == "http" and _is_loopback(url)


def _is_loopback(url: SplitResult) -> bool:
    if url.hostname is None:
        return False
    if url.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.hostname).is_loopback
    except ValueError:
        return False
