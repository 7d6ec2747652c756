"""What ``dg`` makes of this package: every one of its commands imports it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROJECT = """
[project]
name = "flights_project"
version = "0.1.0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "flights_project"
"""
DEFINITIONS = """
from pathlib import Path

import dagster as dg


@dg.definitions
def defs():
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
COMPONENT = """
type: zerobus_dagster.ZerobusIngestComponent

attributes:
  table: main.default.flights
  source: data/*.parquet
  connection: {}
  delivery_check: {min_rows: 1}
"""


def run(*command: str, folder: Path) -> str:
    """The standard output of a command that has to succeed."""
    binaries = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(binaries.parent),
        "PYTHONPATH": str(folder / "src"),
        "DAGSTER_HOME": str(folder),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_project_with_the_component_loads_without_any_secret_in_the_environment(tmp_path: Path) -> None:
    package = tmp_path / "src" / "flights_project"
    (package / "defs" / "flights").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (package / "__init__.py").touch()
    (package / "definitions.py").write_text(DEFINITIONS)
    (package / "defs" / "__init__.py").touch()
    (package / "defs" / "flights" / "defs.yaml").write_text(COMPONENT)
    listed = json.loads(run("dg", "list", "defs", "--json", folder=tmp_path))
    assert [asset["asset_key"] for asset in listed["assets"]] == ["main/default/flights"]
    assert [check["key"] for check in listed["asset_checks"]] == ["main/default/flights:zerobus_delivery"]


def test_importing_the_package_brings_no_sdk_and_no_frames(tmp_path: Path) -> None:
    code = "import sys, zerobus_dagster; print(*{name.partition('.')[0] for name in sys.modules})"
    imported = set(run(sys.executable, "-c", code, folder=tmp_path).split())
    assert "zerobus_dagster" in imported
    assert not imported & {"pandas", "polars", "pyarrow", "zerobus", "databricks", "fsspec"}
