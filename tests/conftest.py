"""Fixtures that every room uses. Those for PostgreSQL, Redis, MariaDB and Chromium are in services/fixtures.py.

``zerobus``     a LocalZerobus for the whole session, in this process: for tests that bring a table name of their own
``server``      a LocalZerobus for one test, on an empty data folder: for faults, grants or a clean slate
``table_name``  a full table name that no other test uses, so that tests can share ``zerobus``
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from zerobus_local import LocalZerobus

pytest_plugins = ["pytester", "tests.fast", "tests.selection", "tests.services.fixtures"]

# The SDK's own log goes to stdout, in colour, at the level found when it is imported.
os.environ.setdefault("RUST_LOG", "off")

# A shell's background job is deaf to SIGINT, and so would be every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A gate must not turn red by the luck of the draw; at a desk Hypothesis goes on looking. No example has a deadline: a
# busy machine would miss it, and pytest-timeout ends a test that hangs.
settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
# Who only wants to know whether a test fails has no use for the smallest example.
settings.register_profile("unshrunk", deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
settings.load_profile("ci" if os.environ.get("CI") else "desk")

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def zerobus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalZerobus]:
    with LocalZerobus.start(tmp_path_factory.mktemp("zerobus")) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalZerobus]:
    with LocalZerobus.start(tmp_path / "zerobus", commit_delay=0.005) as server:
        yield server


@pytest.fixture
def table_name() -> str:
    return f"main.default.t{next(_numbers)}"
