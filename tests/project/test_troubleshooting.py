"""The page on troubleshooting has every reason for a refused row, every class of error, and no text that is gone."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path

import pytest

import zerobus_core

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
GOLDEN = (ROOT / "tests" / "core" / "encode" / "golden" / "bad_values.txt").read_text()


BY_TOPIC = [
    "The workspace and the network",
    "What was given as records",
    "Files",
    "Retries, checkpoints and handoffs",
    "Airflow and Dagster",
]


@cache
def texts_of_the_code() -> str:
    """All texts in the code of the packages but docstrings, one a line; values in them are "…"."""
    folders = ["core/zerobus_core", "zerobus_airflow", "zerobus_dagster"]
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    return "\n".join(text_of(node) for node in nodes if id(node) not in docstrings).lower()


def text_of(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def first_column(heading: str) -> list[str]:
    """The texts in code of the first column of the table under a heading."""
    table = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    return [text for row in rows for text in re.findall(r"`([^`]+)`", row)]


def pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("…"))))


def test_every_reason_of_the_golden_file_is_found_on_the_page() -> None:
    reasons = set(re.findall(r"^  row \d+, field [^:]+: (.*) \(expected ", GOLDEN, re.MULTILINE))
    assert len(reasons) > 30
    known = [pattern(text) for text in first_column("A row does not fit the table")]
    assert sorted(reason for reason in reasons if not any(known_one.search(reason) for known_one in known)) == []


def test_every_reason_of_the_page_is_in_the_golden_file() -> None:
    reasons = first_column("A row does not fit the table")
    assert reasons
    assert [text for text in reasons if not pattern(text).search(GOLDEN)] == []


def test_every_class_of_error_is_on_the_page() -> None:
    classes = {
        name
        for name, value in vars(zerobus_core).items()
        if inspect.isclass(value) and issubclass(value, zerobus_core.ZerobusIngestError)
    }
    assert set(first_column("Errors by their class")) == classes - {"ZerobusIngestError"}


@pytest.mark.parametrize("heading", BY_TOPIC)
def test_every_message_by_topic_is_one_of_the_code(heading: str) -> None:
    messages = first_column(heading)
    assert len(messages) > 6
    assert [text for text in messages if not pattern(text.lower()).search(texts_of_the_code())] == []
