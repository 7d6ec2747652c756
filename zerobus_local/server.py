"""Runs the service in this process: builds its parts, starts them in order, and stops them in reverse order."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from zerobus_core import ClientCredentials, Workspace

from . import page
from .catalog.catalog import Catalog, Result
from .catalog.data_folder import DataFolderLock
from .catalog.reading import dataset_at
from .catalog.tokens import Tokens
from .errors import InvalidRequest, LocalZerobusError
from .faults import Faults
from .grpc_door.server import GrpcServer, Tls
from .http.app import build_app
from .http.server import HttpServer, bind
from .observer import Observer
from .options import ServerOptions, is_loopback
from .service import Service
from .storage.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa

    from .model.objects import Table
    from .stream.statistics import Streams

__all__ = ["LocalZerobus"]


class LocalZerobus:
    """A running Zerobus service on a data folder, in threads of this process.

    ``with LocalZerobus.start(folder) as server:`` stops the service at the end of the block. A service that is later
    started on the same folder has the same tables, rows, principals and grants. Thread-safe.
    """

    def __init__(self, service: Service, data: Path, closing: ExitStack) -> None:
        self._service = service
        self._closing = closing
        self._is_stopped = False
        self.data = data

    @classmethod
    def start(cls, data_dir: str | Path, *, options: ServerOptions | None = None, **changes: Any) -> Self:
        """Start a service on the folder ``data_dir``, and return once it answers gRPC and HTTP requests.

        The folder is created if it does not exist. ``changes`` are fields of ServerOptions, such as ``host`` or
        ``grpc_port``; they replace the same fields of ``options``.

        Raises InvalidRequest for an invalid option, FolderInUseError if another server or command uses the folder, and
        OSError if a port is taken.
        """
        options = replace(options or ServerOptions(), **changes)
        data = Path(data_dir).resolve()
        closing = ExitStack()
        try:
            lock = DataFolderLock(data)
            closing.callback(lock.release)
            server = cls(_service(data, options, closing), data, closing)
            lock.announce(server.describe())
            closing.callback(lock.withdraw)
        except BaseException:
            closing.close()
            raise
        return server

    @property
    def endpoint(self) -> str:
        """The Zerobus endpoint (gRPC)."""
        return self._service.endpoint

    @property
    def tls_endpoint(self) -> str | None:
        """The Zerobus endpoint with TLS; None if the server has no certificate."""
        return self._service.tls_endpoint

    @property
    def workspace_url(self) -> str:
        """The workspace URL, for OAuth, Unity Catalog, SQL and the page."""
        return self._service.workspace_url

    @property
    def workspace(self) -> Workspace:
        """A Workspace for this service, with the credentials of the data folder's first service principal."""
        default = self._service.catalog.principals.default
        return self._workspace(default.client_id, default.client_secret)

    @property
    def faults(self) -> Faults:
        """The fault rules that are switched on, and the log of the faults that have happened."""
        return self._service.faults

    @property
    def streams(self) -> Streams:
        """The streams that are open or were closed recently."""
        return self._service.streams

    @property
    def catalog(self) -> Catalog:
        """The metadata of the data folder: the catalogs, schemas, tables and grants in it."""
        return self._service.catalog

    def sql(self, script: str) -> list[Result]:
        """Run a SQL script, and return one Result per statement.

        Raises LocalZerobusError if a statement fails.
        """
        return self._running().catalog.execute(script)

    def create_table(self, sql: str) -> Table:
        """Run one CREATE TABLE statement, and return the table.

        If the table exists already and the statement has IF NOT EXISTS, returns the existing table.
        """
        return self._running().catalog.create_table(sql)

    def read(self, table: str) -> pa.Table:
        """Read a Delta table, and return all of its rows, in no particular order."""
        return dataset_at(self._service.catalog.table(table).path).to_table()

    def create_principal(self, name: str) -> Workspace:
        """Create a service principal without grants.

        Returns a Workspace for this service with the credentials of the new principal.
        """
        made = self._running().catalog.principals.create(name)
        return self._workspace(made.client_id, made.client_secret)

    def expire_tokens(self) -> None:
        """Make the server reject every token that was issued before this call."""
        self._running().tokens.expire_all()

    def describe(self) -> dict[str, str]:
        """Return the data that a client needs: the URLs, the credentials (including the secret) and the data folder.

        ``zerobus-local serve`` prints this dict, as JSON, in its first line.
        """
        default = self._service.catalog.principals.default
        return {
            "endpoint": self.endpoint,
            "workspace_url": self.workspace_url,
            "client_id": default.client_id,
            "client_secret": default.client_secret,
            "data": str(self.data),
            **({"tls_endpoint": self.tls_endpoint} if self.tls_endpoint else {}),
        }

    def stop(self) -> None:
        """Commit the rows that were received, end the streams and close the ports; can be called twice.

        Afterwards ``read`` still works, but ``sql``, ``create_table``, ``create_principal`` and ``expire_tokens`` raise
        LocalZerobusError.
        """
        self._is_stopped = True
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<LocalZerobus {self.endpoint} {self.workspace_url} {self.data}>"

    def _running(self) -> Service:
        if self._is_stopped:
            # The folder is no longer locked: another server might use it by now.
            raise LocalZerobusError(f"the server on {self.data} is stopped: start a new server on this folder")
        return self._service

    def _workspace(self, client_id: str, client_secret: str) -> Workspace:
        return Workspace(
            endpoint=self.endpoint,
            workspace_url=self.workspace_url,
            credentials=ClientCredentials(client_id=client_id, client_secret=client_secret),
        )


