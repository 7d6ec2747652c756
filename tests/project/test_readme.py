"""The README is a tour: its blocks run from top to bottom in one empty folder, as a reader would type them."""

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

README = (Path(__file__).parents[2] / "README.md").read_text()
OPTIONS = (Path(__file__).parents[2] / "docs" / "options.md").read_text()
BLOCKS = re.findall(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', README, re.MULTILINE | re.DOTALL)
# Blocks that do not run here, and why.
NOT_RUN = {
    ("bash", "install"): "the tests run on this checkout, which make setup has installed in the same way",
    ("text", ""): "a drawing",
}


def tour() -> str:
    """The README as a shell script: Python blocks become the files that they are called."""
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p)' EXIT"]
    for language, title, block in BLOCKS:
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


def test_every_block_is_a_file_or_a_command_or_is_left_out_for_a_reason() -> None:
    assert len(BLOCKS) == README.count("\n```") // 2
    kinds = {(language, title) for language, title, _ in BLOCKS}
    assert set(NOT_RUN) <= kinds
    for language, title in kinds - set(NOT_RUN):
        assert (language == "python" and title.endswith(".py")) or (language, title) == ("bash", "run")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tour_of_the_readme_runs_to_its_end(tmp_path: Path, environ: dict[str, str]) -> None:
    with (tmp_path / "tour.log").open("w") as log:
        ended = subprocess.run(
            ["bash", "-c", tour()],
            cwd=tmp_path,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=840,
            check=False,
        )
    output = (tmp_path / "tour.log").read_text()
    assert ended.returncode == 0, output[-8_000:]
    assert "1000 rows read, 1000 acknowledged\n1000 rows in the Delta table" in output
    assert "main.default.orders  2000 rows" in output  # after Airflow and Dagster
    assert "'rows_acked': 1000, 'rows_skipped': 0" in output
    assert "1 new rows, from 1 files" in output
    heads = [json.loads(line) for line in output.splitlines() if line.startswith('{"id"')]
    assert len(heads) == 3
    assert all(row["total"] == row["id"] * 1.5 for row in heads)


def test_the_table_of_options_has_all_options_with_their_defaults() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", OPTIONS, re.MULTILINE))
    defaults = {field.name: field.default for field in dataclasses.fields(IngestOptions)}
    assert {name: eval(text) for name, text in rows.items()} == defaults
