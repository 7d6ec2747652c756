"""From an Airflow connection to a workspace, and from there to the core."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseHook, get_hook_lineage_collector, mask_secret

import zerobus_core
from zerobus_core import (
    ClientCredentials,
    ConfigurationError,
    FederatedCredentials,
    IngestOptions,
    Progress,
    Receipt,
    Workspace,
)

from .assets import table_asset_uri

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from zerobus_core import CheckpointStore

__all__ = ["ZerobusHook"]

_CONNECTION_TYPES = ("zerobus", "databricks")


class ZerobusHook(BaseHook):
    """Zerobus Ingest of one Databricks workspace, as an Airflow connection describes it.

    :param zerobus_conn_id: a connection of type ``zerobus``, or an existing one of type ``databricks`` that holds a
        service principal's client id and OAuth secret (Login and Password).
    :param endpoint: the Zerobus endpoint, for a connection that does not hold it in its extra field ``endpoint``.
    """

    conn_name_attr = "zerobus_conn_id"
    default_conn_name = "zerobus_default"
    conn_type = "zerobus"
    hook_name = "Databricks Zerobus"

    def __init__(self, zerobus_conn_id: str = default_conn_name, *, endpoint: str | None = None) -> None:
        super().__init__()
        self.zerobus_conn_id = zerobus_conn_id
        self.endpoint = endpoint

    def get_workspace(self) -> Workspace:
        """The workspace and credentials of the connection; nothing is sent to Databricks.

        Raises ConfigurationError naming the connection, the field, and what belongs in it.
        """
        connection = self.get_connection(self.zerobus_conn_id)
        try:
            fields = _Fields(connection)
            return Workspace(
                endpoint=self.endpoint or fields.endpoint(),
                workspace_url=fields.workspace_url(),
                credentials=fields.credentials(),
            )
        except ConfigurationError as error:
            raise ConfigurationError(
                f"connection {self.zerobus_conn_id!r}: {error.message} (in the connection, workspace_url is Host, "
                "client_id is Login, client_secret is Password, and endpoint is the extra field 'endpoint')"
            ) from error

    def get_conn(self) -> Workspace:
        """The same as ``get_workspace``, under Airflow's name."""
        return self.get_workspace()

    def ingest(
        self,
        table: str,
        records: Any,
        *,
        options: IngestOptions | None = None,
        checkpoint: CheckpointStore | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Receipt:
        """Deliver every record to ``table``, or raise; see ``zerobus_core.ingest``.

        Reports the table to Airflow's hook lineage, which OpenLineage reads where its provider is installed.
        """
        workspace = self.get_workspace()
        # Before the delivery: after the last ACK nothing may fail the task any more.
        get_hook_lineage_collector().add_output_asset(context=self, uri=table_asset_uri(workspace.workspace_url, table))
        # By attribute, so that the engine loads where rows are sent, and not where Dags are parsed.
        return zerobus_core.ingest(
            workspace, table, records, options=options, checkpoint=checkpoint, on_progress=on_progress, stop=stop
        )

    def test_connection(self) -> tuple[bool, str]:
        """Reach both hosts and sign in, as ``zerobus-ingest doctor`` does: writing nothing and telling no secret.

        Takes half a minute at most.  Behind a proxy it says what it could not try.
        """
        from zerobus_core.hosting import diagnose

        try:
            workspace = self.get_workspace()
        except ConfigurationError as error:
            return False, error.message
        found: list[str] = []
        for step in diagnose(workspace=workspace):
            found.append(f"{step.name}: {step.detail}")
            if step.status == "failed":
                return False, found[-1]
        return True, "; ".join(found)


class _Fields:
    """What the fields of a connection mean, whichever of the two types it has."""

    def __init__(self, connection: Connection) -> None:
        if connection.conn_type not in _CONNECTION_TYPES:
            raise ConfigurationError(
                f"it is of type {connection.conn_type!r}. Expected {' or '.join(map(repr, _CONNECTION_TYPES))}"
            )
        self._connection = connection
        self._extra = _extra_of(connection)

    def endpoint(self) -> str:
        value = self._extra.get("endpoint") or self._extra.get("zerobus_endpoint")
        if not value:
            raise ConfigurationError(
                "the extra field 'endpoint' is empty. Expected the Zerobus endpoint of the workspace, "
                "https://<workspace-id>.zerobus.<region>.cloud.databricks.com or its Azure or GCP form"
            )
        return str(value)

    def workspace_url(self) -> str:
        host = self._connection.host
        if not host:
            raise ConfigurationError("Host is empty. Expected the workspace URL, https://dbc-….cloud.databricks.com")
        return _without_page(host.strip(), self._connection.port)

    def credentials(self) -> ClientCredentials | FederatedCredentials:
        token_file = self._extra.get("federated_token_file")
        if token_file:
            return FederatedCredentials(token_supplier=_TokenFile(token_file), client_id=self._connection.login or None)
        return ClientCredentials(client_id=self._client_id(), client_secret=self._client_secret())

    def _client_id(self) -> str:
        login = self._connection.login or self._extra.get("client_id")
        if self._extra.get("azure_tenant_id"):
            raise ConfigurationError(
                "it holds a Microsoft Entra service principal (extra field 'azure_tenant_id'). Zerobus takes "
                "Databricks OAuth: put the client id and an OAuth secret made in Databricks into Login and Password"
            )
        # Beside a token, which Databricks' own provider prefers, Login and Password are usually those of a person.
        is_token = self._extra.get("token") and not self._extra.get("service_principal_oauth")
        if is_token or login == "token" or (not login and self._connection.password):
            raise ConfigurationError(
                "it holds a personal access token. Zerobus takes a service principal: put its client id into Login "
                "and an OAuth secret of it into Password, and remove the extra field 'token' if there is one"
            )
        if not login:
            raise ConfigurationError("Login is empty. Expected the client id (application id) of a service principal")
        return str(login)

    def _client_secret(self) -> str:
        secret = self._connection.password or self._extra.get("client_secret")
        if not secret:
            raise ConfigurationError("Password is empty. Expected an OAuth secret of the service principal")
        mask_secret(secret)
        return str(secret)


def _extra_of(connection: Connection) -> dict[str, Any]:
    """The extra fields; text that is not JSON, which Airflow takes for none at all, is a ConfigurationError."""
    try:
        extra = json.loads((connection.extra or "").strip() or "{}")
    except ValueError as error:
        # Without the chain: the error holds the text, and so perhaps a secret.
        raise ConfigurationError(f"its extra is no JSON: {error}") from None
    if not isinstance(extra, dict):
        raise ConfigurationError(f"its extra is JSON of type {type(extra).__name__}. Expected an object of fields")
    mask_secret(extra)
    return extra


def _without_page(host: str, port: int | None) -> str:
    """The URL of a host that may have been copied from a browser, and whose port may be a field of its own."""
    try:
        url = urlsplit(host if "://" in host else f"https://{host}")
        # The port that goes without saying would make another asset of the table.
        is_told = url.port or not port or (url.scheme, port) == ("https", 443)
        netloc = url.netloc if is_told else f"{url.netloc}:{port}"
    except ValueError:
        return host  # which Workspace refuses
    return f"{url.scheme}://{netloc}"


class _TokenFile:
    """Reads a JWT from a file each time that one is needed: whoever owns the file renews it."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def __call__(self) -> str:
        try:
            token = self._path.read_text().strip()
        except OSError as error:
            raise ConfigurationError(f"federated_token_file {str(self._path)!r} cannot be read: {error}") from error
        if not token:
            raise ConfigurationError(f"federated_token_file {str(self._path)!r} is empty")
        mask_secret(token)
        return token
