"""What docs/zerobus_local.md shows runs as it is there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click import Group

from tests.cli_runner import cli_runner
from zerobus_local import LocalZerobus
from zerobus_local.cli import main
from zerobus_local.faults import ACTIONS, POINTS, Faults

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "zerobus_local.md").read_text()


def blocks(language: str, marker: str = "") -> list[str]:
    return re.findall(rf"{marker}\n?```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"RUST_LOG": "off"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_python_example_runs_to_its_end(tmp_path: Path) -> None:
    [example] = blocks("python", "<!-- run -->")
    ended = run("-c", example, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr


def test_the_pytest_example_finds_its_fixtures_by_entry_point(tmp_path: Path) -> None:
    [example] = blocks("python", "<!-- pytest -->")
    (tmp_path / "test_example.py").write_text(example)
    ended = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_example.py", folder=tmp_path)
    assert "3 passed" in ended.stdout, ended.stdout + ended.stderr


def test_the_plugin_loads_nothing_heavy_until_a_fixture_is_asked_for() -> None:
    code = "import sys, zerobus_local.pytest_plugin; print(sorted({'pyarrow', 'grpc', 'deltalake'} & set(sys.modules)))"
    assert run("-c", code, folder=ROOT).stdout == "[]\n"


def test_every_fault_in_the_document_is_one_and_none_is_missing() -> None:
    rules = [json.loads(line) for block in blocks("json") for line in block.splitlines() if '"action"' in line]
    Faults(rules)
    assert {rule["action"] for rule in rules} == set(ACTIONS)
    table = DOCUMENT.partition("| Action | Does |")[2].partition("##")[0]
    assert not [name for name in (*ACTIONS, *POINTS) if f"`{name}`" not in table]


def test_every_command_in_the_document_is_one_and_none_is_missing() -> None:
    used = [command for block in blocks("bash") for command in re.findall(r"\bzerobus-local ([\w-]+)", block)]
    assert used == ["create-table", "serve", "env"]
    assert isinstance(main, Group)
    assert not [name for name in main.commands if f"`{name}" not in DOCUMENT]


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
def test_the_example_in_the_shell_inserts_a_row_with_what_env_sets(tmp_path: Path) -> None:
    [example] = [block for block in blocks("bash") if "curl" in block]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    foreign = ("DATABRICKS", "ZEROBUS")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    with LocalZerobus.start(tmp_path / "zerobus-data") as server:
        server.create_table("CREATE TABLE main.default.flights (id BIGINT NOT NULL, delay DOUBLE)")
        command = ["bash", "-euo", "pipefail", "-c", example]
        subprocess.run(command, cwd=tmp_path, env=inherited | {"PATH": path}, timeout=300, check=True)
        assert server.read("main.default.flights").to_pylist() == [{"id": 1, "delay": 2.5}]


@pytest.mark.parametrize("command", sorted(main.commands) if isinstance(main, Group) else [])
def test_every_command_explains_itself(command: str) -> None:
    shown = cli_runner().invoke(main, [command, "--help"])
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) > 3
