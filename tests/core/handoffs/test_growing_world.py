"""A few schedules of the growing world; ``python -m tests.core.handoffs.growing_world`` plays as many as wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.handoffs.growing_world import figures, world
from tests.services.databases import Postgres


@pytest.mark.slow
def test_new_files_of_a_growing_folder_arrive_once(tmp_path: Path) -> None:
    with world("files", tmp_path) as schedule:
        outcomes = [schedule(seed) for seed in range(4)]
    print(figures(outcomes))
    for outcome in outcomes:
        outcome.check()


@pytest.mark.slow
def test_new_rows_of_a_growing_postgresql_table_arrive_once(tmp_path: Path, postgres: Postgres) -> None:
    with world("rows", tmp_path, postgres) as schedule:
        outcomes = [schedule(seed) for seed in range(4)]
    print(figures(outcomes))
    for outcome in outcomes:
        outcome.check()
