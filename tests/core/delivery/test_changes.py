"""A small share of the sources that change between attempts, in every run of the suite; see ``changes.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.changes import figures, run


@pytest.mark.slow
def test_no_row_is_missing_when_the_source_changed_between_attempts(tmp_path: Path) -> None:
    outcomes = run(range(20), tmp_path)
    print(figures(outcomes))
    assert [outcome for outcome in outcomes if outcome.problems] == []
    assert any(outcome.noticed for outcome in outcomes), "changes that are never noticed show nothing"
    assert any(outcome.skipped for outcome in outcomes if outcome.change == "none")
