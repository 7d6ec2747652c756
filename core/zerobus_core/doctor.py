"""Checks step by step that rows can be delivered; no row is written.

A step that fails says what is wrong and what to do. The steps that depend on that step are skipped. No step shows a
secret.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Literal
from urllib.parse import urlsplit

from .errors import ConfigurationError, IngestTimeoutError, TransportError, ZerobusIngestError
from .options import IngestOptions
from .schema import TableSchema
from .wording import plural
from .workspace import ClientCredentials, Workspace

__all__ = ["Step", "diagnose"]

_VARIABLES = ("ZEROBUS_SERVER_ENDPOINT", "DATABRICKS_HOST", "DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET")
_CONNECT_TIMEOUT = 5.0
_ASK_TIMEOUT = 20.0
# The variables that can name a proxy, in the order in which the Zerobus SDK reads them (proxy.rs).
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The result of one check.

    ``detail`` says what was found or what is wrong, and ``advice`` says what to do about it. The status "warning" means
    that the check could neither confirm nor rule out a problem. ``error`` is the exception that made the step fail, or
    None.
    """

    name: str
    status: Literal["ok", "warning", "failed", "skipped"]
    detail: str
    advice: str = ""
    error: ZerobusIngestError | None = None

    def as_dict(self) -> dict[str, str]:
        """Return the step as a dict of strings."""
        plain = {"step": self.name, "status": self.status, "detail": self.detail, "advice": self.advice}
        return plain | ({"error": type(self.error).__name__} if self.error else {})


def diagnose(
    table: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    workspace: Workspace | None = None,
    options: IngestOptions | None = None,
) -> Iterator[Step]:
    """Run the steps in order, and yield the result of each step as soon as the step is done.

    The workspace is built from ``environ`` unless ``workspace`` is given. If the workspace cannot be built, no other
    step follows. If ``table`` is None, the steps that check a table are left out. With the default options, a step
    takes about a minute at most.
    """
    environ = os.environ if environ is None else environ
    options = options or IngestOptions()
    if workspace is None:
        step, workspace = _configured(environ)
        yield step
    if workspace is None:
        return
    endpoint = _reached("endpoint", workspace.endpoint, environ)
    yield endpoint
    host = _reached("workspace", workspace.workspace_url, environ)
    yield host
    later = () if table is None else ("table", "grants", "stream")
    if host.status == "failed":
        yield from _skipped("the workspace was not reached", "sign in", *later)
        return
    signed_in = _attempt("sign in", lambda: _signed_in(workspace))
    yield signed_in
    if signed_in.error is not None:
        yield from _skipped("the workspace gave no token", *later)
    elif table is not None:
        yield from _table_steps(workspace, table, options, can_open=endpoint.status != "failed")


def _skipped(reason: str, *names: str) -> Iterator[Step]:
    for name in names:
        yield Step(name=name, status="skipped", detail=reason)


def _table_steps(workspace: Workspace, table: str, options: IngestOptions, *, can_open: bool) -> Iterator[Step]:
    found: list[TableSchema] = []
    yield _attempt("table", lambda: _table_read(workspace, table, found))
    if not found:
        yield from _skipped("the table was not read", "grants", "stream")
        return
    yield _attempt("grants", lambda: _grants(workspace, table))
    if can_open:
        yield _attempt("stream", lambda: _stream_opened(workspace, found[0], options))
    else:
        yield from _skipped("the endpoint was not reached", "stream")


def _attempt(name: str, look: Callable[[], Step]) -> Step:
    try:
        return look()
    except ZerobusIngestError as error:
        return Step(name=name, status="failed", detail=str(error), error=error)


def _configured(environ: Mapping[str, str]) -> tuple[Step, Workspace | None]:
    try:
        workspace = Workspace.from_env(environ)
    except ConfigurationError as error:
        shown = ", ".join(f"{name} {'is set' if environ.get(name) else 'is not set'}" for name in _VARIABLES)
        return Step(name="environment", status="failed", detail=str(error), advice=shown, error=error), None
    assert isinstance(workspace.credentials, ClientCredentials)
    detail = f"{workspace.endpoint}, {workspace.workspace_url}, as {workspace.credentials.client_id}"
    return Step(name="environment", status="ok", detail=detail), workspace


