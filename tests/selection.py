"""Which tests run, in which order and process.

A run says at its end what it left out. With ``--no-skips`` a test that is skipped fails. With parallel processes the
longest tests start first, and the tests of a module that shares an expensive fixture run in one process. Each process
collects all tests, but begins with other folders: it compiles the modules of those, and reads what the others compiled.
"""

from __future__ import annotations

import gc
import os
import random
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

# Session fixtures that take many seconds to make: each is made in one process only (--dist loadgroup).
EXPENSIVE = frozenset({"airflow"})
_PARAMETERS = re.compile(r"^ *(?:async )?def \w+\(([^)]*)\)", re.MULTILINE)

_services_left_out = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test or module is a failure")
    parser.addoption("--matrix", action="store_true", help="look only into modules that have the marker matrix")


def pytest_configure(config: pytest.Config) -> None:
    """Parallel processes order sets alike, or else they may not collect the same tests in the same order."""
    if hasattr(config, "workerinput"):
        # The processes that tests start have seeds of their own, as a user's have.
        os.environ.pop("PYTHONHASHSEED", None)
    elif config.getoption("numprocesses", None):
        os.environ.setdefault("PYTHONHASHSEED", str(random.randrange(2**32)))


def pytest_report_header() -> str | None:
    seed = os.environ.get("PYTHONHASHSEED")
    return seed and f"PYTHONHASHSEED={seed}"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The other modules may import what an old environment does not have, and take their time."""
    if not config.getoption("matrix") or not collection_path.match("test_*.py"):
        return None
    return True if "mark.matrix" not in collection_path.read_text() else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not hasattr(config, "workerinput"):
        return
    # What starts last is what everybody waits for. All processes must have one order, wherever they began.
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, item.path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Run the modules of a group in one process, one after the other, and each other test in whichever is free.

    The marker ``xdist_group`` would need the test's node id to change, which xdist 3.8 cannot do in pytest 9.2.
    """
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(config.rootpath / nodeid.partition("::")[0]) or nodeid

        def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
            super().mark_test_complete(node, item_index, duration)
            # xdist keeps what is over, and counts all of it again at each of the six events of a test.
            assigned = self.assigned_work[node]
            scope = self._split_scope(self.registered_collections[node][item_index])
            if all(assigned[scope].values()):
                del assigned[scope]

    return GroupScheduling(config, log)


@cache
def group_of(module: Path) -> str | None:
    """What the tests of a module have in common that is made once: a session fixture, or a fixture of the module."""
    source = module.read_text()
    parameters = set(re.findall(r"\w+", " ".join(_PARAMETERS.findall(source))))
    if shared := EXPENSIVE & parameters:
        return "-".join(sorted(shared))
    return str(module) if 'fixture(scope="module"' in source else None


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("service"):
            item.config.stash[_services_left_out] = item.config.stash.get(_services_left_out, 0) + 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    _fail_if_skipped(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    _fail_if_skipped(collector.config, report)
    if isinstance(collector, pytest.Directory) and report.passed:
        report.result = _begun_elsewhere(report.result, collector.config)
    return report


def _begun_elsewhere(nodes: list[pytest.Item | pytest.Collector], config: pytest.Config) -> list[Any]:
    """What a folder holds, in an order that no other of the parallel processes begins with."""
    worker = getattr(config, "workerinput", None)
    if worker is None:
        return nodes
    first = len(nodes) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
    return [*nodes[first:], *nodes[:first]]


def pytest_collection_finish() -> None:
    """Take what was imported out of the garbage collector's work: it stays, and a collection would walk through it."""
    gc.freeze()


def _fail_if_skipped(config: pytest.Config, report: Any) -> None:
    # An expected failure also has the outcome "skipped".
    if config.getoption("no_skips") and report.skipped and not hasattr(report, "wasxfail"):
        _, _, reason = report.longrepr
        report.outcome, report.longrepr = "failed", f"--no-skips: {reason}"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of xdist hands its number to the process that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["services_left_out"] = session.config.stash.get(_services_left_out, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # Every process collects the same tests.
    node.config.stash[_services_left_out] = getattr(node, "workeroutput", {}).get("services_left_out", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if number := config.stash.get(_services_left_out, 0):
        terminalreporter.write_line(
            f"{number} tests that need a service were left out: make services installs the services and runs them",
            yellow=True,
        )
