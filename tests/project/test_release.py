"""What a release needs: the wheel with each extra alone in a new environment, and its programs run by uvx.

These tests install from a package index, and so run with ``make services``.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.service, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
EXTRAS: dict[str, str] = {
    "": "zerobus_core; zerobus_core.ingest; zerobus_core.hand_over",
    "airflow": "zerobus_airflow; zerobus_airflow.ZerobusIngestOperator",
    "arrow": "zerobus_core, pyarrow, ptars; zerobus_core.ingest",
    "dagster": "zerobus_dagster; zerobus_dagster.ZerobusResource",
    "excel": "zerobus_core, python_calamine; zerobus_core.ExcelFormat",
    "local": "zerobus_local; zerobus_local.LocalZerobus",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A shell outside of this checkout and its environment."""
    foreign = ("AIRFLOW", "_AIRFLOW", "DAGSTER", "DATABRICKS", "ZEROBUS", "PYTHONPATH", "VIRTUAL_ENV")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**inherited, "AIRFLOW_HOME": str(tmp_path / "airflow"), "UV_PYTHON_DOWNLOADS": "never"}


def test_every_extra_has_its_test() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["optional-dependencies"]) == set(EXTRAS) - {""}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_the_wheel_is_imported_with_one_extra_alone(
    wheel: Path, extra: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"], check=True, timeout=120)
    requirement = f"{wheel}[{extra}]" if extra else str(wheel)
    install = [UV, "pip", "install", "--quiet", "--python", python, "-c", ROOT / "constraints.txt", requirement]
    subprocess.run(install, check=True, timeout=600)
    script = f"import {EXTRAS[extra]}"
    ended = run([str(python), "-c", script], tmp_path, environ)
    assert ended.returncode == 0, ended.stderr
    helped = run([str(python.with_name("zerobus-ingest")), "--help"], tmp_path, environ)
    assert helped.returncode == 0, helped.stderr
    assert "doctor" in helped.stdout


def run(command: list[str], folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture
def served(wheel: Path, tmp_path: Path, environ: dict[str, str]) -> Iterator[dict[str, str]]:
    """The first line that ``zerobus-local serve`` prints when uvx runs it; the server ends with the test."""
    command = [*uvx(wheel), "serve", "--data", str(tmp_path / "data")]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def uvx(wheel: Path) -> list[str]:
    """``uvx`` is ``uv tool run``; the path of a wheel takes the place of the name that it has on an index."""
    pins = ["--constraints", str(ROOT / "constraints.txt")]
    return [str(UV), "tool", "run", "--quiet", *pins, "--from", f"{wheel}[local]", "zerobus-local"]


@pytest.mark.timeout(900)
def test_uvx_runs_the_local_server_from_the_wheel(served: dict[str, str], wheel: Path, environ: dict[str, str]) -> None:
    with urllib.request.urlopen(served["workspace_url"], timeout=60) as page:
        assert page.status == 200
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", served["endpoint"])
    helped = run([*uvx(wheel), "--help"], Path(served["data"]), environ)
    assert helped.returncode == 0, helped.stderr
    assert "serve" in helped.stdout
