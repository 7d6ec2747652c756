"""kill -9 in the middle of a delivery, several times; see ``kills.py`` for the whole."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.core.kills import kill_again_and_again


@pytest.mark.slow
def test_the_tries_after_each_kill_send_what_is_missing_and_admit_what_they_repeat(tmp_path: Path) -> None:
    story = kill_again_and_again(tmp_path, rows=60_000, kills=3)
    print("\n".join(story.lines))
    assert story.problems == []
    assert story.rows_after_dedup == 60_000
    assert all(before <= after for before, after in pairwise(story.skipped))
    assert story.skipped[-1] > story.skipped[0] == 0
