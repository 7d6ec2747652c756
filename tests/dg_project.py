"""A project as create-dagster makes it, for tests that run ``dg`` in it."""

from __future__ import annotations

from pathlib import Path

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


def write_project(folder: Path) -> Path:
    """Write the project without any component; returns the folder of its definitions, ``defs``."""
    package = folder / "src" / "flights_project"
    (package / "defs").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (package / "__init__.py").touch()
    (package / "definitions.py").write_text(DEFINITIONS)
    (package / "defs" / "__init__.py").touch()
    return package / "defs"
