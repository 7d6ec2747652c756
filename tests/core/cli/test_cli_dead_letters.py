"""``zerobus-ingest dead-letters``: what it prints of a file, what it hides, and when a replay has succeeded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result

import zerobus_core
from tests.cli_runner import cli_runner
from tests.core.cli.test_cli_push import environment
from zerobus_core.cli import main
from zerobus_local import LocalZerobus

TABLE = "main.default.t"


@pytest.fixture
def letters(server: LocalZerobus, tmp_path: Path) -> Path:
    """A file with three letters of two reasons."""
    server.create_table(f"CREATE TABLE {TABLE} (id BIGINT, tags ARRAY<INT>)")
    rows = [
        {"id": "secret-name", "tags": []},
        {"id": 1, "tags": [1, "x"]},
        {"id": 2, "tags": ["y"]},
        {"id": 3, "tags": [3]},
    ]
    receipt = zerobus_core.ingest(
        server.workspace,
        TABLE,
        rows,
        options={"on_bad_record": "dead_letter", "dead_letter_uri": str(tmp_path / "bad.jsonl")},
    )
    assert (receipt.rows_acked, receipt.rows_dead_lettered) == (1, 3)
    return tmp_path / "bad.jsonl"


def run(*arguments: str, server: LocalZerobus | None = None) -> Result:
    return cli_runner().invoke(main, ["dead-letters", *arguments], env=environment(server.workspace) if server else {})


def test_reasons_are_counted_and_values_are_hidden(letters: Path) -> None:
    shown = run("show", str(letters))
    assert shown.exit_code == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0] == f"{letters}: 3 dead letters"
    assert lines[1] == f"{TABLE}:"
    assert lines[2].startswith("        2  tags[…]: ")
    assert lines[3].startswith("        1  id: ")
    assert "secret-name" not in shown.stdout
    assert '    {"id": "<str>", "tags": []}' in lines
    assert '    {"id": "<int>", "tags": ["<int>", "<str>"]}' in lines
    assert "secret-name" in run("show", str(letters), "--values").stdout


def test_json_counts_every_letter_and_holds_as_many_rows_as_the_limit(letters: Path) -> None:
    found = json.loads(run("show", str(letters), "--json", "--limit", "1", "--values").stdout)
    assert (found["letters"], [reason["rows"] for reason in found["reasons"]]) == (3, [2, 1])
    assert [(row["position"], row["record"]) for row in found["rows"]] == [
        ("row 0", {"id": {"$text": "secret-name"}, "tags": []})
    ]
    assert json.loads(run("show", str(letters), "--json", "--table", "main.default.other").stdout)["letters"] == 0


def test_a_replay_succeeds_only_if_every_row_is_durable(server: LocalZerobus, letters: Path) -> None:
    failed = run("replay", str(letters), server=server)
    assert (failed.exit_code, failed.stdout) == (65, "")
    assert "row 0, field id" in failed.stderr
    letters.write_text(letters.read_text().replace('"secret-name"', "9").replace('"x"', "7").replace('"y"', "8"))
    arguments = ("replay", str(letters), "--checkpoint", str(letters) + ".checkpoint")
    replayed = run(*arguments, server=server)
    assert replayed.exit_code == 0, replayed.stderr
    receipt = json.loads(replayed.stdout)
    assert (receipt["table"], receipt["rows_read"], receipt["rows_acked"]) == (TABLE, 3, 3)
    assert json.loads(run(*arguments, server=server).stdout)["rows_skipped"] == 3
    assert sorted(server.read(TABLE)["id"].to_pylist()) == [1, 2, 3, 9]


def test_rows_that_still_do_not_fit_go_to_another_file_only(
    server: LocalZerobus, letters: Path, tmp_path: Path
) -> None:
    same = run("replay", str(letters), "--dead-letter-uri", str(letters), server=server)
    assert same.exit_code == 2
    assert "name another file" in same.stderr
    other = run("replay", str(letters), "--dead-letter-uri", str(tmp_path / "again.jsonl"), server=server)
    assert other.exit_code == 0, other.stderr
    assert json.loads(other.stdout)["rows_dead_lettered"] == 3
    assert run("show", str(tmp_path / "again.jsonl")).stdout.startswith(f"{tmp_path / 'again.jsonl'}: 3 dead letters")


def test_a_file_that_is_missing_or_of_something_else_is_refused(tmp_path: Path) -> None:
    missing = run("show", str(tmp_path / "none.jsonl"))
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert "there is no dead-letter file" in missing.stderr
    (tmp_path / "rows.jsonl").write_text('{"id": 1}\n')
    assert "is not a dead-letter file" in run("show", str(tmp_path / "rows.jsonl")).stderr