def _service(data: Path, options: ServerOptions, closing: ExitStack) -> Service:
    catalog = Catalog(data)
    catalog.settle()
    tokens = Tokens(catalog, lifetime=options.token_lifetime)
    try:
        faults = Faults(options.faults)
    except ValueError as error:
        raise InvalidRequest(f"invalid startup fault: {error}") from error
    tls = _tls(options)
    listener = bind(options.host, options.http_port)
    closing.callback(listener.close)
    storage = Storage(catalog, commit_delay=options.commit_delay)
    closing.callback(storage.close)
    grpc = GrpcServer(
        catalog,
        tokens,
        storage,
        faults,
        host=options.bracketed_host,
        port=options.grpc_port,
        tls=tls,
        limits=options.limits,
    )
    grpc_port, tls_port = grpc.start()
    closing.callback(grpc.stop)
    service = Service(
        catalog=catalog,
        tokens=tokens,
        storage=storage,
        faults=faults,
        streams=grpc.streams,
        observer=Observer(),
        endpoint=f"http://{options.reachable_host}:{grpc_port}",
        workspace_url=f"http://{options.reachable_host}:{listener.getsockname()[1]}",
        tls_endpoint=f"https://{options.reachable_host}:{tls_port}" if tls_port else None,
    )
    names = ["127.0.0.1", "localhost", "[::1]", options.host] if is_loopback(options.host) else ["*"]
    http = HttpServer(build_app(service, hosts=names, pages=page.ROUTES), listener)
    closing.callback(http.stop)
    http.start()
    return service


def _tls(options: ServerOptions) -> Tls | None:
    if options.tls_certificate is None or options.tls_key is None:
        return None
    files = []
    for name, path in (("tls_certificate", options.tls_certificate), ("tls_key", options.tls_key)):
        try:
            files.append(Path(path).read_bytes())
        except OSError as error:
            raise InvalidRequest(f"{name} {path!r} cannot be read: {error}") from error
    try:
        # Checked here, because gRPC reports only that it cannot listen. Encrypted keys are not supported.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.tls_certificate, options.tls_key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise InvalidRequest(
            f"tls_certificate {options.tls_certificate!r} and tls_key {options.tls_key!r} cannot be used: they must "
            f"be a certificate and its key, both in PEM, and the key must have no password: {error}"
        ) from error
    return Tls(certificate=files[0], key=files[1], port=options.tls_port)
