"""The public description of the rooms is held against the import contracts and the files."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
CHANGES = PAGE.partition("## Where do I change X?")[2].partition("\n## ")[0]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def layers_of(container: str) -> dict[str, int]:
    """Return the rooms of a container, each with the number of its layer, counted from the top."""
    (contract,) = (one for one in CONTRACTS if one["type"] == "layers" and one.get("containers") == [container])
    return {name: at for at, layer in enumerate(contract["layers"]) for name in re.split(r"[|:() ]+", layer) if name}


def test_every_room_of_the_core_is_described_in_the_order_of_its_layer() -> None:
    table = PAGE.partition("| Room |")[2].partition("\n\n")[0]
    rows = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines()[2:]]
    layers = layers_of("zerobus_core")
    assert sorted(name for row in rows for name in row) == sorted(layers)
    highest = [min(layers[name] for name in row) for row in rows]
    assert highest == sorted(highest)


def test_the_files_that_the_page_names_exist() -> None:
    named = re.findall(r"`((?:core|zerobus_\w+|docs|tests)/[\w/.]+)`", PAGE)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_each_file_that_a_change_leads_to_is_in_the_folder_of_its_heading() -> None:
    sections = re.findall(r"^### [^`\n]*`([\w./]+)`\n(.*?)(?=^##|\Z)", CHANGES, re.MULTILINE | re.DOTALL)
    assert len(sections) == len(re.findall(r"^### ", CHANGES, re.MULTILINE)) > 5
    missing = [
        f"{folder} {name}"
        for folder, rows in sections
        for row in re.findall(r"^\|[^|]+\|(.+)\|$", rows, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
        if not (ROOT / folder / name).exists() and not (ROOT / name).exists()
    ]
    assert missing == []


def test_the_list_of_modules_says_what_their_docstrings_say() -> None:
    index = runpy.run_path(str(ROOT / "docs" / "module_index.py"))
    assert index["with_index"](PAGE) == PAGE, "write it again: python docs/module_index.py"


def test_each_room_of_the_core_is_named_for_a_change() -> None:
    # Nobody looks for these: they follow from changes elsewhere.
    followers = {"batch", "deprecations", "lazy_names", "push", "ranges", "replaying", "version", "wording"}
    named = set(re.findall(r"[\w.]+", CHANGES.replace(".py", "")))
    assert set(layers_of("zerobus_core")) - followers - named == set()


def test_the_names_that_contributing_gives_are_in_their_files() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`(\w+)`\s+(?:of|in)\s+`((?:core|zerobus_\w+|tests)/[\w/.]+\.py)`", text)
    assert len(named) > 4
    assert [(name, file) for name, file in named if not re.search(rf"\b{name}\b", (ROOT / file).read_text())] == []


def test_the_files_that_contributing_names_exist() -> None:
    named = re.findall(r"`((?:core|zerobus_\w+|docs|tests)/[\w/.]+)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
