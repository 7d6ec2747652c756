"""Fixtures of the core's tests.

``command_line``     runs ``zerobus-ingest`` as a child process against a local server
``started_command``  the same, without waiting for its end
``free_alarm``       lets SIGALRM be nobody's
``open_sqlite``      opens empty SQLite databases, which are closed at the end of the test
"""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from zerobus_core import ClientCredentials, Workspace

PROGRAM = Path(sys.executable).with_name("zerobus-ingest")

CommandLine = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(workspace: Workspace) -> dict[str, str]:
    """The variables by which a command finds a workspace."""
    assert isinstance(workspace.credentials, ClientCredentials)
    return {
        "ZEROBUS_SERVER_ENDPOINT": workspace.endpoint,
        "DATABRICKS_HOST": workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": workspace.credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": workspace.credentials.client_secret,
    }


@pytest.fixture(autouse=True)
def _unchanged_log_level() -> Iterator[None]:
    """A command sets the level of our logger for its process, which in some tests is this one."""
    logger = logging.getLogger("zerobus_core")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
def free_alarm() -> Iterator[None]:
    """A process whose alarm nobody uses; in the tests, pytest-timeout does."""
    handler, timer = signal.getsignal(signal.SIGALRM), signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, *timer)


@pytest.fixture
def open_sqlite() -> Iterator[Callable[[], sqlite3.Connection]]:
    with ExitStack() as opened:
        yield lambda: opened.enter_context(closing(sqlite3.connect(":memory:")))


@pytest.fixture
def command_line() -> CommandLine:
    """``command_line(workspace, *arguments, input=…, variables=…)``; the log of the SDK stays as a user has it."""

    def run(
        workspace: Workspace | None, *arguments: str, input: str = "", variables: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if name != "RUST_LOG"}
        known = environment(workspace) if workspace else {}
        return subprocess.run(
            [PROGRAM, *arguments],
            input=input,
            env=inherited | known | (variables or {}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def started_command() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """``started_command(workspace, *arguments)``: the same, running, with pipes; killed at the end of the test."""
    with ExitStack() as running:

        def start(workspace: Workspace, *arguments: str, **pipes: int) -> subprocess.Popen[bytes]:
            wanted = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | pipes
            process = subprocess.Popen([PROGRAM, *arguments], env=os.environ | environment(workspace), **wanted)
            running.enter_context(process)
            running.callback(process.kill)
            return process

        yield start
