"""A small share of the chaos schedules, in every run of the suite; see ``chaos.py`` for the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.chaos import run, table_of


@pytest.mark.slow
def test_no_schedule_of_faults_makes_a_delivery_lie_or_hang(tmp_path: Path) -> None:
    outcomes = run(range(24), tmp_path)
    print(table_of(outcomes))
    assert [outcome for outcome in outcomes if outcome.problems] == []
    assert sum(outcome.error is None for outcome in outcomes) > 6, "faults so hard that nothing passes show nothing"
    assert sum(outcome.resent for outcome in outcomes) > 0, "faults that never strike show nothing"
