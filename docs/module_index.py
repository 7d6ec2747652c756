"""Writes the list of all modules at the end of docs/architecture.md: ``python docs/module_index.py``.

What is said of a module is the first line of its docstring, so that a change of one is a change of the other. A test
fails if the page is behind.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ["core/zerobus_core", "zerobus_airflow", "zerobus_dagster", "zerobus_local"]
HEADING = "## Every module\n"
INTRODUCTION = """
Search this list for what the tables above do not name. `python docs/module_index.py` writes it from the first lines of
the modules' docstrings.
"""


def with_index(page: str) -> str:
    """Return the page with the list of the modules as they are now; ``page`` ends with the list of an earlier time."""
    before, heading, _ = page.partition(HEADING)
    if not heading:
        raise ValueError(f"no heading {HEADING.strip()!r} in {PAGE.name}")
    return before + HEADING + INTRODUCTION + "".join(_folders())


def _folders() -> Iterator[str]:
    for package in PACKAGES:
        top = ROOT / package
        for folder in [top, *sorted(path for path in top.rglob("*") if path.is_dir())]:
            rows = [f"| `{file.name}` | {_first_line(file)} |\n" for file in sorted(folder.glob("*.py"))]
            if len(rows) > 1:  # of the others, only __init__.py is there
                yield f"\n**`{folder.relative_to(ROOT)}/`**\n\n| Module | What it is for |\n|---|---|\n" + "".join(rows)


def _first_line(file: Path) -> str:
    doc = ast.get_docstring(ast.parse(file.read_text())) or ""
    return doc.partition("\n")[0].replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(with_index(PAGE.read_text()))
