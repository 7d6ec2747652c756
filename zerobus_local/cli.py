"""The command line ``zerobus-local``.

``env`` and ``faults`` need a running server. ``create-table``, ``sql`` and ``create-principal`` work on the
data folder: through the folder's server if one is running or starting, and directly otherwise. ``tables`` and ``head``
read the folder. A command that fails shows one clear line and exits with code 1 (2 for wrong use of the command line).
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from .errors import LocalZerobusError
from .options import ServerOptions
from .wording import counted

if TYPE_CHECKING:
    from .catalog.catalog import Catalog
    from .remote import RemoteServer

__all__ = ["main"]

_Command = Callable[..., None]
_T = TypeVar("_T")


def _data_option(command: _Command) -> _Command:
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("zerobus-data"),
        show_default=True,
        envvar="ZEROBUS_LOCAL_DATA",
        help="The data folder: catalog, principals and Delta tables.",
    )(command)


def _plain_errors(command: _Command) -> _Command:
    """Wrap a command. Errors that the user can correct are then shown in one line, without a traceback."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()  # nothing catches a broken pipe later, when the process ends
        except BrokenPipeError:
            _leave_quietly()
        except ModuleNotFoundError as error:
            needed = "pip install 'zerobus-orchestration[local]'"
            raise click.ClickException(f"zerobus-local needs {error.name}, which is not installed: {needed}") from error
        except OSError as error:
            raise click.ClickException(error.strerror or str(error)) from error
        except LocalZerobusError as error:
            raise click.ClickException(str(error)) from error

    return run


