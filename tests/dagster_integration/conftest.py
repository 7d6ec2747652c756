"""A local Zerobus service, a table of its own for each test, and Dagster instances that leave nothing behind."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import dagster as dg
import pytest

from zerobus_core import Workspace
from zerobus_core.workspace import ClientCredentials
from zerobus_dagster import ZerobusCredentials, ZerobusResource
from zerobus_local import LocalZerobus

_names = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalZerobus]:
    """The service, shared by the tests of this folder; faults are switched on for one table only."""
    with LocalZerobus.start(tmp_path_factory.mktemp("zerobus")) as server:
        yield server


@pytest.fixture
def table(server: LocalZerobus) -> str:
    """An empty table of flights."""
    name = f"main.default.flights_{next(_names)}"
    server.create_table(f"CREATE TABLE {name} (id BIGINT NOT NULL, carrier STRING COMMENT 'IATA code', delay DOUBLE)")
    return name


@pytest.fixture
def zerobus(server: LocalZerobus) -> ZerobusResource:
    """A resource that pushes to the service and gives up soon."""
    return resource_of(server.workspace)


@pytest.fixture
def zerobus_with(server: LocalZerobus) -> Callable[..., ZerobusResource]:
    """Builds a resource like ``zerobus`` with some fields changed."""
    return partial(resource_of, server.workspace)


def resource_of(workspace: Workspace, **changes: object) -> ZerobusResource:
    """A resource of a workspace with a service principal."""
    credentials = workspace.credentials
    assert isinstance(credentials, ClientCredentials)
    secret = changes.pop("client_secret", credentials.client_secret)
    facts: dict[str, object] = {
        "endpoint": workspace.endpoint,
        "workspace_url": workspace.workspace_url,
        "credentials": ZerobusCredentials(client_id=credentials.client_id, client_secret=secret),
        "options": {"max_attempts": 2, "backoff": 0.05, "open_timeout": 10.0, "ack_timeout": 10.0},
        **changes,
    }
    return ZerobusResource(**facts)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance that keeps its runs and events in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def sqlite_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that keeps its runs and events in SQLite files."""
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield instance
