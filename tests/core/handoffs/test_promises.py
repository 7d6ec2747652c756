"""What the guide promises of handoffs has a test, by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.core.handoffs.test_bad_input import BAD

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "handoff.md").read_text()

INTERPLAY = "core/handoffs/test_handoff_interplay.py"
DAGSTER = "dagster_integration/test_dagster_handoff.py"
AIRFLOW = "airflow_provider/test_airflow_handoff.py"
POSTGRES = "core/handoffs/test_new_rows_of_databases.py"

# By the first cell of each line of the table "With other options".
OPTIONS: dict[str, list[tuple[str, str]]] = {
    "dead letters": [
        (INTERPLAY, "test_a_slice_whose_bad_rows_are_dead_letters_is_done_and_their_replay_leaves_the_state_alone")
    ],
    "`delivery_columns`": [(INTERPLAY, "test_delivery_columns_are_the_same_when_a_slice_is_sent_again")],
    "`delivery_name`, `source_version`": [(INTERPLAY, "test_names_of_deliveries_are_the_handoffs_own")],
    '`resume="never"`': [
        (AIRFLOW, "test_what_does_not_belong_together_is_refused_when_the_dag_is_parsed"),
        (DAGSTER, "test_what_does_not_go_with_a_handoff_is_refused"),
        (DAGSTER, "test_the_component_refuses_at_load_what_cannot_be"),
    ],
    '`resume="always"` (Dagster)': [
        (DAGSTER, "test_what_does_not_go_with_a_handoff_is_refused"),
        (DAGSTER, "test_the_component_refuses_at_load_what_cannot_be"),
    ],
    '`on_rematerialize="refuse"` (Dagster)': [
        (DAGSTER, "test_what_does_not_go_with_a_handoff_is_refused"),
        (DAGSTER, "test_the_component_refuses_at_load_what_cannot_be"),
    ],
    "a schema change in an open slice": [
        (INTERPLAY, "test_a_schema_change_in_an_open_slice_starts_the_slice_over_and_counts_that")
    ],
    "an interrupted slice whose rows have changed (updated rows, other items)": [
        (INTERPLAY, "test_rows_that_have_changed_start_the_slice_over_and_are_counted"),
        (INTERPLAY, "test_other_items_on_a_retry_start_the_slice_over_and_are_counted"),
    ],
}

# The kinds of columns that say what is new.
COLUMNS: dict[str, tuple[str, str, str]] = {
    "timestamptz": (POSTGRES, "test_a_watermark_survives_the_state", '"timestamptz": ('),
    "bigint": (POSTGRES, "test_a_watermark_survives_the_state", '"bigint": ('),
    "numeric": (POSTGRES, "test_a_watermark_survives_the_state", '"numeric": ('),
    "uuid v7": (POSTGRES, "test_a_watermark_survives_the_state", "-774b-"),
    "SQLite text": ("core/handoffs/test_new_rows.py", "test_each_run_delivers_the_rows_after_the_last_watermark", ""),
    "DuckDB": ("core/handoffs/test_new_rows.py", "test_duckdb_times_within_lag_wait", ""),
    "MariaDB": (POSTGRES, "test_new_rows_of_mariadb", ""),
}


def lines_of(heading: str) -> list[str]:
    """The first cells of the lines of the first table of a section."""
    section = GUIDE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)
    return rows[1:]


def has_test(file: str, name: str) -> bool:
    return f"def {name}(" in (ROOT / "tests" / file).read_text()


def test_each_line_about_other_options_has_a_test() -> None:
    assert lines_of("With other options") == list(OPTIONS)


@pytest.mark.parametrize("line", OPTIONS)
def test_the_tests_of_a_line_are_there(line: str) -> None:
    missing = [one for one in OPTIONS[line] if not has_test(*one)]
    assert not missing


def test_each_bad_input_of_the_guide_has_a_test_and_is_in_the_guide() -> None:
    section = GUIDE.partition("\n## What is refused\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\* ([^:]+)", section, re.MULTILINE) == list(BAD)


@pytest.mark.parametrize("kind", COLUMNS)
def test_each_kind_of_column_has_a_test(kind: str) -> None:
    file, name, text = COLUMNS[kind]
    assert has_test(file, name)
    assert text in (ROOT / "tests" / file).read_text()
