"""Numbers of things in texts: one row is not "1 rows", wherever a person reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zerobus_core import Counts, RecordError
from zerobus_core.receipt import notes_on
from zerobus_core.wording import plural

ROOT = Path(__file__).parents[2]
NOUNS = "row|file|column|record|stream|table|shard|slice|batch|attempt|value|letter|reason"


@pytest.mark.parametrize(("number", "word"), [(0, "rows"), (1, "row"), (2, "rows")])
def test_only_one_thing_has_the_singular(number: int, word: str) -> None:
    assert plural(number, "row") == word


def test_another_plural_can_be_given() -> None:
    assert [plural(number, "is", "are") for number in (1, 2)] == ["is", "are"]


def test_an_error_and_a_note_about_one_row_say_row() -> None:
    counts = Counts(rows_read=1, rows_filtered=1)
    error = RecordError("bad").with_facts(table="a.b.c", counts=counts)
    assert "[1 row read, " in str(error)
    assert notes_on(counts) == ("transform left out the only row, so nothing was sent",)


def test_a_delivery_that_sent_nothing_says_so_if_rows_were_left_out_and_others_durable() -> None:
    (note,) = notes_on(Counts(rows_read=4, rows_skipped=3, rows_filtered=1))
    assert note == (
        "transform left out 1 of 4 rows, and the others were durable from an earlier attempt, so nothing was sent"
    )


def test_no_expected_text_of_a_test_or_page_says_1_rows() -> None:
    wrong = re.compile(rf"(?<![\d.,:+-])\b1 (?:new )?(?:{NOUNS.replace('batch', 'batche')})s\b")
    files = [
        file
        for pattern in ("tests/**/*.py", "docs/*.md", "README.md", "CHANGELOG.md", "example_dags/**/*.py")
        for file in ROOT.glob(pattern)
        if file != Path(__file__)
    ]
    assert len(files) > 100
    found = [
        f"{file.name}: {line.strip()}" for file in files for line in file.read_text().splitlines() if wrong.search(line)
    ]
    assert found == []
