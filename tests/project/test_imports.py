"""What importing a package costs: orchestrators do it in every process that parses a Dag or loads definitions."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import zerobus_core

HEAVY = ["airflow", "dagster", "databricks.sdk", "deltalake", "google.protobuf", "grpc", "numpy", "pandas", "pyarrow"]
HEAVY += ["requests", "sqlglot", "starlette", "zerobus", "zerobus_local"]


def imported(module: str) -> tuple[list[str], float]:
    """The heavy modules that come with a module, and the seconds of processor time that it costs."""
    script = (
        "import json, sys, time; start = time.process_time(); __import__(sys.argv[1]); "
        "print(json.dumps([list(sys.modules), time.process_time() - start]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, module], capture_output=True, text=True, timeout=60, check=True
    )
    modules, seconds = json.loads(done.stdout)
    return [name for name in HEAVY if name in modules and not f"{module}.".startswith(f"{name}.")], seconds


@pytest.mark.parametrize(
    "module", ["zerobus_core", "zerobus_airflow", "zerobus_airflow.provider_info", "zerobus_local", "zerobus_local.cli"]
)
def test_a_package_comes_without_what_only_a_delivery_needs(module: str) -> None:
    heavy, _ = imported(module)
    assert heavy == []


def test_importing_the_core_takes_less_than_a_tenth_of_a_second() -> None:
    # The best of five: another process on the machine can only make it slower.
    assert min(imported("zerobus_core")[1] for _ in range(5)) < 0.1


def test_no_exported_name_is_the_name_of_a_module() -> None:
    """Importing the module would put it in the place of what is exported."""
    package = Path(zerobus_core.__file__).parent
    assert [name for name in zerobus_core.__all__ if any(package.glob(f"{name}.py")) or (package / name).is_dir()] == []


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert zerobus_core.__version__ == project["version"]
