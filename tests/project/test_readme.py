"""The README and the quickstart: their blocks run from top to bottom in an empty folder, as a reader types them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from zerobus_core import IngestOptions

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
QUICKSTART = (ROOT / "docs" / "index.md").read_text()
OPTIONS = (ROOT / "docs" / "options.md").read_text()
# Blocks that do not run here, and why.
NOT_RUN = {
    ("bash", "install"): "the tests run on this checkout, which make setup has installed in the same way",
    ("text", "the demo"): "tests/project/test_demo.py compares it with what the demo prints",
}
# What fits into the box of a code block where the README is shown.
WIDEST_CODE = 96


def blocks_of(page: str) -> list[tuple[str, str, str]]:
    """Language, title and text of each block."""
    return re.findall(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)


def tour(page: str) -> str:
    """The page as a shell script: Python blocks become the files that they are called."""
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p)' EXIT"]
    for language, title, block in blocks_of(page):
        if (language, title) in NOT_RUN:
            continue
        if language == "python":
            lines += [f"mkdir -p {Path(title).parent}", f"cat > {title} <<'END_OF_BLOCK'", f"{block}END_OF_BLOCK"]
        else:
            lines.append(block)
    return "\n".join(lines)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A shell of somebody who has nothing but the package."""
    foreign = ("AIRFLOW", "_AIRFLOW", "DAGSTER", "DATABRICKS", "ZEROBUS")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {
        **inherited,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }


@pytest.mark.parametrize("page", [README, QUICKSTART], ids=["README", "quickstart"])
def test_every_block_is_a_file_or_a_command_or_is_left_out_for_a_reason(page: str) -> None:
    blocks = blocks_of(page)
    assert len(blocks) == page.count("\n```") // 2
    for language, title in {(language, title) for language, title, _ in blocks} - set(NOT_RUN):
        assert (language == "python" and title.endswith(".py")) or (language, title) == ("bash", "run")


@pytest.mark.parametrize("page", [README, QUICKSTART], ids=["README", "quickstart"])
def test_no_line_of_code_is_wider_than_its_box(page: str) -> None:
    lines = [line for _, _, block in blocks_of(page) for line in block.splitlines()]
    assert [line for line in lines if len(line) > WIDEST_CODE] == []


def test_the_readme_has_no_link_that_only_works_in_a_checkout() -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", README)
    assert targets
    assert [target for target in map("".join, targets) if not target.startswith("https://")] == []


def test_the_files_that_the_readme_names_exist() -> None:
    named = re.findall(r"`((?:docs/)?\w+\.md)`", README)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tour_of_the_readme_runs_to_its_end(tmp_path: Path, environ: dict[str, str]) -> None:
    output = take_the_tour(README, tmp_path, environ)
    assert "new rows: 1  new files: 1" in output
    assert "new rows: 0  new files: 0" in output
    assert "main.default.orders  2001 rows" in output  # of Airflow, Dagster and the handoff
    heads = [json.loads(line) for line in output.splitlines() if line.startswith('{"id"')]
    assert len(heads) == 3
    assert all(row["total"] == row["id"] * 1.5 for row in heads)


def test_the_tour_of_the_quickstart_runs_to_its_end(tmp_path: Path, environ: dict[str, str]) -> None:
    output = take_the_tour(QUICKSTART, tmp_path, environ)
    assert "1000 rows read, 1000 acknowledged\n1000 rows in the Delta table" in output
    assert "'rows_acked': 1000, 'rows_skipped': 0" in output


def take_the_tour(page: str, folder: Path, environ: dict[str, str]) -> str:
    """What the page's commands print; they must all succeed."""
    # A file, since the server that the page starts in the background would keep a pipe open.
    with (folder / "tour.log").open("w") as log:
        ended = subprocess.run(
            ["bash", "-c", tour(page)],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=840,
            check=False,
        )
    output = (folder / "tour.log").read_text()
    assert ended.returncode == 0, output[-8_000:]
    return output


def test_the_table_of_options_has_all_options_with_their_defaults() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", OPTIONS, re.MULTILINE))
    defaults = {field.name: field.default for field in dataclasses.fields(IngestOptions)}
    assert {name: eval(text) for name, text in rows.items()} == defaults
