"""``zerobus-ingest handoff``, as a user calls it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from zerobus_local import LocalZerobus

CommandLine = Callable[..., "CompletedProcess[str]"]

ORDERS = """
import sqlite3
from zerobus_core import NewRows

def orders():
    return NewRows(lambda: sqlite3.connect("orders.db"), "SELECT * FROM orders", column="note", key="id", lag_rows=0)
"""


@pytest.fixture
def landing(zerobus: LocalZerobus, table_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, note STRING)")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


def write(folder: Path, name: str, *ids: int) -> None:
    (folder / name).write_text("".join(f'{{"id": {number}}}\n' for number in ids))


def test_files_from_run_to_rewind(
    command_line: CommandLine, zerobus: LocalZerobus, table_name: str, landing: Path
) -> None:
    def handoff(command: str, *more: str, input: str = "") -> CompletedProcess[str]:
        return command_line(
            zerobus.workspace, "handoff", command, "landing/*.jsonl", *more, "--table", table_name, "--state", "s.json",
            input=input,
        )  # fmt: skip

    write(landing, "a.jsonl", 1, 2)
    first = handoff("run", "--settle", "0", "-q")
    assert first.returncode == 0, first.stderr
    receipt = json.loads(first.stdout)
    assert (receipt["rows_acked"], receipt["handoff"]["files"]) == (2, 1)
    assert json.loads(handoff("run", "-q").stdout)["rows_read"] == 0

    write(landing, "b.jsonl", 3)
    (landing / "c.jsonl").write_text("{ not JSON\n")
    failed = handoff("run", "-q")
    assert failed.returncode == 65, failed.stderr
    shown = json.loads(handoff("show").stdout)
    assert shown["open"]["files"] == 2
    assert not shown["open"]["is_held"]

    unsure = handoff("release", "--file", "c.jsonl", input="n\n")
    assert (unsure.returncode, "nothing was changed" in unsure.stderr) == (2, True)
    assert handoff("release", "--file", "c.jsonl", input="y\n").returncode == 0
    assert json.loads(handoff("run", "-q").stdout)["handoff"]["files"] == 1

    slice_id = json.loads(handoff("show").stdout)["history"][0]["slice"]
    assert handoff("rewind", "--to", slice_id, "--yes").returncode == 0
    assert json.loads(handoff("run", "-q").stdout)["rows_acked"] == 3
    explicit = handoff("run", "--from", "a.jsonl", "--to", "b.jsonl", "-q")
    assert json.loads(explicit.stdout)["rows_redelivered"] == 1, explicit.stderr
    stored = sorted(zerobus.read(table_name).column("id").to_pylist())
    assert [number for number in stored if number != 3].count(1) == 2
    assert set(stored) == {1, 2, 3}


def test_a_poison_slice_is_skipped(
    command_line: CommandLine, zerobus: LocalZerobus, table_name: str, landing: Path
) -> None:
    (landing / "a.jsonl").write_text("{ not JSON\n")
    arguments = ["--table", table_name, "--state", "s.json"]
    assert command_line(zerobus.workspace, "handoff", "run", "landing", *arguments, "-q").returncode != 0
    shown = json.loads(command_line(zerobus.workspace, "handoff", "show", "landing", *arguments).stdout)
    done = command_line(
        zerobus.workspace, "handoff", "skip", "landing", shown["open"]["slice"], *arguments, input="y\n"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["history"][-1]["outcome"] == "skipped"
    assert command_line(zerobus.workspace, "handoff", "run", "landing", *arguments, "-q").returncode == 0


def test_rows_by_the_name_of_a_function(
    command_line: CommandLine, zerobus: LocalZerobus, table_name: str, landing: Path
) -> None:
    import sqlite3

    Path("my_sources.py").write_text(ORDERS)
    connection = sqlite3.connect("orders.db")
    connection.execute("CREATE TABLE orders (id INTEGER, note TEXT)")
    connection.execute("INSERT INTO orders VALUES (1, 'secret@example.com')")
    connection.commit()
    connection.close()
    arguments = ["my_sources:orders", "--table", table_name, "--state", "s.json"]
    done = command_line(zerobus.workspace, "handoff", "run", *arguments, "-q")
    assert done.returncode == 0, done.stderr
    masked = command_line(zerobus.workspace, "handoff", "show", *arguments)
    assert "secret" not in masked.stdout
    assert "secret" in command_line(zerobus.workspace, "handoff", "show", *arguments, "--values").stdout
    for more, words in [
        (["--settle", "3"], "are for a directory or glob"),
        (["--from", "a"], "--from needs --to"),
    ]:
        refused = command_line(zerobus.workspace, "handoff", "run", *arguments, *more, "-q")
        assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr
    missing = command_line(zerobus.workspace, "handoff", "show", "no_such:thing", *arguments[1:])
    assert (missing.returncode, "names nothing" in missing.stderr) == (2, True)
    assert os.listdir(landing) == []
