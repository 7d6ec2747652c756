"""What is true of every file of the project that a reader sees."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRACKED = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
    "\0"
)
FILES = [ROOT / name for name in TRACKED if name and (ROOT / name).is_file()]
DOCUMENTS = [file for file in FILES if file.suffix == ".md"]
LONGEST_LINE = 120
TEXTS = [file for file in FILES if file.suffix in {".md", ".py", ".toml", ".txt", ".yaml", ".yml", ".html", ""}]


@pytest.mark.skipif(not FILES, reason="not a git checkout")
def test_the_project_has_the_files_that_it_promises() -> None:
    names = {file.relative_to(ROOT).as_posix() for file in FILES}
    assert {"README.md", "CHANGELOG.md", "LICENSE", "Makefile", ".ci/run", "constraints.txt", "pyproject.toml"} <= names


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    lost = [link for link in targets if not re.match(r"https?://|mailto:", link) and not leads(document, link)]
    assert not lost


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_lines_of_documents_have_at_most_120_characters(document: Path) -> None:
    lines = enumerate(document.read_text().splitlines(), 1)
    assert [f"{number}: {line}" for number, line in lines if len(line) > LONGEST_LINE and can_break(line)] == []


def can_break(line: str) -> bool:
    """Whether the line could go on in the next one: not a row of a table, and not one long word, code or link."""
    without_code = re.sub(r"`[^`]*`", "code", line.strip())
    return not without_code.startswith("|") and len(re.sub(r"^(?:[-*+>]|\d+\.) ", "", without_code).split()) > 1


def leads(document: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (document.parent / path) if path else document
    if not target.exists():
        return False
    return not anchor or anchor in {anchor_of(title) for title in re.findall(r"^#+ (.*)$", target.read_text(), re.M)}


def anchor_of(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_every_example_is_run_by_a_test() -> None:
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("*.py"))
    examples = [file.stem for file in (ROOT / "example_dags").iterdir() if file.suffix == ".py" or file.is_dir()]
    assert [name for name in examples if name not in tests and name != "__pycache__"] == []


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    homes = re.compile(r"(?<![\w.])/(?:home|Users|root)/\w")
    assert [file for file in TEXTS if homes.search(file.read_text())] == []


def test_constraints_hold_versions_and_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert [line for line in pins if not re.fullmatch(r"[\w.\[\]-]+==[\w.+!]+( ; .*)?", line)] == []
