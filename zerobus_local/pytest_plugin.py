"""Fixtures for tests of your own DAGs, assets and scripts; pytest finds the fixtures if this package is installed.

* ``zerobus_local``: a server for one test, on an empty data folder.
* ``zerobus_local_session``: a server for the whole test run; each test must use its own table names.
* ``zerobus_local_env``: the server ``zerobus_local``. During the test, environment variables are set so that
  ``Workspace.from_env`` connects to this server.

Each fixture is a LocalZerobus. The server's modules are imported when a test uses one of the fixtures, not before.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .server import LocalZerobus

__all__ = ["zerobus_local", "zerobus_local_env", "zerobus_local_session"]

# A test usually waits for each commit and sends nothing in that time, so a longer delay would only cost time.
_COMMIT_DELAY = 0.005


@pytest.fixture
def zerobus_local(tmp_path: Path) -> Iterator[LocalZerobus]:
    """A local Zerobus service for one test, on an empty data folder."""
    from . import LocalZerobus

    with LocalZerobus.start(tmp_path / "zerobus-data", commit_delay=_COMMIT_DELAY) as server:
        yield server


@pytest.fixture(scope="session")
def zerobus_local_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalZerobus]:
    """A local Zerobus service for the whole test run; each test must use its own table names."""
    from . import LocalZerobus

    with LocalZerobus.start(tmp_path_factory.mktemp("zerobus-data"), commit_delay=_COMMIT_DELAY) as server:
        yield server


@pytest.fixture
def zerobus_local_env(zerobus_local: LocalZerobus, monkeypatch: pytest.MonkeyPatch) -> LocalZerobus:
    """The server ``zerobus_local``; environment variables are set so that ``Workspace.from_env`` connects to it."""
    described = zerobus_local.describe()
    for variable, key in {
        "ZEROBUS_SERVER_ENDPOINT": "endpoint",
        "DATABRICKS_HOST": "workspace_url",
        "DATABRICKS_CLIENT_ID": "client_id",
        "DATABRICKS_CLIENT_SECRET": "client_secret",
    }.items():
        monkeypatch.setenv(variable, described[key])
    return zerobus_local
