"""The command line, run as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli_runner import cli_runner
from zerobus_core import ClientCredentials
from zerobus_local import LocalZerobus, LocalZerobusProcess
from zerobus_local.catalog.catalog import Catalog
from zerobus_local.cli import main

COMMAND = [sys.executable, "-m", "zerobus_local"]


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[LocalZerobusProcess]:
    with LocalZerobusProcess.start(tmp_path / "data") as process:
        yield process


def test_a_table_is_made_before_any_server_runs_and_found_by_it(tmp_path: Path) -> None:
    data = ["--data", str(tmp_path)]
    made = run("create-table", *data, "CREATE TABLE main.default.t (id BIGINT NOT NULL, name STRING)")
    assert made.returncode == 0, made.stderr
    assert str(tmp_path / "tables" / "main" / "default" / "t") in made.stdout
    with LocalZerobus.start(tmp_path) as server:
        assert server.read("main.default.t").num_rows == 0
    listed = run("tables", *data)
    assert "main.default.t  0 rows" in listed.stdout
    assert "id bigint not null, name string" in listed.stdout
    [line] = run("tables", *data, "--json").stdout.splitlines()
    assert json.loads(line)["columns"] == {"id": "bigint not null", "name": "string"}


def test_commands_go_through_the_server_that_has_the_folder(running: LocalZerobusProcess) -> None:
    data = ["--data", str(running.data)]
    assert run("create-table", *data, "CREATE TABLE main.default.t (x INT DEFAULT 1)").returncode == 0
    script = "ALTER TABLE main.default.t ADD COLUMN y INT; SELECT count(*) AS n FROM main.default.t"
    answer = run("sql", *data, "-", stdin=script)
    assert answer.stdout == '{"n": 0}\n'
    principal = json.loads(run("create-principal", *data, "other").stdout)
    assert run("sql", *data, f"GRANT SELECT ON TABLE main.default.t TO `{principal['client_id']}`").returncode == 0
    assert run("head", *data, "main.default.t").stdout == ""


def test_commands_wait_for_a_server_that_is_starting(tmp_path: Path) -> None:
    data = ["--data", str(tmp_path)]
    Catalog(tmp_path)
    catalog = tmp_path / "catalog.json"
    content = catalog.read_bytes()
    catalog.unlink()
    os.mkfifo(catalog)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*COMMAND, "serve", *data], **pipes) as server:
        with catalog.open("wb") as reading:  # from here on the server has the folder, and waits for its catalog
            create = [*COMMAND, "create-table", *data, "CREATE TABLE main.default.t (id BIGINT)"]
            command = subprocess.Popen(create, stderr=subprocess.STDOUT, **pipes)
            with pytest.raises(subprocess.TimeoutExpired):
                command.wait(5)
            reading.write(content)
        said, _ = command.communicate(timeout=300)
        assert command.returncode == 0, said
        assert "created table main.default.t" in said
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=300)
    assert Catalog(tmp_path).table("main.default.t")


def test_sql_prints_the_same_with_and_without_a_server(tmp_path: Path) -> None:
    data = ["--data", str(tmp_path)]
    script = "SELECT 1 AS n, 1.5 AS x, 'a' AS s, NULL AS nothing, true AS b"
    with LocalZerobusProcess.start(tmp_path):
        with_server = run("sql", *data, script)
    without = run("sql", *data, script)
    assert with_server.stdout == '{"n": 1, "x": 1.5, "s": "a", "nothing": null, "b": true}\n'
    assert (without.stdout, without.stderr) == (with_server.stdout, with_server.stderr)


def test_a_shell_takes_the_variables_that_point_clients_at_the_server(running: LocalZerobusProcess) -> None:
    printed = run("env", "--data", str(running.data)).stdout
    variables = 'printf "%s\n%s" "$DATABRICKS_CLIENT_SECRET" "$AIRFLOW_CONN_ZEROBUS_DEFAULT"'
    shell = subprocess.run(
        ["bash", "-c", f'eval "$1"; {variables}', "bash", printed], capture_output=True, text=True, check=True
    )
    secret, connection = shell.stdout.splitlines()
    credentials = running.workspace.credentials
    assert isinstance(credentials, ClientCredentials)
    assert secret == credentials.client_secret
    assert json.loads(connection)["extra"] == {"endpoint": running.endpoint}


def test_the_variables_of_a_server_that_does_not_run_are_not_guessed(tmp_path: Path) -> None:
    ended = run("env", "--data", str(tmp_path), "--wait", "0")
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "no server is running" in ended.stderr


def test_faults_are_switched_on_a_running_server(running: LocalZerobusProcess) -> None:
    data = ["--data", str(running.data)]
    added = run("faults", "add", *data, '{"action": "refuse_open", "status": "UNAVAILABLE", "times": 1}')
    assert added.stdout == "1\n"
    assert [rule["action"] for rule in running.faults.list().values()] == ["refuse_open"]
    assert '"refuse_open"' in run("faults", "list", *data).stdout
    assert run("faults", "clear", *data, "1").returncode == 0
    assert running.faults.list() == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["create-table", "CREATE TABEL main.default.t (x INT)"], "line 1: 'CREATE TABEL"),
        (["create-table", "DROP TABLE main.default.t"], "a single CREATE TABLE statement"),
        (["sql", "DROP TABLE main.default.t"], "Table 'main.default.t' does not exist"),
        (["sql", ""], "no SQL statement"),
        (["head", "main.default.t"], "Table 'main.default.t' does not exist"),
        (["head", "../../etc"], "is not a table name"),
        (["faults", "list"], "no server is running"),
        (["faults", "add", "{"], "is not valid JSON"),
        (["create-principal", " "], "not a valid name for a service principal"),
        (["serve", "--host", "0.0.0.0"], "can be reached from other machines"),
        (["serve", "--fault", '{"action": "fly"}'], "unknown fault 'fly'"),
        (["serve", "--fault", '{"action": "delay_ack", "seconds": Infinity}'], "seconds inf"),
        (["serve", "--ack-delay", "inf"], "ack_delay must be from 0 to"),
        (["serve", "--open-delay", "nan"], "open_delay must be from 0 to"),
        (["serve", "--grpc-port", "x"], "'x' is not a valid integer"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_ends_with_a_clear_line_and_a_bad_exit_code(tmp_path: Path, arguments: list[str], says: str) -> None:
    Catalog(tmp_path)
    ended = cli_runner(env={"ZEROBUS_LOCAL_DATA": str(tmp_path)}).invoke(main, arguments)
    assert ended.exit_code in {1, 2}
    assert says in ended.stderr
    assert isinstance(ended.exception, SystemExit)
    assert ended.stdout == ""


def test_a_folder_that_is_none_of_ours_is_said_so(tmp_path: Path) -> None:
    ended = run("tables", "--data", str(tmp_path / "nothing"))
    assert ended.returncode == 1
    assert "is not a data folder of zerobus-local" in ended.stderr
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_says_where_it_is_in_its_first_line_and_ends_in_order_on_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = [*COMMAND, "serve", "--data", str(tmp_path), "--max-stream-life", "0", "--rows-per-second", "100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = json.loads(process.stdout.readline())
        assert list(printed) == ["endpoint", "workspace_url", "client_id", "client_secret", "data"]
        assert printed["data"] == str(tmp_path)
        assert httpx.get(f"{printed['workspace_url']}/").status_code == 200
        for _ in range(3):  # as a launcher may, which passes on what its group gets too
            process.send_signal(number)
        rest, errors = process.communicate(timeout=120)
    assert (process.returncode, rest) == (0, "")
    assert printed["client_secret"] not in errors
    LocalZerobus.start(tmp_path).stop()
