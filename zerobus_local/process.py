"""Runs the service in a separate process, which can be killed and restarted with the same ports and data folder."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from zerobus_core import ClientCredentials, Workspace

from .catalog.catalog import Catalog
from .catalog.reading import dataset_at
from .errors import LocalZerobusError
from .options import ServerOptions
from .remote import RemoteFaults, RemoteServer
from .sql.script import created_table

if TYPE_CHECKING:
    import pyarrow as pa

    from .catalog.catalog import Result
    from .model.objects import Table

__all__ = ["LocalZerobusProcess"]


_ENDING = 30.0  # seconds to wait for the end of a child that has closed stdout, which happens shortly before it ends


class LocalZerobusProcess:
    """A child process that runs ``zerobus-local serve``.

    This class has most of the methods and properties of LocalZerobus. The child ends when this process ends, even if
    this process is killed. The child's log is ``server.log`` in the data folder.
    """

    def __init__(self, data: Path, options: ServerOptions, timeout: float) -> None:
        self.data = data
        self._options = options
        self._timeout = timeout
        self._process: subprocess.Popen[str] | None = None
        self._remote = self._launch()

    @classmethod
    def start(cls, data_dir: str | Path, *, timeout: float = 60.0, **options: Any) -> Self:
        """Start a server on the folder ``data_dir``, and return once the server answers requests.

        ``options`` are fields of ServerOptions. Raises LocalZerobusError if the server ends before it answers, or does
        not answer within ``timeout`` seconds; the message contains the last lines of the server's log.
        """
        data = Path(data_dir).resolve()
        data.mkdir(parents=True, exist_ok=True)
        return cls(data, ServerOptions(**options), timeout)

    @property
    def endpoint(self) -> str:
        """The Zerobus endpoint (gRPC). A restart does not change it."""
        return self._remote.endpoint

    @property
    def tls_endpoint(self) -> str | None:
        """The Zerobus endpoint with TLS; None if the server has no certificate."""
        return self._remote.tls_endpoint

    @property
    def workspace_url(self) -> str:
        """The workspace URL. A restart does not change it."""
        return self._remote.workspace_url

    @property
    def workspace(self) -> Workspace:
        """A Workspace for this service, with the credentials of the data folder's first service principal."""
        return self._workspace(self._remote.client_id, self._remote.client_secret)

    @property
    def faults(self) -> RemoteFaults:
        """The child's faults: the rules that are switched on, and the log of the faults that have happened."""
        return self._remote.faults

    @property
    def pid(self) -> int | None:
        """The child's process id; None if the child is not running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def sql(self, script: str) -> list[Result]:
        """Run a SQL script in the child, and return one Result per statement.

        Raises LocalZerobusError if a statement fails.
        """
        return self._remote.sql(script)

    def create_table(self, sql: str) -> Table:
        """Run one CREATE TABLE statement, and return the table.

        If the table exists already and the statement has IF NOT EXISTS, returns the existing table.
        """
        name = created_table(sql)
        self._remote.sql(sql)
        return Catalog(self.data).table(str(name))

    def read(self, table: str) -> pa.Table:
        """Return all rows of a table, read from the data folder. This works even if the child is not running."""
        return dataset_at(Catalog(self.data).table(table).path).to_table()

    def create_principal(self, name: str) -> Workspace:
        """Create a service principal without grants.

        Returns a Workspace for this service with the credentials of the new principal.
        """
        made = self._remote.create_principal(name)
        return self._workspace(made["client_id"], made["client_secret"])

    def expire_tokens(self) -> None:
        """Make the server reject every token that was issued before this call."""
        self._remote.expire_tokens()

    def kill(self) -> None:
        """Kill the child with ``kill -9``, and wait until it has ended."""
        if self._process is not None:
            self._process.kill()
        self._reap()

    def restart(self) -> None:
        """Start the server again with the same ports and data folder; if the child is running, kill it first."""
        self.kill()
        self._remote = self._launch()

    def stop(self, timeout: float = 20.0) -> None:
        """Stop the child with SIGTERM; can be called twice.

        A child that is still running after ``timeout`` seconds is killed with ``kill -9``.
        """
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._reap()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<LocalZerobusProcess {self.endpoint} {self.workspace_url} {self.data} pid={self.pid}>"

    def _launch(self) -> RemoteServer:
        log = self.data / "server.log"
        command = [sys.executable, "-m", "zerobus_local", "serve", *self._options.arguments(), "--data", str(self.data)]
        with log.open("a") as errors:
            begin = errors.tell()
            self._process = subprocess.Popen(  # noqa: S603  # our own module, with options that were checked
                [*command, "--stop-with-stdin"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        line = self._first_line()
        if not line:
            raise LocalZerobusError(self._why_not_started(log, begin, has_ended=line is not None))
        remote = RemoteServer(**json.loads(line))
        # A restart has to use the ports that the server has picked.
        ports = [urlsplit(url).port or 0 for url in (remote.endpoint, remote.workspace_url)]
        self._options = replace(self._options, grpc_port=ports[0], http_port=ports[1])
        if remote.tls_endpoint is not None:
            self._options = replace(self._options, tls_port=urlsplit(remote.tls_endpoint).port or 0)
        return remote

    def _why_not_started(self, log: Path, begin: int, *, has_ended: bool) -> str:
        """Kill the child, and return an error message.

        The message contains the reason for the failed start, followed by the last lines of the child's log.
        ``begin`` is the position in the log file where the lines of this child begin.
        """
        assert self._process is not None
        what = f"did not start within {self._timeout:g} s"
        if has_ended:
            with suppress(subprocess.TimeoutExpired):
                what = f"ended with code {self._process.wait(_ENDING)} instead of starting"
        self.kill()
        with log.open("rb") as file:
            file.seek(begin)
            said = file.read().decode(errors="replace").splitlines()[-20:]
        return "\n".join([f"zerobus-local serve on {self.data} {what}; the end of {log}:", *said])

    def _first_line(self) -> str | None:
        """Return the first line that the child prints.

        Returns "" if the child ended without printing a line, and None if it printed nothing within the timeout.
        """
        assert self._process is not None
        stdout = self._process.stdout
        assert stdout is not None
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.append(stdout.readline()), daemon=True)
        reader.start()
        reader.join(self._timeout)
        return lines[0] if lines else None

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None

    def _workspace(self, client_id: str, client_secret: str) -> Workspace:
        return Workspace(
            endpoint=self.endpoint,
            workspace_url=self.workspace_url,
            credentials=ClientCredentials(client_id=client_id, client_secret=client_secret),
        )
