"""``zerobus-ingest push`` as a user runs it: a child process, its streams, its exit code and its signals."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from tests.cli_runner import cli_runner
from tests.core.conftest import CommandLine
from zerobus_core import ClientCredentials, Workspace
from zerobus_core.checkpoint import Checkpoint
from zerobus_core.cli import main
from zerobus_local import LocalZerobus

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Started = Callable[..., "subprocess.Popen[bytes]"]
TABLE = "main.default.t"
# A signal takes effect within a second; ten times that, for a machine that is busy with other tests.
AT_ONCE = 10.0


def environment(workspace: Workspace) -> dict[str, str]:
    assert isinstance(workspace.credentials, ClientCredentials)
    return {
        "ZEROBUS_SERVER_ENDPOINT": workspace.endpoint,
        "DATABRICKS_HOST": workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": workspace.credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": workspace.credentials.client_secret,
    }


def lines(rows: range) -> str:
    return "".join(json.dumps({"id": n, "name": f"row {n}"}) + "\n" for n in rows)


def ids(server: LocalZerobus, table: str = TABLE) -> list[int]:
    return sorted(server.read(table)["id"].to_pylist())


@pytest.fixture
def table(server: LocalZerobus) -> str:
    server.create_table(f"CREATE TABLE {TABLE} (id BIGINT NOT NULL, name STRING)")
    return TABLE


def test_only_the_receipt_goes_to_stdout(
    server: LocalZerobus, table: str, tmp_path: Path, command_line: Command
) -> None:
    rows = pa.table({"id": range(20_000), "name": [f"row {n}" for n in range(20_000)]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    arguments = ["push", str(tmp_path / "rows.parquet"), "--table", table, "--streams", "2", "--batch-rows", "1000"]
    done = command_line(server.workspace, *arguments, "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    receipt = json.loads(done.stdout)
    assert (receipt["rows_read"], receipt["rows_acked"], receipt["record_format"]) == (20_000, 20_000, "arrow")
    assert ids(server) == list(range(20_000))


def test_a_second_push_with_the_checkpoint_finds_every_row_durable(
    server: LocalZerobus, table: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(range(100)))
    arguments = ["push", str(tmp_path / "rows.jsonl"), "--table", table, "--checkpoint", str(tmp_path / "kept.json")]
    first = json.loads(invoke(server.workspace, *arguments).stdout)
    assert (first["rows_read"], first["rows_acked"], first["rows_skipped"]) == (100, 100, 0)
    second = json.loads(invoke(server.workspace, *arguments).stdout)
    assert (second["rows_read"], second["rows_acked"], second["rows_skipped"]) == (100, 0, 100)
    another_epoch = json.loads(invoke(server.workspace, *arguments, "--epoch", "2").stdout)
    assert another_epoch["rows_acked"] == 100
    assert ids(server) == sorted([*range(100), *range(100)])


def test_a_bad_row_ends_in_65_and_nothing_on_stdout(server: LocalZerobus, table: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(range(3)) + '{"id": "x"}\n')
    done = invoke(server.workspace, "push", str(tmp_path / "rows.jsonl"), "--table", table)
    assert (done.exit_code, done.stdout) == (65, "")
    assert done.stderr.startswith(f"zerobus-ingest: {table}: 1 row does not fit the table")
    assert "row 3 (line 4), field id" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_may_pass_on_another_try_ends_in_75(server: LocalZerobus, table: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(range(3)))
    server.faults.add(action="refuse_open", status="UNAVAILABLE")
    arguments = ["push", str(tmp_path / "rows.jsonl"), "--table", table, "--max-attempts", "2", "--backoff", "0.01"]
    done = invoke(server.workspace, *arguments)
    assert (done.exit_code, done.stdout) == (75, "")
    assert "3 rows read, 0 acknowledged, 0 durable before, 3 not durable" in done.stderr


def test_a_receipt_that_nobody_reads_fails_nothing(server: LocalZerobus, table: str, started_command: Started) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = started_command(server.workspace, "push", "-", "--table", table, stdout=writer)
    os.close(writer)
    _, errors = process.communicate(lines(range(3)).encode(), timeout=120)
    assert process.returncode == 0
    assert b"the receipt cannot be written to stdout" in errors
    assert ids(server) == [0, 1, 2]


def test_rows_of_a_slow_writer_do_not_wait_for_the_pipe_to_close_and_a_terminal_shows_them(
    server: LocalZerobus, table: str, started_command: Started
) -> None:
    terminal, stderr = pty.openpty()
    process = started_command(server.workspace, "push", "-", "--table", table, stderr=stderr)
    os.close(stderr)
    drawn: list[str] = []
    screen = threading.Thread(target=lambda: drawn.extend(all_of(terminal)))
    screen.start()
    assert process.stdin is not None
    process.stdin.write(lines(range(2)).encode())
    process.stdin.flush()
    wait_until(lambda: ids(server) == [0, 1])
    output, _ = process.communicate(lines(range(2, 4)).encode(), timeout=120)
    screen.join()
    assert json.loads(output)["rows_acked"] == 4
    assert ids(server) == [0, 1, 2, 3]
    assert table in "".join(drawn)
    assert "rows/s" in "".join(drawn)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_pipe_is_silent_saves_the_checkpoint_and_counts(
    server: LocalZerobus, table: str, tmp_path: Path, started_command: Started, number: int, code: int
) -> None:
    process = endless(started_command, server.workspace, tmp_path)
    wait_until(lambda: ids(server) == [0, 1, 2])
    errors = ended_by(process, number, code)
    assert f"stopped by {signal.Signals(number).name}" in errors
    assert "3 rows read, 3 acknowledged, 0 durable before, 0 not durable" in errors
    assert list(saved(tmp_path).durable) == [(0, 3)]


def test_a_signal_while_acknowledgements_are_withheld_counts_what_is_durable(
    server: LocalZerobus, table: str, tmp_path: Path, started_command: Started
) -> None:
    server.faults.add(action="withhold_ack", message=[1, 2, 3])
    process = endless(started_command, server.workspace, tmp_path, "--batch-rows", "1")
    assert process.stdin is not None
    process.stdin.close()  # so that it waits for acknowledgements, and not for input
    wait_until(lambda: ids(server) == [0, 1, 2])
    errors = ended_by(process, signal.SIGTERM, 143)
    assert "stopped on request" in errors  # by itself: the signal did not have to break in
    assert "3 rows read, 1 acknowledged, 0 durable before, 2 not durable" in errors
    assert list(saved(tmp_path).durable) == [(0, 1)]


def invoke(workspace: Workspace, *arguments: str) -> Result:
    return cli_runner().invoke(main, arguments, env=environment(workspace))


def all_of(terminal: int) -> Iterator[str]:
    """What is drawn until nobody has the other end any more."""
    with suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as screen:
        while drawn := screen.read(4096):
            yield drawn.decode(errors="replace")


def endless(started_command: Started, workspace: Workspace, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A push of three rows whose pipe stays open."""
    options = ["--checkpoint", str(folder / "checkpoint.json"), "--source-version", "1"]
    process = started_command(workspace, "push", "-", "--table", TABLE, *options, *arguments)
    assert process.stdin is not None
    process.stdin.write(lines(range(3)).encode())
    process.stdin.flush()
    return process


