"""Turns of phrase that a reader has to decode are kept out of the code, the docs and the texts that users see."""

from __future__ import annotations

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUFFIXES = {".cfg", ".js", ".md", ".py", ".pyi", ".toml", ".txt", ".yaml", ".yml"}
THIS = "tests/project/test_plain_english.py"

# What is wrong, and what to write instead.
PHRASES = {
    r"(?:is|was) no\b(?! longer| more than| less than)": "is not a …",
    r"(?:are|were) no\b(?! longer| more than| less than)": "are not …",
    r"(?:is|are|was|were) none\b": "is not one; is invalid",
    r"anew\b": "again",
    r"meanwhile\b": "leave it out, or name the time",
    r"\w*Error where\b": "Error if",
    r"mend(?:s|ed)?\b": "correct, fix, repair",
    r"without a word\b": "silently, without an error",
    r"on the quiet\b": "silently",
    r"tells\b": "says, reports, shows, distinguishes",
    r"beside\b": "next to, besides, with, during",
    r"(?:stands?|stood)\b(?! for| in for| still)": "is, appears, comes",
    r"(?<!,) as well\b(?! as)": "also",
    r"\w, too\b(?! \w)": "also",
    r"(?:has|have|had) not(?=[.,;:)]| and\b| is\b|\n\n)": "does not have, is missing from",
}
# A phrase may go on in the next line, after what begins it: indentation, marks of comments and lists, quotes.
BLANK = r"""(?: |\n(?:[ \t#*>]|f?["'])*)"""


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name != THIS and Path(name).suffix in SUFFIXES]


def findings(phrase: str) -> Iterator[str]:
    """Where the phrase is, unless ``there`` comes before it."""
    wanted = re.compile(rf"\b(there )?\b{phrase}".replace(" ", BLANK), re.IGNORECASE)
    for path in tracked():
        if not path.is_file():  # it is removed, and that is not committed yet
            continue
        text = path.read_text()
        for found in wanted.finditer(text):
            if found[1] is None and "None" not in found[0]:
                yield f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, found.start()) + 1}: {found[0]!r}"


@pytest.mark.parametrize(("phrase", "better"), PHRASES.items())
def test_no_text_has_a_phrase_that_has_to_be_decoded(phrase: str, better: str) -> None:
    found = list(findings(phrase))
    assert not found, f"write {better!r} for\n" + "\n".join(found)


def test_no_name_is_told() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{token.start[0]}"
        for path in tracked()
        if path.suffix == ".py" and path.is_file()
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
        if token.type == tokenize.NAME and token.string in {"told", "_told"}
    ]
    assert not found, "name the value for what it is, not for being told: " + ", ".join(found)
