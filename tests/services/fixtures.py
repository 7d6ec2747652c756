"""Fixtures for tests against programs from Debian packages. Each starts its program once in a process of the tests.

``postgres``  a PostgreSQL server: ``.dsn``, ``.url(database, driver)``, ``.new_database()``, ``.port``, ``.user``, …
``mariadb``   a MariaDB server: ``.url(database)``, ``.connect(database)``, ``.new_database()``, ``.port``, …
``redis``     a Redis server: ``.url(number)``, ``.port``
``chromium``  a headless browser: ``.dom(url)``, ``.screenshot(url)``, ``with .driver() as driver`` (Selenium)

A test that uses one of them gets the marker ``service`` by itself: ``make test`` leaves it out, ``make services``
installs the packages and runs it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.browser import Chromium
from tests.services.databases import (
    MariaDb,
    Postgres,
    Redis,
    running_mariadb,
    running_postgres,
    running_redis,
)

SERVICE_FIXTURES = frozenset({"postgres", "mariadb", "redis", "chromium"})


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    with running_mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    with running_redis() as server:
        yield server


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Chromium:
    return Chromium(tmp_path_factory.mktemp("chromium"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # A test of the matrix belongs to a cell, whose environment is another one than that of ``make services``.
        if SERVICE_FIXTURES.intersection(getattr(item, "fixturenames", ())) and not item.get_closest_marker("matrix"):
            item.add_marker("service")