def ended_by(process: subprocess.Popen[bytes], number: int, code: int) -> str:
    sent = time.monotonic()
    process.send_signal(number)
    assert process.wait(30) == code
    assert time.monotonic() - sent < AT_ONCE
    assert process.stderr is not None
    assert process.stdout is not None
    assert process.stdout.read() == b""
    return process.stderr.read().decode()


def saved(folder: Path) -> Checkpoint:
    return Checkpoint.from_json((folder / "checkpoint.json").read_text())


def wait_until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_several_sources_are_pushed_one_after_the_other(
    server: LocalZerobus, table: str, command_line: CommandLine, tmp_path: Path
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jsonl").write_text(f'{{"id": {number}}}\n')
    files = [str(tmp_path / f"{number}.jsonl") for number in (2, 0, 1)]
    done = command_line(server.workspace, "push", *files, "-t", table)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows_acked"] == 3
    assert sorted(ids(server)) == [0, 1, 2]


def test_the_table_can_come_last(server: LocalZerobus, table: str, command_line: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n')
    done = command_line(server.workspace, "push", str(tmp_path / "a.jsonl"), table, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["table"] == table


def test_a_dead_letter_file_says_what_to_do_with_bad_rows(
    server: LocalZerobus, table: str, command_line: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n{"id": "x"}\n')
    letters = tmp_path / "bad.jsonl"
    done = command_line(
        server.workspace, "push", str(tmp_path / "a.jsonl"), "-t", table, "--dead-letter-uri", str(letters)
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows_dead_lettered"] == 1


def test_a_quiet_push_still_says_that_it_cannot_connect(
    server: LocalZerobus, command_line: CommandLine, tmp_path: Path
) -> None:
    server.create_table("CREATE TABLE main.default.t (id BIGINT)")
    server.faults.add(action="hang_open")
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n')
    done = command_line(
        server.workspace, "push", str(tmp_path / "a.jsonl"), "-t", "main.default.t", "-q",
        "--open-timeout", "0.5", "--max-attempts", "2",
    )  # fmt: skip
    assert done.returncode == 75
    first, *_, last = done.stderr.splitlines()
    assert "connecting: attempt 1 of 2 failed" in first
    assert "check the endpoint (ZEROBUS_SERVER_ENDPOINT)" in last


def test_output_whose_reader_has_gone_ends_without_a_traceback(
    server: LocalZerobus, table: str, started_command: Callable[..., subprocess.Popen[bytes]]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    running = started_command(server.workspace, "schema", table, stdout=writing)
    os.close(writing)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 141
    assert errors == b""
