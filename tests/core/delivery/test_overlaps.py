"""Two attempts at one delivery at the same time; see ``overlaps.py`` for the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.overlaps import figures, run


@pytest.mark.slow
def test_the_newer_of_two_attempts_is_green_and_admits_what_both_sent_and_little_more(tmp_path: Path) -> None:
    outcomes = run(range(4), tmp_path)
    print(figures(outcomes))
    assert [outcome for outcome in outcomes if outcome.problems] == []
    assert sum(outcome.doubled for outcome in outcomes) > 0, "attempts that send no row twice show nothing"
