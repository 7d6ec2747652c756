"""Builds a workspace from an Airflow connection, and calls the core with it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

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
from .checkpoint import checkpoint_store
from .compat import (
    AirflowNotFoundException,
    AirflowRuntimeError,
    BaseHook,
    get_current_context,
    mask_secret,
    report_output,
)
from .observe import without_failing
from .parameters import known_options, rendered_name
from .provider_info import connection_type

if TYPE_CHECKING:
    from zerobus_core import CheckpointStore, TableSchema

    from .compat import Connection

__all__ = ["ZerobusHook", "find_connection"]

_CONNECTION_TYPES = ("zerobus", "databricks")


class ZerobusHook(BaseHook):
    """Delivers rows through Zerobus Ingest to the Databricks workspace that an Airflow connection describes.

    :param zerobus_conn_id: a connection of type ``zerobus``, or an existing one of type ``databricks`` that has a
        service principal's client id and OAuth secret (Login and Password).
    :param endpoint: the Zerobus endpoint, if the connection does not have the extra field ``endpoint``.
    """

    conn_name_attr = "zerobus_conn_id"
    default_conn_name = "zerobus_default"
    conn_type = "zerobus"
    hook_name = "Databricks Zerobus"

    def __init__(self, zerobus_conn_id: str = default_conn_name, *, endpoint: str | None = None) -> None:
        super().__init__()
        self.zerobus_conn_id = zerobus_conn_id
        self.endpoint = endpoint

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return labels, placeholders and hidden fields of the connection form for Airflow before 3.2.

        Airflow 3.2 and newer read the provider's metadata instead.
        """
        behaviour = connection_type()["ui-field-behaviour"]
        return {name.replace("-", "_"): value for name, value in behaviour.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form fields of this connection type for Airflow before 3.2; only the web server calls this."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import StringField

        return {
            name: StringField(
                lazy_gettext(field["label"]), widget=BS3TextFieldWidget(), description=field["description"]
            )
            for name, field in connection_type()["conn-fields"].items()
        }

    def get_workspace(self) -> Workspace:
        """Return the workspace and credentials of the connection; nothing is sent to Databricks.

        Raises a ConfigurationError that names the connection, and says what is missing or wrong in it.
        """
        return self._workspace_of(
            find_connection(self.zerobus_conn_id, "zerobus_conn_id"), f"connection {self.zerobus_conn_id!r}: "
        )

    def get_conn(self) -> Workspace:
        """Return the result of ``get_workspace()``; every Airflow hook has a method ``get_conn``."""
        return self.get_workspace()

    def get_schema(self, table: str, *, timeout: float = 30.0) -> TableSchema:
        """Return the columns of ``catalog.schema.table`` from Unity Catalog; see ``TableSchema.fetch``.

        Blocks for at most ``timeout`` seconds. Raises the errors of ``TableSchema.fetch``.
        """
        return zerobus_core.TableSchema.fetch(self.get_workspace(), table, timeout=timeout)

    def ingest(  # noqa: PLR0913 - the core's call, with everything by name
        self,
        table: str,
        records: Any,
        *,
        options: IngestOptions | Mapping[str, Any] | None = None,
        checkpoint: CheckpointStore | str | os.PathLike[str] | None = None,
        checkpoint_uri: str | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Receipt:
        """Deliver all records to ``table``, or raise an error; see ``zerobus_core.ingest``.

        ``options`` can be a mapping of IngestOptions' fields. ``checkpoint`` can be a path. ``checkpoint_uri`` is a
        directory for a checkpoint of the running task instance, as in the operators; a task that delivers to one table
        twice needs a directory for each delivery.

        Adds the table to the outputs in Airflow's hook-lineage collector. OpenLineage reads this collector if the
        OpenLineage provider is installed.
        """
        workspace = self.get_workspace()
        if checkpoint is not None and checkpoint_uri is not None:
            raise ConfigurationError("pass either checkpoint or checkpoint_uri, not both")
        if checkpoint_uri is not None:
            checkpoint = checkpoint_store(get_current_context(), "retry", table=table, uri=checkpoint_uri)
        elif isinstance(checkpoint, str | os.PathLike):
            checkpoint = zerobus_core.FileCheckpointStore(checkpoint)
        receipt = self.deliver(
            workspace,
            table,
            records,
            options=known_options(options),
            checkpoint=checkpoint,
            on_progress=on_progress,
            stop=stop,
        )
        uri = table_asset_uri(workspace.workspace_url, table)
        without_failing(lambda: report_output(self, uri), "Reporting lineage")
        return receipt

    def deliver(  # noqa: PLR0913 - as above
        self,
        workspace: Workspace,
        table: str,
        records: Any,
        *,
        options: IngestOptions,
        checkpoint: CheckpointStore | None,
        on_progress: Callable[[Progress], None] | None,
        stop: threading.Event | None,
    ) -> Receipt:
        """Deliver all records to ``table`` in ``workspace``; see ``zerobus_core.ingest``.

        ``ingest`` calls this method. The operators call it for every delivery that is not part of a handoff.
        """
        # An attribute of the package, so that the engine is imported when rows are sent, not when Dags are parsed.
        return zerobus_core.ingest(
            workspace, table, records, options=options, checkpoint=checkpoint, on_progress=on_progress, stop=stop
        )

    def test_connection(self) -> tuple[bool, str]:
        """Connect to the workspace and to Zerobus, and sign in; return whether that worked, and a message.

        Uses the checks of ``zerobus-ingest doctor``. Writes nothing and shows no secret. Usually takes less than half a
        minute. Behind a proxy, the message says what could not be tested.
        """
        from zerobus_core.hosting import diagnose

        try:
            # Airflow tests the form's values under a made-up connection id, which a message must not show.
            workspace = self._workspace_of(find_connection(self.zerobus_conn_id, "zerobus_conn_id"), "")
        except ConfigurationError as error:
            return False, error.message
        found: list[str] = []
        for step in diagnose(workspace=workspace):
            found.append(f"{step.name}: {step.detail}")
            if step.status == "failed":
                return False, found[-1]
        return True, "; ".join(found)

    def _workspace_of(self, connection: Connection, prefix: str) -> Workspace:
        try:
            fields = _Fields(connection)
            return Workspace(
                endpoint=self.endpoint or fields.endpoint(),
                workspace_url=fields.workspace_url(),
                credentials=fields.credentials(),
            )
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{prefix}{error.message} (in the connection, workspace_url is Host, "
                "client_id is Login, client_secret is Password, and endpoint is the extra field 'endpoint')"
            ) from error


def find_connection(conn_id: str, parameter: str) -> Connection:
    """Return the connection with the id ``conn_id``.

    Raises ConfigurationError if the connection does not exist, or if the environment variable that defines the
    connection cannot be read. ``parameter`` is the name of the parameter in which the user passed ``conn_id``; error
    messages contain this name.
    """
    rendered_name(parameter, conn_id)
    try:
        return BaseHook.get_connection(conn_id)
    except (AirflowNotFoundException, AirflowRuntimeError) as error:
        # Airflow before 3.1 raises the supervisor's answer as an AirflowRuntimeError.
        if not isinstance(error, AirflowNotFoundException) and "CONNECTION_NOT_FOUND" not in str(error):
            raise
        raise ConfigurationError(_why_not_found(conn_id, parameter)) from error


def _why_not_found(conn_id: str, parameter: str) -> str:
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    if os.environ.get(variable):
        # Airflow passes over it, and its own error can contain a part of a secret.
        return (
            f"connection {conn_id!r}: Airflow cannot read the environment variable {variable}. Expected a URI or a "
            "JSON object. Port must be a number, and Extra must be a JSON object"
        )
    return (
        f"there is no connection {conn_id!r}; add it under Admin > Connections, in your secrets backend or as an "
        f"environment variable, or pass another one as {parameter}"
    )


class _Fields:
    """The values for Zerobus, read from the fields of a ``zerobus`` or ``databricks`` connection."""

    def __init__(self, connection: Connection) -> None:
        if connection.conn_type not in _CONNECTION_TYPES:
            raise ConfigurationError(
                f"the connection is of type {connection.conn_type!r}. Expected "
                f"{' or '.join(map(repr, _CONNECTION_TYPES))}"
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
                "the connection has a Microsoft Entra service principal (extra field 'azure_tenant_id'). Zerobus needs "
                "Databricks OAuth: put a client id into Login, and an OAuth secret created in Databricks into "
                "Password"
            )
        # If there is a token, Databricks' own provider uses it, and Login and Password are usually those of a person.
        is_token = self._extra.get("token") and not self._extra.get("service_principal_oauth")
        if is_token or login == "token" or (not login and self._connection.password):
            raise ConfigurationError(
                "the connection has a personal access token. Zerobus needs a service principal: put its client id into "
                "Login and its OAuth secret into Password, and remove the extra field 'token' if there is one"
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
    """Return the extra fields of a connection.

    Raises ConfigurationError if the field Extra contains text that is not a JSON object. Airflow itself ignores
    this mistake.
    """
    try:
        extra = json.loads((connection.extra or "").strip() or "{}")
    except ValueError as error:
        # ``from None``, because the JSON error keeps the whole text, which can contain a secret.
        raise ConfigurationError(f"Extra is not valid JSON: {error}") from None
    if not isinstance(extra, dict):
        raise ConfigurationError(f"Extra must be a JSON object, not JSON of type {type(extra).__name__}")
    mask_secret(extra)
    return extra


def _without_page(host: str, port: int | None) -> str:
    """Return ``host`` as a URL without a path.

    If the user copied the URL from a browser, ``host`` contains the path of a page. ``port`` is the connection's field
    Port; it is used if ``host`` has no port.
    """
    try:
        url = urlsplit(host if "://" in host else f"https://{host}")
        # A default port is left out: with it, the URI of the table's asset would be a different one.
        is_told = url.port or not port or (url.scheme, port) == ("https", 443)
        netloc = url.netloc if is_told else f"{url.netloc}:{port}"
    except ValueError:
        return host  # which Workspace refuses
    return f"{url.scheme}://{netloc}"


class _TokenFile:
    """Reads a JWT from a file whenever a token is needed; the owner of the file renews the JWT."""

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