def _reached(name: str, url: str, environ: Mapping[str, str]) -> Step:
    """Resolve the host of ``url`` and connect to it; for https, also do the TLS handshake. Return the step."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT) as connection:
            if parts.scheme == "https":
                with ssl.create_default_context().wrap_socket(connection, server_hostname=host):
                    pass
    except socket.gaierror as error:
        return _not_reached(name, url, f"the name {host} is not known ({error.strerror})", environ)
    except ssl.SSLCertVerificationError as error:
        return _not_reached(name, url, f"the certificate of {host} is not trusted ({error.verify_message})", environ)
    except OSError as error:
        return _not_reached(name, url, f"{host}:{port} cannot be reached ({error})", environ)
    return Step(name=name, status="ok", detail=f"{host}:{port} answers")


def _not_reached(name: str, url: str, detail: str, environ: Mapping[str, str]) -> Step:
    proxy = next((key for key in _PROXIES if environ.get(key) or environ.get(key.upper())), None)
    if proxy is not None:
        return Step(
            name=name,
            status="warning",
            detail=f"{detail}, but {proxy} is set, and this check does not connect through a proxy",
        )
    variable = "ZEROBUS_SERVER_ENDPOINT" if name == "endpoint" else "DATABRICKS_HOST"
    advice = f"check {variable} and DNS, and whether a firewall blocks connections from this machine to that host"
    if urlsplit(url).scheme == "http":  # plain http is accepted for this machine only
        advice = (
            f"check {variable}: the local server is probably not running, or was restarted on other ports; start it "
            "with `zerobus-local serve`, or read its ports again with `zerobus-local env`"
        )
    return Step(
        name=name,
        status="failed",
        detail=detail,
        advice=advice,
        error=TransportError(detail),
    )


def _signed_in(workspace: Workspace) -> Step:
    from .schema.unity_catalog import ask

    me = ask(workspace, "/api/2.0/preview/scim/v2/Me", timeout=_ASK_TIMEOUT)
    return Step(name="sign in", status="ok", detail=f"the workspace knows us as {me.get('displayName') or 'unnamed'}")


def _table_read(workspace: Workspace, table: str, found: list[TableSchema]) -> Step:
    schema = TableSchema.fetch(workspace, table, max_age=0.0)
    found.append(schema)
    required = sum(not column.nullable for column in schema.columns)
    return Step(
        name="table",
        status="ok",
        detail=f"{len(schema.columns)} {plural(len(schema.columns), 'column')}, {required} of them NOT NULL",
    )


def _grants(workspace: Workspace, table: str) -> Step:
    """Check that Unity Catalog shows the grants that the credentials need.

    The status is "warning" if Unity Catalog does not answer, or does not show one of these grants. Only opening a
    stream can then show whether a grant is missing. The check is skipped if the credentials have no client id.
    """
    catalog, schema, _ = table.split(".")
    client_id = workspace.credentials.client_id
    if client_id is None:
        return Step(name="grants", status="skipped", detail="the credentials do not name the principal to look up")
    try:
        missing = [
            f"USE CATALOG ON CATALOG {catalog}" * (not _holds(workspace, "catalog", catalog, "USE_CATALOG")),
            f"USE SCHEMA ON SCHEMA {catalog}.{schema}"
            * (not _holds(workspace, "schema", f"{catalog}.{schema}", "USE_SCHEMA")),
        ]
        own = _privileges(workspace, "table", table, only_own=True)
        missing += [f"{name} ON TABLE {table}" for name in ("SELECT", "MODIFY") if name not in own]
    except ZerobusIngestError as error:
        return Step(name="grants", status="warning", detail=f"Unity Catalog does not show our grants: {error}")
    missing = [grant for grant in missing if grant]
    if not missing:
        return Step(name="grants", status="ok", detail="USE CATALOG, USE SCHEMA, and SELECT and MODIFY on the table")
    return Step(
        name="grants",
        status="warning",
        detail=f"not seen: {', '.join(missing)} (ALL PRIVILEGES and inherited grants are not enough on the table)",
        advice="; ".join(f"GRANT {grant} TO `{client_id}`" for grant in missing),
    )


def _holds(workspace: Workspace, kind: str, name: str, privilege: str) -> bool:
    return bool({privilege, "ALL_PRIVILEGES"} & _privileges(workspace, kind, name, only_own=False))


def _privileges(workspace: Workspace, kind: str, name: str, *, only_own: bool) -> set[str]:
    from .schema.unity_catalog import ask

    answer = ask(
        workspace,
        f"/api/2.1/unity-catalog/effective-permissions/{kind}/{name}",
        timeout=_ASK_TIMEOUT,
        query={"principal": workspace.credentials.client_id or ""},
    )
    privileges: list[Mapping[str, Any]] = [
        privilege
        for assignment in answer.get("privilege_assignments") or ()
        for privilege in assignment.get("privileges") or ()
    ]
    return {str(each.get("privilege")) for each in privileges if not (only_own and each.get("inherited_from_name"))}


def _stream_opened(workspace: Workspace, schema: TableSchema, options: IngestOptions) -> Step:
    """Open a stream as a delivery would, and close it without sending anything."""
    from .encode import encoder_for
    from .streams.sdk import SdkSession
    from .streams.stream import Died, Event, Opened, Stream

    encoder = encoder_for(schema, options, is_arrow=False)
    events: SimpleQueue[Event] = SimpleQueue()
    stream = Stream(1, SdkSession(workspace, schema.table, encoder, options).open, events.put)
    try:
        event = events.get(timeout=options.open_timeout)
        if isinstance(event, Died):
            raise event.error
        assert isinstance(event, Opened)
        stream.close()
        closed = events.get(timeout=options.open_timeout)
        if isinstance(closed, Died):
            raise closed.error
    except Empty:
        raise IngestTimeoutError(f"no stream was opened and closed within {options.open_timeout:g} s") from None
    finally:
        stream.kill()
    return Step(
        name="stream", status="ok", detail=f"a {encoder.record_format} stream was opened and closed without a row"
    )
