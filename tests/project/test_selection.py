"""Tests that are skipped or left out are seen: runs of small test files with the plugins of these tests."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.matrix.cells import load_cells

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow  # each starts pytest in a process of its own
SERVICE_TESTS = """
    import pytest
    pytestmark = pytest.mark.service
    def test_that_runs(): pass
    def test_that_is_skipped(): pytest.skip("the server is not installed")
    @pytest.mark.xfail
    def test_that_is_known_to_fail(): assert False
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> object:
    """Runs pytest with options, as a process of its own."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "core")]))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # each would take its time in each of the processes
    pytester.makeini("[pytest]\nmarkers = service\n    slow")
    plugins = ["-p", "xdist", "-p", "tests.fast", "-p", "tests.selection"]
    return lambda *options: pytester.runpytest_subprocess(*plugins, *options)


@pytest.mark.parametrize("processes", [[], ["-n", "2"]], ids=["one process", "two processes"])
def test_a_skipped_test_fails_where_none_may_be_skipped(run, pytester, processes) -> None:
    pytester.makepyfile(SERVICE_TESTS)
    run(*processes).assert_outcomes(passed=1, skipped=1, xfailed=1)
    strict = run("--no-skips", *processes)
    strict.assert_outcomes(passed=1, failed=1, xfailed=1)
    strict.stdout.fnmatch_lines(["*--no-skips: Skipped: the server is not installed"])


def test_a_module_that_is_skipped_as_a_whole_fails_where_none_may_be_skipped(run, pytester) -> None:
    pytester.makepyfile("import pytest; pytest.importorskip('a_driver_that_nobody_has')")
    assert run("--no-skips").ret == pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize("processes", [[], ["-n", "2"]], ids=["one process", "two processes"])
def test_a_run_says_how_many_service_tests_it_left_out(run, pytester, processes) -> None:
    pytester.makepyfile(SERVICE_TESTS, test_other="def test_it(): pass")
    done = run("-m", "not service", *processes)
    assert done.ret == 0
    done.stdout.fnmatch_lines(["3 tests that need a service were left out: make services *"])


@pytest.mark.parametrize("scope", ["module", "session"])
def test_an_expensive_fixture_is_made_in_one_of_the_parallel_processes(run, pytester, scope) -> None:
    pytester.makepyfile(
        test_it=f"""
            import os, pytest
            @pytest.fixture(scope="{scope}")
            def airflow():
                with open("made", "a") as made: print(os.getpid(), file=made)
            @pytest.mark.parametrize("number", range(12))
            def test_with_it(airflow, number): pass
            @pytest.mark.parametrize("number", range(12))
            def test_without_it(number): pass
        """,
    )
    run("-n", "3", "--dist", "loadgroup").assert_outcomes(passed=24)
    assert len((pytester.path / "made").read_text().splitlines()) == 1


def test_a_fast_run_leaves_out_slow_tests_and_no_test_starts_a_process_in_it(run, pytester) -> None:
    pytester.makepyfile(
        """
        import os, pytest
        def test_quick(): pass
        @pytest.mark.slow
        def test_slow(): pass
        def test_of_a_hidden_process(): getattr(os, "po" + "pen")("true").close()
        """
    )
    fast = run("--fast")
    fast.assert_outcomes(passed=1, failed=1, deselected=1)
    fast.stdout.fnmatch_lines(["*a fast test does subprocess.Popen*"])


def test_the_cells_of_the_matrix_are_pinned_by_version_alone() -> None:
    cells = load_cells()
    assert {"python-3-12", "python-3-13", "lowest"} <= cells.keys()
    for cell in cells.values():
        lines = cell.constraints.read_text().splitlines()
        assert [line for line in lines if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[A-Za-z0-9.+!_-]+", line)] == []
        assert all((ROOT / path).exists() for path in cell.tests)
