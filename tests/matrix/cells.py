"""The cells of the version matrix, as cells.toml has them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One environment and its tests; the fields are explained in cells.toml."""

    name: str
    python: str
    tests: tuple[str, ...]
    extras: tuple[str, ...] = ()
    smoke: str = ""
    packages: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    whole: bool = False
    may_fail: bool = False
    requirements: tuple[str, ...] = ()
    resolution: str = "highest"
    exclude_newer: str = ""
    exclude_newer_package: tuple[str, ...] = ()
    like: str = ""

    @property
    def constraints(self) -> Path:
        return HERE / "constraints" / f"{self.name}.txt"


def load_cells() -> dict[str, Cell]:
    document = tomllib.loads((HERE / "cells.toml").read_text())
    defaults = document["defaults"]
    return {name: _cell(name, defaults, settings) for name, settings in document["cells"].items()}


def _cell(name: str, defaults: dict[str, object], settings: dict[str, object]) -> Cell:
    merged = defaults | settings
    merged["packages"] = [*defaults["packages"], *settings.get("packages", [])]  # type: ignore[misc, attr-defined]
    if unknown := merged.keys() - {field.name for field in fields(Cell)}:
        raise ValueError(f"cells.toml: cell {name} has unknown fields: {', '.join(sorted(unknown))}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in merged.items()}
    return Cell(name=name, **values)  # type: ignore[arg-type]


def interpreter(version: str) -> str | None:
    """The path of an interpreter of this version, or None if there is none.

    pyenv puts a python3.12 on the PATH that fails unless that version is switched on, so its own are looked at first.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [str(path) for path in sorted(pyenv.glob(f"{version}*/bin/python{version}"), reverse=True)]
    if on_path := shutil.which(f"python{version}"):
        candidates.append(on_path)
    for candidate in candidates:
        check = "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([candidate, "-c", check], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    return None
