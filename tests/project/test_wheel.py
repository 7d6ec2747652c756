"""What pip installs: the wheel is built and looked into."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"zerobus_airflow", "zerobus_core", "zerobus_dagster", "zerobus_local"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Without isolation: the build back-end is installed, and a build needs no index.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    [file] = folder.glob("*.whl")
    return zipfile.Path(file)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.Path) -> zipfile.Path:
    [folder] = [entry for entry in wheel.iterdir() if entry.name.endswith(".dist-info")]
    return folder


def test_the_wheel_brings_four_packages_and_nothing_else(wheel: zipfile.Path, metadata: zipfile.Path) -> None:
    assert {entry.name for entry in wheel.iterdir()} == PACKAGES | {metadata.name}


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_every_package_says_that_it_is_typed(wheel: zipfile.Path, package: str) -> None:
    assert (wheel / package / "py.typed").is_file()


def test_every_tracked_file_of_a_package_is_in_the_wheel(wheel: zipfile.Path) -> None:
    roots = [ROOT / "core" / "zerobus_core", *(ROOT / name for name in PACKAGES - {"zerobus_core"})]
    files = [
        file.relative_to(root.parent).as_posix()
        for root in roots
        for file in root.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    ]
    assert [name for name in files if not (wheel / name).is_file()] == []


def test_the_licence_comes_with_the_wheel(metadata: zipfile.Path) -> None:
    assert "Apache License" in (metadata / "licenses" / "LICENSE").read_text()


def test_the_metadata_names_licence_readme_and_extras(metadata: zipfile.Path) -> None:
    described = Parser().parsestr((metadata / "METADATA").read_text())
    assert described["Name"] == "zerobus-orchestration"
    assert described["License-Expression"] == "Apache-2.0"
    assert described["Requires-Python"] == ">=3.11"
    assert described.get_payload() == (ROOT / "README.md").read_text()
    assert set(described.get_all("Provides-Extra") or []) == {"airflow", "arrow", "dagster", "excel", "local"}


def test_the_entry_points_are_found_by_airflow_dagster_pytest_and_the_shell(metadata: zipfile.Path) -> None:
    points = configparser.ConfigParser()
    points.read_string((metadata / "entry_points.txt").read_text())
    assert set(points["console_scripts"]) == {"zerobus-ingest", "zerobus-local"}
    assert points["apache_airflow_provider"]["provider_info"] == "zerobus_airflow.provider_info:get_provider_info"
    assert points["dagster_dg_cli.registry_modules"]["zerobus_dagster"] == "zerobus_dagster"
    assert points["pytest11"]["zerobus_local"] == "zerobus_local.pytest_plugin"


def test_every_entry_point_leads_to_something(metadata: zipfile.Path) -> None:
    points = configparser.ConfigParser()
    points.read_string((metadata / "entry_points.txt").read_text())
    targets = [target for section in points.sections() for target in points[section].values()]
    script = "import sys; from pkgutil import resolve_name; [resolve_name(target) for target in sys.argv[1:]]"
    subprocess.run([sys.executable, "-c", script, *targets], check=True, timeout=120)


def test_the_core_of_the_wheel_runs_without_this_checkout(wheel: zipfile.Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel.root.filename or "") as archive:  # type: ignore[attr-defined]
        archive.extractall(tmp_path)
    script = "import zerobus_core; zerobus_core.ingest; zerobus_core.TableSchema; print(zerobus_core.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith(str(tmp_path))


def test_the_changelog_begins_with_the_version_of_the_wheel(metadata: zipfile.Path) -> None:
    version = Parser().parsestr((metadata / "METADATA").read_text())["Version"]
    versions = re.findall(r"^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == version
