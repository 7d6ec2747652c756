"""Runs one case of ``make bench`` in this process, and writes each figure to a file at once, as a line of JSON.

``python -m benchmarks`` starts this module in a process of its own.
"""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path

from .cases import CASES, CaseSkipped
from .measuring import Figure, Settings

__all__ = ["read_lines"]


def read_lines(path: Path) -> tuple[list[Figure], str]:
    """Return the figures in a file that ``main`` wrote, and why the case was skipped ("" if it was not)."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    skipped = next((line["skipped"] for line in lines if "skipped" in line), "")
    return [Figure.from_json(line) for line in lines if "skipped" not in line], skipped


def main(arguments: list[str] | None = None) -> None:
    """Run the case that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=list(CASES))
    parser.add_argument("out", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--hundred-million", action="store_true")
    given = parser.parse_args(arguments)
    settings = Settings(quick=given.quick, hundred_million=given.hundred_million)
    with given.out.open("w", buffering=1) as out:
        try:
            for figure in import_module(f"benchmarks.cases.{given.name}").figures(settings):
                out.write(json.dumps(figure.as_json()) + "\n")
        except CaseSkipped as why:
            out.write(json.dumps({"skipped": str(why)}) + "\n")


if __name__ == "__main__":
    main()
