"""What a run leaves out, said at its end; and ``--no-skips``, with which a test that is skipped fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

_services_left_out = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test or module is a failure")


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
    return report


def _fail_if_skipped(config: pytest.Config, report: Any) -> None:
    # An expected failure has the outcome "skipped", too.
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
