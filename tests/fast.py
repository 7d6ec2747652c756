"""``--fast``: only tests that start no server, no host and no process.

Which those are is read off the source. A test is left out if its function, a fixture that it uses, or a function that
one of them calls mentions a name of ``HEAVY``. What the reading misses does not pass: while a fast test runs, starting
a process and binding a port raise an error. Properties draw fewer examples.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HEAVY = frozenset(
    {
        "Door",
        "GrpcServer",
        "HTTPServer",
        "LocalZerobus",
        "LocalZerobusProcess",
        "Popen",
        "ProcessPoolExecutor",
        "Process",
        "ThreadingHTTPServer",
        "fork",
        "machine",  # of a benchmark, which asks git for the version
        "multiprocessing",
        "posix_spawn",
        "socket",
        "subprocess",
        "uvicorn",
    }
)
# Folders whose tests run inside of Airflow, Dagster or a browser, which take seconds to import.
HOSTS = frozenset({"airflow_hosts", "airflow_provider", "dagster_hosts", "dagster_integration", "services"})
TESTS = Path(__file__).parent

_running = False
_is_fast = False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only tests that start no server, no host and no process")


def examples(number: int) -> int:
    """How many examples a property draws: all, or a quarter in a fast run; read when a module is imported."""
    return max(number // 4, 5) if _is_fast else number


def every(step: int) -> int:
    """How far a loop over all of something goes on: ``step``, or four times as far in a fast run."""
    return 4 * step if _is_fast else step


def pytest_configure(config: pytest.Config) -> None:
    global _is_fast  # noqa: PLW0603 # test modules are imported later, and cannot be given the configuration
    if config.getoption("fast"):
        _is_fast = True
        os.environ.setdefault("ANY_VALUE_EXAMPLES", "40")
        sys.addaudithook(_refuse_processes_and_servers)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    ignored = config.getoption("fast") and collection_path.parent == TESTS and collection_path.name in HOSTS
    return True if ignored else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("fast"):
        return
    heavy = [item for item in items if _is_heavy(item)]
    if heavy:
        left_out = set(heavy)
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=heavy)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    global _running  # noqa: PLW0603 # an audit hook is of the whole process, and cannot be removed
    _running = True
    try:
        return (yield)
    finally:
        _running = False


_is_fast = False


def _refuse_processes_and_servers(event: str, arguments: tuple[Any, ...]) -> None:
    if not _running:
        return
    if event in {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}:
        raise RuntimeError(
            f"a fast test does {event} {arguments!r}: add the name that starts it to HEAVY in {__file__}"
        )
    if event == "socket.bind" and isinstance(arguments[1], tuple):
        raise RuntimeError(f"a fast test binds {arguments[1]}: add the name of the server to HEAVY in {__file__}")


def _is_heavy(item: pytest.Item) -> bool:
    if item.get_closest_marker("service") or item.get_closest_marker("slow"):
        return True
    definitions = [getattr(item, "function", None)]
    for fixtures in item._fixtureinfo.name2fixturedefs.values():  # type: ignore[attr-defined]
        definitions += [fixture.func for fixture in fixtures]
    return any(_mentions_heavy(definition) for definition in definitions if definition is not None)


def _mentions_heavy(function: Any) -> bool:
    if hasattr(function, "hypothesis"):
        function = function.hypothesis.inner_test
    code = getattr(function, "__code__", None)
    if code is None or not Path(code.co_filename).is_relative_to(TESTS):
        return False
    return bool(_names_within_reach(Path(code.co_filename), function.__qualname__.partition(".<locals>")[0]) & HEAVY)


@cache
def _names_within_reach(file: Path, qualname: str) -> frozenset[str]:
    """Every name that a definition of a module mentions, and those that the definitions mention that it mentions."""
    module = _mentions(file)
    names: set[str] = set()
    waiting = [qualname.partition(".")[0]]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            waiting += module.get(name, frozenset())
    return frozenset(names)


@cache
def _mentions(file: Path) -> dict[str, frozenset[str]]:
    """What each definition at the top level of a test module mentions, with those that it imports from other ones."""
    found: dict[str, frozenset[str]] = {}
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = _names(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    found[target.id] = _names(node)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tests":
            for alias in node.names:
                found[alias.asname or alias.name] = _imported(node.module or "", alias.name)
    return found


def _imported(module: str, name: str) -> frozenset[str]:
    """What an imported definition mentions; of a module, what all its definitions mention."""
    file = TESTS.parent.joinpath(*module.split(".")).with_suffix(".py")
    if file.exists():
        return _names_within_reach(file, name)
    file = TESTS.parent.joinpath(*module.split("."), f"{name}.py")
    return frozenset().union(*_mentions(file).values()) if file.exists() else frozenset()


def _names(tree: ast.AST) -> frozenset[str]:
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return frozenset(names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)})
