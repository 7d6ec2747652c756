"""SHOW TABLES, DESCRIBE, INSERT and DELETE on the local tables, and the command line around them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zerobus_core import ingest
from zerobus_local import InvalidRequest, LocalZerobus

TABLE = "main.default.t"


@pytest.fixture
def server(server: LocalZerobus) -> Iterator[LocalZerobus]:
    server.sql(f"CREATE TABLE {TABLE} (id BIGINT NOT NULL COMMENT 'key', n INT, CONSTRAINT positive CHECK (n > 0))")
    return server


def rows_of(server: LocalZerobus, sql: str) -> list[dict[str, Any]]:
    return server.sql(sql)[-1].rows.to_pylist()


def test_tables_are_shown_all_of_them_or_those_of_a_schema(server: LocalZerobus) -> None:
    server.sql("CREATE SCHEMA main.other; CREATE TABLE main.other.u (x INT)")
    shown = rows_of(server, "SHOW TABLES")
    assert [(row["database"], row["tableName"]) for row in shown] == [("main.default", "t"), ("main.other", "u")]
    assert rows_of(server, "show tables in `main`.other") == [
        {"database": "main.other", "tableName": "u", "isTemporary": False}
    ]


@pytest.mark.parametrize("sql", [f"DESCRIBE {TABLE}", f"DESCRIBE TABLE {TABLE}", f"DESC {TABLE}"])
def test_a_table_is_described(server: LocalZerobus, sql: str) -> None:
    assert rows_of(server, sql) == [
        {"col_name": "id", "data_type": "bigint not null", "comment": "key"},
        {"col_name": "n", "data_type": "int", "comment": None},
    ]


def test_rows_are_inserted_and_deleted_beside_a_delivery(server: LocalZerobus) -> None:
    ingest(server.workspace, TABLE, [{"id": 1, "n": 1}])
    assert server.sql(f"INSERT INTO {TABLE} VALUES (2, 5), (3, 9)")[0].message == f"inserted 2 rows into {TABLE}"
    server.sql(f"INSERT INTO {TABLE} (n, id) SELECT n, id + 10 FROM {TABLE} WHERE id < 3")
    assert server.sql(f"DELETE FROM {TABLE} WHERE id = 1")[0].message == f"deleted 1 row from {TABLE}"
    ingest(server.workspace, TABLE, [{"id": 4, "n": 1}])
    assert sorted(server.read(TABLE)["id"].to_pylist()) == [2, 3, 4, 11, 12]
    server.sql(f"DELETE FROM {TABLE}")
    assert server.read(TABLE).num_rows == 0


def test_text_is_inserted_and_cast_to_the_type_of_its_column(server: LocalZerobus) -> None:
    server.sql("CREATE TABLE main.default.notes (id INT, note STRING)")
    server.sql("INSERT INTO main.default.notes VALUES ('12', 'a note longer than a view holds by itself'), (13, NULL)")
    rows = server.read("main.default.notes").sort_by("id").to_pylist()
    assert rows == [{"id": 12, "note": "a note longer than a view holds by itself"}, {"id": 13, "note": None}]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (f"INSERT INTO {TABLE} VALUES (1)", "1 value for 2 columns: id, n"),
        (f"INSERT INTO {TABLE} (nope) VALUES (1)", "has no column nope; it has id, n"),
        (f"INSERT INTO {TABLE} (id, ID) VALUES (1, 2)", "a column is named twice"),
        (f"INSERT INTO {TABLE} (n) VALUES (1)", "column id is NOT NULL, but a row has no value for it"),
        (f"INSERT INTO {TABLE} VALUES ('a', 1)", "column id: Failed to parse string: 'a'"),
        (f"INSERT INTO {TABLE} VALUES (1, -1)", "the rows do not fit main.default.t"),
        (f"DELETE FROM {TABLE} WHERE nope = 1", "the rows of main.default.t cannot be deleted"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_and_changes_nothing(
    server: LocalZerobus, sql: str, message: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        server.sql(sql)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert server.read(TABLE).num_rows == 0


def command(*arguments: str, before: str = "", stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    script = f"{before}\nimport sys\nfrom zerobus_local.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_command_prints_what_it_shows(server: LocalZerobus) -> None:
    done = command("sql", "--data", str(server.data), "SHOW TABLES")
    assert json.loads(done.stdout)["tableName"] == "t"


@pytest.mark.parametrize("flag", ["--grpc-port", "--http-port"])
def test_a_port_that_is_in_use_is_named_in_one_line(tmp_path: Path, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("serve", "--data", str(tmp_path / "data"), flag, str(port))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"Error: cannot listen on 127.0.0.1:{port}: Address already in use"
    assert "Traceback" not in done.stderr
    assert "add_port" not in done.stderr


@pytest.mark.parametrize(
    ("package", "arguments"),
    [("grpc", ("serve",)), ("sqlglot", ("create-table", f"CREATE TABLE {TABLE} (x INT)")), ("deltalake", ("tables",))],
)
def test_a_missing_extra_is_named_with_what_to_install(
    server: LocalZerobus, package: str, arguments: tuple[str, ...]
) -> None:
    before = f"import sys\nsys.modules[{package!r}] = None"
    done = command(arguments[0], "--data", str(server.data), *arguments[1:], before=before)
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: zerobus-local needs {package}, which is not installed: pip install 'zerobus-orchestration[local]'\n"
    )


def test_a_reader_that_has_gone_ends_the_output_quietly(server: LocalZerobus) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = command("tables", "--data", str(server.data), stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
