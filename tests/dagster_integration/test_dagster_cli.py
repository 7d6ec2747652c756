"""What ``dg`` makes of this package: every one of its commands imports it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dg_project import DEFINITIONS, write_project
from zerobus_core import ClientCredentials
from zerobus_local import LocalZerobus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.matrix]

COMPONENT = """
type: zerobus_dagster.ZerobusIngestComponent

attributes:
  table: main.default.flights
  source: data/*.parquet
  connection: {}
  delivery_check: {min_rows: 1}
"""


RESOURCES = """
import dagster as dg
from zerobus_dagster import ZerobusIOManager, ZerobusResource


@dg.definitions
def resources():
    zerobus = ZerobusResource(endpoint="https://1.zerobus.example", workspace_url="https://w.example")
    return dg.Definitions(resources={"zerobus_io": ZerobusIOManager(zerobus=zerobus)})
"""
OVERWRITING_ASSET = """
import dagster as dg


@dg.asset(key=["main", "default", "numbers"], io_manager_key="zerobus_io", metadata={"write_mode": "overwrite"})
def numbers() -> list:
    return []
"""


def run(*command: str, folder: Path, **variables: str) -> str:
    """The standard output of a command that has to succeed."""
    done = attempt(*command, folder=folder, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def attempt(*command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    binaries = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(binaries.parent),
        "PYTHONPATH": str(folder / "src"),
        "DAGSTER_HOME": str(folder),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        **variables,
    }
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project as create-dagster makes it, without any component."""
    write_project(tmp_path)
    return tmp_path


def test_a_project_that_does_not_use_the_package_has_a_working_dg(project: Path) -> None:
    """Every command of dg loads the components of all installed packages."""
    asset = "import dagster as dg\n\n\n@dg.asset\ndef numbers() -> int:\n    return 1\n"
    (project / "src" / "flights_project" / "defs" / "numbers.py").write_text(asset)
    assert "ZerobusIngestComponent" in run("dg", "list", "components", folder=project)
    run("dg", "check", "defs", folder=project)
    run("dg", "launch", "--assets", "numbers", folder=project)


def test_a_project_with_the_component_loads_without_any_secret_in_the_environment(project: Path) -> None:
    component = "zerobus_dagster.ZerobusIngestComponent"
    scaffold = ["--table", "main.default.airports", "--source", "data/*.csv"]
    run("dg", "scaffold", "defs", component, "airports", *scaffold, folder=project)
    flights = project / "src" / "flights_project" / "defs" / "flights"
    flights.mkdir()
    (flights / "defs.yaml").write_text(COMPONENT)
    run("dg", "check", "yaml", folder=project)
    run("dg", "check", "defs", folder=project)
    listed = json.loads(run("dg", "list", "defs", "--json", folder=project))
    if isinstance(listed, dict):  # older versions list everything in one list
        keys = {asset.get("asset_key", asset.get("key")) for asset in listed["assets"]}
        assert keys == {"main/default/flights", "main/default/airports"}
    assert "main/default/flights:zerobus_delivery" in json.dumps(listed)


def test_dg_check_defs_refuses_an_assets_write_mode_if_the_definitions_are_checked(project: Path) -> None:
    package = project / "src" / "flights_project"
    (package / "defs" / "resources.py").write_text(RESOURCES)
    (package / "defs" / "numbers.py").write_text(OVERWRITING_ASSET)
    # Dagster shows an asset's metadata to no resource while it loads definitions.
    run("dg", "check", "defs", folder=project)
    checked = DEFINITIONS.replace("return dg.load", "return zerobus_dagster.check_definitions(dg.load")
    checked = checked.replace("parent)", "parent))").replace(
        "import dagster as dg", "import dagster as dg, zerobus_dagster"
    )
    (package / "definitions.py").write_text(checked)
    refused = attempt("dg", "check", "defs", folder=project)
    assert refused.returncode != 0
    assert "write_mode must be" in refused.stdout + refused.stderr


def test_dg_launch_delivers_the_files_of_a_component(project: Path, server: LocalZerobus, table: str) -> None:
    flights = project / "src" / "flights_project" / "defs" / "flights"
    (flights / "data").mkdir(parents=True)
    (flights / "data" / "flights.csv").write_text("id,carrier,delay\n1,UA,0.5\n2,AA,1.5\n")
    yaml = COMPONENT.replace("main.default.flights", table).replace("*.parquet", "*.csv")
    (flights / "defs.yaml").write_text(yaml)
    credentials = server.workspace.credentials
    assert isinstance(credentials, ClientCredentials)
    connection = {
        "ZEROBUS_SERVER_ENDPOINT": server.workspace.endpoint,
        "DATABRICKS_HOST": server.workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": credentials.client_secret,
    }
    run("dg", "launch", "--assets", f'key:"{table.replace(".", "/")}"', folder=project, **connection)
    assert sorted(server.read(table)["id"].to_pylist()) == [1, 2]


def test_importing_the_package_brings_no_sdk_and_no_frames(tmp_path: Path) -> None:
    code = "import sys, zerobus_dagster; print(*{name.partition('.')[0] for name in sys.modules})"
    imported = set(run(sys.executable, "-c", code, folder=tmp_path).split())
    assert "zerobus_dagster" in imported
    assert not imported & {"pandas", "polars", "pyarrow", "zerobus", "databricks", "fsspec"}
