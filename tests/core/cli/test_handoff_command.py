"""``zerobus-ingest handoff``, as a user calls it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from zerobus_core import Handoff, NewFiles
from zerobus_core.handoffs import Owner
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


def test_the_lease_of_a_run_that_died_keeps_the_slice_until_a_person_ends_it(
    command_line: CommandLine, zerobus: LocalZerobus, table_name: str, landing: Path
) -> None:
    (landing / "a.jsonl").write_text('{"id": 1}\n')
    source = NewFiles(landing)
    run = Handoff(zerobus.workspace, table_name, source, state="s.json", owner=Owner(key="run1"))
    slice_id = run.split(2)[0]["slice"]

    def handoff(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        given = ["landing", "--table", table_name, "--state", "s.json", *arguments]
        return command_line(zerobus.workspace, "handoff", command, *given)

    refused = handoff("skip", slice_id, "--yes")
    assert (refused.returncode, "its lease lasts until" in refused.stderr) == (75, True), refused.stderr
    unclear = handoff("release", "--lease", "--file", "a.jsonl", "--yes")
    assert (unclear.returncode, "not both" in unclear.stderr) == (2, True)
    assert json.loads(handoff("show").stdout)["open"]["is_held"]
    assert not json.loads(handoff("release", "--lease", "--yes").stdout)["open"]["is_held"]
    assert json.loads(handoff("run", "-q").stdout)["rows_acked"] == 1
    assert handoff("release", "--lease", "--yes").returncode != 0


def test_rows_by_the_name_of_a_function(
    command_line: CommandLine, zerobus: LocalZerobus, table_name: str, landing: Path
) -> None:
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
        (["--settle", "3"], "apply only to a directory or glob"),
        (["--from", "a"], "--from needs --to"),
    ]:
        refused = command_line(zerobus.workspace, "handoff", "run", *arguments, *more, "-q")
        assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr
    missing = command_line(zerobus.workspace, "handoff", "show", "no_such:thing", *arguments[1:])
    assert (missing.returncode, "cannot be imported" in missing.stderr) == (2, True)
    assert os.listdir(landing) == []


def test_an_explicit_slice_of_files_leaves_the_state_alone(
    command_line: CommandLine, zerobus: LocalZerobus, table_name: str, landing: Path
) -> None:
    def run(*more: str) -> CompletedProcess[str]:
        return command_line(
            zerobus.workspace, "handoff", "run", "landing/*.jsonl", *more, "--table", table_name, "--state", "s.json",
            "-q",
        )  # fmt: skip

    for number, name in enumerate("abcd"):
        write(landing, f"{name}.jsonl", number)
    assert run().returncode == 0
    before = Path("s.json").read_bytes()
    part = json.loads(run("--from", "a.jsonl", "--to", "c.jsonl").stdout)
    assert (part["rows_acked"], part["rows_redelivered"], part["handoff"]["slice"][:9]) == (2, 2, "explicit-")
    start = json.loads(run("--to", "b.jsonl").stdout)
    assert (start["rows_redelivered"], start["handoff"]["from"], start["handoff"]["to"]) == (2, 0, "b.jsonl")
    nothing = run("--from", "x", "--to", "y")
    assert (nothing.returncode, "holds no file after" in nothing.stderr) == (2, True)
    assert Path("s.json").read_bytes() == before
    assert json.loads(run().stdout)["rows_read"] == 0
    assert sorted(zerobus.read(table_name).column("id").to_pylist()) == [0, 0, 1, 1, 1, 2, 2, 3]


def test_an_explicit_slice_of_rows_leaves_the_state_alone_also_while_a_slice_is_open(
    command_line: CommandLine, zerobus: LocalZerobus, table_name: str, landing: Path
) -> None:
    Path("my_sources.py").write_text(ORDERS.replace('column="note"', 'column="id"'))
    connection = sqlite3.connect("orders.db")
    connection.execute("CREATE TABLE orders (id INTEGER, note TEXT)")
    connection.executemany("INSERT INTO orders VALUES (?, 'x')", [(number,) for number in range(10)])
    connection.commit()
    connection.close()

    def run(*more: str) -> CompletedProcess[str]:
        return command_line(
            zerobus.workspace, "handoff", "run", "my_sources:orders", *more, "--table", table_name, "--state",
            "s.json", "-q",
        )  # fmt: skip

    explicit = json.loads(run("--from", "2", "--to", "4").stdout)
    assert (explicit["rows_redelivered"], explicit["handoff"]["from"], explicit["handoff"]["to"]) == (2, 2, 4)
    assert not Path("s.json").exists()
    assert json.loads(run().stdout)["rows_acked"] == 10
    before = Path("s.json").read_bytes()
    assert json.loads(run("--from", "7", "--to", "9").stdout)["rows_redelivered"] == 2
    assert Path("s.json").read_bytes() == before
    assert run("--from", "x", "--to", "9").returncode == 2


def test_a_file_is_released_only_from_the_slice_that_is_named(
    command_line: CommandLine, zerobus: LocalZerobus, table_name: str, landing: Path
) -> None:
    def handoff(command: str, *more: str) -> CompletedProcess[str]:
        return command_line(
            zerobus.workspace, "handoff", command, "landing/*.jsonl", *more, "--table", table_name, "--state", "s.json"
        )

    write(landing, "a.jsonl", 1)
    (landing / "b.jsonl").write_text("{ not JSON\n")
    assert handoff("run", "-q").returncode == 65
    slice_id = json.loads(handoff("show").stdout)["open"]["slice"]
    before = Path("s.json").read_bytes()
    for file, wrong, words in [
        ("b.jsonl", "000009-x", f"open now: {slice_id}"),
        ("z.jsonl", slice_id, "neither in the open slice nor in"),
    ]:
        refused = handoff("release", "--slice", wrong, "--file", file, "--yes")
        assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr
    assert Path("s.json").read_bytes() == before
    released = json.loads(handoff("release", "--slice", slice_id, "--file", "b.jsonl", "--yes").stdout)
    assert released["open"]["left_out"] == ["b.jsonl"]
    receipt = json.loads(handoff("run", "-q").stdout)
    assert (receipt["rows_resent"], receipt["handoff"]["left_out"]) == (0, ["b.jsonl"])
    assert zerobus.read(table_name).column("id").to_pylist() == [1]


def test_a_command_does_as_on_busy_says_while_another_run_delivers(
    command_line: CommandLine,
    started_command: Callable[..., subprocess.Popen[bytes]],
    zerobus: LocalZerobus,
    table_name: str,
    landing: Path,
) -> None:
    write(landing, "a.jsonl", 1)
    holder = Handoff(
        zerobus.workspace, table_name, NewFiles("landing/*.jsonl"), state="s.json", owner=Owner(key="dag/run1/task")
    )
    holder.freeze()
    write(landing, "b.jsonl", 2)
    arguments = ["handoff", "run", "landing/*.jsonl", "--table", table_name, "--state", "s.json", "-q"]
    failed = command_line(zerobus.workspace, *arguments)
    assert (failed.returncode, "dag/run1/task" in failed.stderr) == (75, True), failed.stderr
    skipped = json.loads(command_line(zerobus.workspace, *arguments, "--on-busy", "skip").stdout)
    assert (skipped["rows_read"], "dag/run1/task" in skipped["handoff"]["busy"]) == (0, True)
    late = command_line(zerobus.workspace, *arguments, "--on-busy", "wait", "--timeout", "0.5")
    assert (late.returncode, "dag/run1/task" in late.stderr) == (75, True), late.stderr
    assert zerobus.read(table_name).num_rows == 0
    waiting = started_command(zerobus.workspace, *arguments, "--on-busy", "wait")
    assert holder.deliver().rows_acked == 1
    holder.finish()
    output, errors = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, errors
    assert json.loads(output)["rows_acked"] == 1
    assert sorted(zerobus.read(table_name).column("id").to_pylist()) == [1, 2]
