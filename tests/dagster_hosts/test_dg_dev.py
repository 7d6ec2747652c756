"""``dg dev`` of a project with a component: it serves, delivers the component's files, and stops when interrupted."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from tests.dagster_hosts.deployment import BINARIES, GraphQL, Program, connection
from tests.dg_project import write_project
from tests.services.programs import free_port
from zerobus_local import LocalZerobus

pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]

COMPONENT = """
type: zerobus_dagster.ZerobusIngestComponent

attributes:
  table: {table}
  source: data/*.csv
  asset: {{key: flights}}
  connection: {{}}
"""
LOCATIONS = """
{
  repositoriesOrError {
    ... on RepositoryConnection { nodes { name location { name } } }
  }
}
"""


def write_project_with_component(folder: Path, table: str) -> None:
    flights = write_project(folder) / "flights"
    (flights / "data").mkdir(parents=True)
    (flights / "defs.yaml").write_text(COMPONENT.format(table=table))
    (flights / "data" / "flights.csv").write_text("id,note\n1,UA\n2,AA\n")


def test_dg_dev_serves_a_project_delivers_its_files_and_stops(
    tmp_path: Path, zerobus: LocalZerobus, table_name: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, note STRING)")
    write_project_with_component(tmp_path, table_name)
    port = free_port()
    environ = {
        **os.environ,
        **connection(zerobus),
        "PATH": f"{BINARIES}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(BINARIES.parent),
        "PYTHONPATH": str(tmp_path / "src"),
        "DAGSTER_HOME": str(tmp_path),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }
    start = time.monotonic()
    dev = Program("dev", tmp_path, environ, "dg", "dev", "--host", "127.0.0.1", "--port", str(port))
    graphql = GraphQL(f"http://127.0.0.1:{port}")
    children: list[psutil.Process] = []
    try:
        dev.wait_until(graphql.is_up, "the webserver of dg dev", timeout=400.0)
        nodes = dev.wait_until(
            lambda: graphql.ask(LOCATIONS)["repositoriesOrError"].get("nodes"), "the project", timeout=400.0
        )
        print(f"dg dev served the project after {time.monotonic() - start:.1f} s")
        (node,) = nodes
        selector = {"repositoryName": node["name"], "repositoryLocationName": node["location"]["name"]}
        run_id = graphql.launch(selector, "__ASSET_JOB", assets=["flights"])
        assert graphql.wait_for_end(run_id, timeout=400.0) == "SUCCESS"
        assert sorted(zerobus.read(table_name).column("id").to_pylist()) == [1, 2]
        children = dev.descendants()
        start = time.monotonic()
        assert dev.interrupt() == 0
        print(f"dg dev ended {time.monotonic() - start:.1f} s after the interrupt")
        _, running = psutil.wait_procs(children, timeout=60)
        assert not running
    finally:
        for child in children:
            if child.is_running():
                child.kill()
        dev.close()
        graphql.close()