def _leave_quietly() -> NoReturn:
    """Exit without an error message, because the program that reads the output has closed the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="zerobus-orchestration")
def main() -> None:
    """The Zerobus service on a laptop: the real protocol, real Delta tables."""


@main.command()
@_data_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--grpc-port", default=0, help="Port of the Zerobus endpoint; 0 picks one.")
@click.option("--http-port", default=0, help="Port of the workspace URL and the page; 0 picks one.")
@click.option("--tls-certificate", metavar="FILE", help="Certificate (PEM) for one more gRPC port; needs --tls-key.")
@click.option("--tls-key", metavar="FILE", help="The certificate's private key (PEM).")
@click.option("--tls-port", default=0, help="Port of the Zerobus endpoint with TLS; 0 picks one.")
@click.option(
    "--allow-remote", is_flag=True, help="Allow a --host that other machines can reach (nothing is encrypted)."
)
@click.option("--commit-delay", default=0.05, show_default=True, help="Seconds that a commit waits for more rows.")
@click.option("--token-lifetime", default=3600.0, show_default=True, help="Seconds.")
@click.option("--rows-per-second", type=float, help="Limit of each stream; Databricks documents 100000.")
@click.option("--bytes-per-second", type=float, help="Limit of each stream; Databricks documents 100 MB.")
@click.option("--ack-delay", default=0.0, help="Seconds added between a commit and its acknowledgement.")
@click.option("--open-delay", default=0.0, help="Seconds added before a stream is open.")
@click.option("--max-stream-life", default=900.0, show_default=True, help="Seconds until a stream ends; 0: no limit.")
@click.option("--fault", "faults", multiple=True, metavar="JSON", help='A fault to switch on at start: {"action": …}.')
@click.option("--stop-with-stdin", is_flag=True, hidden=True, help="End when stdin closes (the parent process ends).")
@_plain_errors
def serve(data: Path, faults: tuple[str, ...], stop_with_stdin: bool, **options: Any) -> None:
    """Serve until SIGTERM or Ctrl-C.

    The first line on stdout is a JSON object with endpoint, workspace_url, client_id, client_secret and data. With TLS,
    it also has tls_endpoint.
    """
    from .server import LocalZerobus  # slow to import, and only this command needs it

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    options["max_stream_life"] = options["max_stream_life"] or None
    checked = ServerOptions(faults=tuple(_fault(text) for text in faults), **options)
    # A queue, not an Event: a signal handler can use a queue even if it interrupts the handler of another signal.
    ends: SimpleQueue[None] = SimpleQueue()
    with LocalZerobus.start(data, options=checked) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ends.put(None))
        if stop_with_stdin:
            threading.Thread(target=_put_at_end_of_stdin, args=(ends,), daemon=True).start()
        click.echo(json.dumps(server.describe()))
        click.echo(f"zerobus-local: tables and streams at {server.workspace_url}/ (Ctrl-C ends)", err=True)
        # Wait at most 0.5 s at a time: on some platforms, a signal is handled only when the wait ends.
        while True:
            with suppress(Empty):
                ends.get(timeout=0.5)
                break


@main.command("create-table")
@_data_option
@click.argument("sql")
@_plain_errors
def create_table(data: Path, sql: str) -> None:
    """Create a table from Databricks SQL: CREATE TABLE main.default.t (…)."""
    from .sql.script import created_table

    created_table(sql)
    _run_sql(data, sql)


@main.command("sql")
@_data_option
@click.argument("script")
@_plain_errors
def run_sql(data: Path, script: str) -> None:
    """Run Databricks SQL on the local tables; if SCRIPT is "-", the SQL is read from stdin.

    The supported statements are SELECT, SHOW TABLES, DESCRIBE, INSERT INTO, DELETE FROM, CREATE, ALTER, DROP, COMMENT,
    GRANT and REVOKE.
    """
    _run_sql(data, sys.stdin.read() if script == "-" else script)


@main.command("create-principal")
@_data_option
@click.argument("name")
@_plain_errors
def create_principal(data: Path, name: str) -> None:
    """Create a service principal without grants, and print its credentials as JSON."""

    def directly(catalog: Catalog) -> dict[str, str]:
        made = catalog.principals.create(name)
        return {"client_id": made.client_id, "client_secret": made.client_secret, "name": made.name}

    click.echo(json.dumps(_asked(data, lambda server: server.create_principal(name), directly)))


@main.command("env")
@_data_option
@click.option("--wait", default=10.0, show_default=True, type=click.FloatRange(0), help="Seconds to wait for a server.")
@_plain_errors
def print_environment(data: Path, wait: float) -> None:
    """Print the environment variables that connect clients to the running server. One of them is the secret.

    eval "$(zerobus-local env)" sets them. Airflow, Dagster, Workspace.from_env and the Zerobus SDK's examples use them.
    """
    deadline = time.monotonic() + wait
    while _server(data) is None and time.monotonic() < deadline:
        time.sleep(0.2)
    server = _running(data)
    connection = {
        "conn_type": "zerobus",
        "host": server.workspace_url,
        "login": server.client_id,
        "password": server.client_secret,
        "extra": {"endpoint": server.endpoint},
    }
    variables = {
        "ZEROBUS_SERVER_ENDPOINT": server.endpoint,
        "DATABRICKS_HOST": server.workspace_url,
        "DATABRICKS_CLIENT_ID": server.client_id,
        "DATABRICKS_CLIENT_SECRET": server.client_secret,
        "AIRFLOW_CONN_ZEROBUS_DEFAULT": json.dumps(connection),
    }
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")


@main.command()
@_data_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@_plain_errors
def tables(data: Path, as_json: bool) -> None:
    """List the tables: name, number of rows, columns, and folder of the Delta table."""
    from .catalog.reading import dataset_at

    for table in _catalog(data).tables():
        rows = dataset_at(table.path).count_rows()
        columns = {column.name: column.type_text + ("" if column.nullable else " not null") for column in table.columns}
        if as_json:
            click.echo(
                json.dumps({"table": table.full_name, "rows": rows, "columns": columns, "path": str(table.path)})
            )
            continue
        click.echo(f"{table.full_name}  {counted(rows, 'row')}  {table.path}")
        click.echo(f"  {', '.join(f'{name} {type_}' for name, type_ in columns.items())}")


@main.command()
@_data_option
@click.option("-n", "--rows", default=10, show_default=True, type=click.IntRange(0))
@click.argument("table")
@_plain_errors
def head(data: Path, table: str, rows: int) -> None:
    """Print the first rows of a table as JSON Lines."""
    from .catalog.reading import dataset_at
    from .catalog.rows import first_rows, plain_rows

    found = first_rows(dataset_at(_catalog(data).table(table).path), rows)
    for row in plain_rows(found):
        click.echo(json.dumps(row, default=str, ensure_ascii=False))


@main.group()
def faults() -> None:
    """Switch faults of a running server on and off."""


@faults.command("list")
@_data_option
@_plain_errors
def list_faults(data: Path) -> None:
    """List the active faults by number, and the faults that have happened so far."""
    server = _running(data)
    for number, rule in server.faults.list().items():
        click.echo(f"{number}  {json.dumps(rule)}")
    for injection in server.faults.log():
        click.echo(f"happened: {json.dumps(injection)}")


@faults.command("add")
@_data_option
@click.argument("rule")
@_plain_errors
def add_fault(data: Path, rule: str) -> None:
    """Switch on a fault, for example '{"action": "cut", "at": "after_commit", "message": 3}', and print its number."""
    checked = _fault(rule)
    click.echo(_running(data).faults.add(checked))


@faults.command("clear")
@_data_option
@click.argument("number", required=False, type=int)
@_plain_errors
def clear_faults(data: Path, number: int | None) -> None:
    """Switch off the fault with this NUMBER, or all faults if no NUMBER is given."""
    switches = _running(data).faults
    if number is None:
        switches.clear()
    else:
        switches.remove(number)


def _put_at_end_of_stdin(ends: SimpleQueue[None]) -> None:
    sys.stdin.read()
    ends.put(None)


def _fault(text: str) -> dict[str, Any]:
    try:
        rule = json.loads(text)
    except ValueError as error:
        raise click.ClickException(f"the fault {text!r} is not valid JSON: {error}") from error
    if not isinstance(rule, dict):
        raise click.ClickException(f"the fault {text!r} is not a JSON object")
    return rule


def _run_sql(data: Path, script: str) -> None:
    from .catalog.rows import plain_rows

    results = _asked(data, lambda server: server.sql(script), lambda catalog: catalog.execute(script))
    lines = [line for result in results for line in (result.message, *result.notes)]
    rows = plain_rows(results[-1].rows) if results[-1].rows is not None else []
    for row in rows:
        click.echo(json.dumps(row, default=str, ensure_ascii=False))
    for line in lines:
        click.echo(line, err=bool(rows))


def _server(data: Path) -> RemoteServer | None:
    """Return the server that runs on the data folder, or None if no server runs there."""
    from .catalog.data_folder import running_server
    from .remote import RemoteServer

    announced = running_server(data)
    return None if announced is None else RemoteServer(**announced)


def _running(data: Path) -> RemoteServer:
    server = _server(data)
    if server is None:
        raise LocalZerobusError(f"no server is running on {data}: start one with zerobus-local serve --data {data}")
    return server


def _catalog(data: Path) -> Catalog:
    from .catalog.catalog import Catalog

    if not (data / "catalog.json").exists():
        raise LocalZerobusError(f"{data} is not a data folder of zerobus-local: set --data to the folder of the server")
    return Catalog(data)


def _asked(data: Path, through: Callable[[RemoteServer], _T], directly: Callable[[Catalog], _T]) -> _T:
    """Return ``through(server)`` if a server runs on the folder ``data``, and ``directly(catalog)`` otherwise.

    ``catalog`` is the folder's catalog; the folder is locked while ``directly`` runs. If a server is starting on the
    folder, this function waits for it, and then calls ``through``.
    """
    from .catalog.catalog import Catalog
    from .catalog.data_folder import DataFolderLock, FolderInUseError

    server = _server(data)
    if server is None:
        try:
            with DataFolderLock(data):
                catalog = Catalog(data)
                catalog.settle()
                return directly(catalog)
        except FolderInUseError:
            server = _server(data)
            if server is None:
                raise
    return through(server)
