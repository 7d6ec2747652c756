"""Shared by all commands: the workspace, the logs, and the exit code for each error.

Exit codes (the BSD sysexits codes are used where one of them fits):

====  ==========================================================================================================
0     success; after ``push``, every row is durable or in the dead-letter file
1     an unexpected error; ``--debug`` shows its traceback
2     usage: an invalid flag, environment variable, file or option
65    the data: a row or a table that does not fit (SchemaError, RecordError, RejectedRecordError)
69    superseded: a newer attempt with the same checkpoint has replaced this one (DeliverySupersededError)
75    try again: throttled, connection lost, deadline passed (the retryable error classes)
77    access: credentials, grants, or no such table
130   stopped by Ctrl-C (SIGINT)
141   the reader of the output closed it (as after SIGPIPE)
143   stopped by SIGTERM
====  ==========================================================================================================
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

import click

from ..errors import (
    AuthenticationError,
    ConfigurationError,
    DeliverySupersededError,
    PermissionDeniedError,
    RecordError,
    RejectedRecordError,
    SchemaError,
    TableNotFoundError,
    ZerobusIngestError,
)
from ..storage.uris import without_secrets
from ..workspace import Workspace
from .format_options import remedies_as_flags
from .interruption import StoppedBySignal

__all__ = [
    "connection_options",
    "environment_of",
    "exit_at_once",
    "exit_code",
    "framed",
    "needed_table_of",
    "table_of",
    "table_option",
    "workspace_of",
]

_SIGPIPE = 13

UNFORESEEN = 1
USAGE = 2
DATA = 65
SUPERSEDED = 69
TRY_AGAIN = 75
ACCESS = 77

_CODES: dict[type[ZerobusIngestError], int] = {
    ConfigurationError: USAGE,
    SchemaError: DATA,
    RecordError: DATA,
    RejectedRecordError: DATA,
    AuthenticationError: ACCESS,
    PermissionDeniedError: ACCESS,
    TableNotFoundError: ACCESS,
    DeliverySupersededError: SUPERSEDED,
}

# Each of these flags overrides a variable. The secret has no flag, because other users of the machine can see flags.
_VARIABLES = {
    "endpoint": "ZEROBUS_SERVER_ENDPOINT",
    "workspace_url": "DATABRICKS_HOST",
    "client_id": "DATABRICKS_CLIENT_ID",
}

_Command = Callable[..., None]


def exit_code(error: ZerobusIngestError) -> int:
    """Return the exit code for ``error``."""
    if error.retryable:
        return TRY_AGAIN
    return next((code for cls, code in _CODES.items() if isinstance(error, cls)), UNFORESEEN)


def connection_options(command: _Command) -> _Command:
    """Add the flags that describe the workspace; ``workspace_of`` reads the values of these flags."""
    for name, variable in reversed(_VARIABLES.items()):
        flag = "--" + name.replace("_", "-")
        command = click.option(flag, metavar="TEXT", help=f"Instead of {variable} in the environment.")(command)
    return command


def table_option(command: _Command) -> _Command:
    """Add ``-t``/``--table`` as another way to pass the argument TABLE; ``table_of`` reads both."""
    command = click.option("-t", "--table", "named_table", metavar="NAME", help="catalog.schema.table")(command)
    return click.argument("table", required=False)(command)


def table_of(given: dict[str, Any]) -> str | None:
    """Return the table that was passed as TABLE or with ``-t``, and remove these two arguments from ``given``.

    Returns None if neither was passed. Raises a usage error if both were passed and differ.
    """
    table, named = given.pop("table"), given.pop("named_table")
    if table is not None and named is not None and table != named:
        raise click.UsageError(f"two tables were passed, {table} and {named}: pass only one")
    return named if table is None else str(table)


def needed_table_of(given: dict[str, Any]) -> str:
    """Return the table as ``table_of`` does; raise a usage error if there is none."""
    table = table_of(given)
    if table is None:
        raise click.UsageError("pass the name of a table, as TABLE or with -t: catalog.schema.table")
    return table


def environment_of(given: dict[str, Any]) -> dict[str, str]:
    """Return the environment variables, overridden by the connection flags; remove these flags from ``given``."""
    flags = {variable: given.pop(name) for name, variable in _VARIABLES.items()}
    return dict(os.environ) | {variable: value for variable, value in flags.items() if value is not None}


def workspace_of(given: dict[str, Any]) -> Workspace:
    """Return the workspace that the flags of ``connection_options`` describe, and remove these flags from ``given``."""
    return Workspace.from_env(environment_of(given))


def framed(command: _Command) -> _Command:
    """Add ``--verbose`` and ``--debug``, send logs to stderr, and show an error as one line.

    With ``--debug``, the traceback of the error is also shown.
    """

    @click.option("-v", "--verbose", is_flag=True, help="Write more log messages to stderr.")
    @click.option("--debug", is_flag=True, help="Write all log messages to stderr, and show the traceback of an error.")
    @wraps(command)
    def run(*args: Any, verbose: bool, debug: bool, **kwargs: Any) -> None:
        _send_logs_to_stderr(logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING)
        try:
            command(*args, **kwargs)
            _flush()  # a broken pipe is handled here; if it were noticed when the process ends, it would be an error
        except ZerobusIngestError as error:
            _end(remedies_as_flags(str(error)), exit_code(error), debug=debug)
        except StoppedBySignal as stopped:
            _say(str(stopped), debug=debug)
            exit_at_once(stopped.exit_code)
        except KeyboardInterrupt:
            _end("stopped by SIGINT", 128 + signal.SIGINT, debug=debug)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except BrokenPipeError:
            sys.exit(128 + _SIGPIPE)  # the reader of the output has gone, as head does; nothing is wrong
        except Exception as error:  # noqa: BLE001 - the edge of the program: a user gets a line, not a traceback
            text = f"{type(error).__name__}: {error} (an unexpected error; --debug shows its traceback)"
            _end("; ".join([text, *getattr(error, "__notes__", ())]), UNFORESEEN, debug=debug)

    return run


def _flush() -> None:
    if sys.stdout is not None:  # it is None if it was closed
        sys.stdout.flush()


def _end(text: str, code: int, *, debug: bool) -> None:
    _say(text, debug=debug)
    sys.exit(code)


def _say(text: str, *, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    click.echo(f"zerobus-ingest: {without_secrets(text)}", err=True)


def exit_at_once(code: int) -> None:
    """Run the functions registered with ``atexit``, flush the output, and end the process without further clean-up.

    The interpreter's clean-up can take longer than a second, but a signal must take effect within a second. If a native
    thread calls into Python during the clean-up, the process is even aborted.
    """
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage] - registered functions still run
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # its reader is gone, it is closed, or it is None
            stream.flush()
    os._exit(code)


def _send_logs_to_stderr(level: int) -> None:
    handler = logging.StreamHandler()  # stderr
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("zerobus_core").setLevel(level)
