"""A statement that a crash interrupts, at whatever moment, was carried out or was not, and can be repeated."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import pytest
from deltalake import DeltaTable

from zerobus_core import ingest
from zerobus_local import LocalZerobus
from zerobus_local.catalog.catalog import Catalog
from zerobus_local.storage.insert import insert_json_rows
from zerobus_local.storage.storage import Storage

# Carries a statement out on copies of a folder, each time in a process that kills itself one step later: before a
# file or a folder is made, renamed or deleted.  A Delta commit, which Python does not see, lies between two steps.
CRASHES = """
import os, pathlib, shutil, signal, sys
from zerobus_local.catalog.catalog import Catalog
from zerobus_local.sql import script
folder, statement = pathlib.Path(sys.argv[1]), sys.argv[2]
steps = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}
code = -1
number = 0
while code:
    copy = pathlib.Path(f"{folder}.{number:03}")
    shutil.copytree(folder, copy)
    child = os.fork()
    if child == 0:
        left = [number]
        def kill_later(event, arguments):
            if event in steps and (event != "open" or str(arguments[0]).startswith(str(copy))):
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
        sys.addaudithook(kill_later)
        Catalog(copy).execute(statement)
        os._exit(0)
    code = os.waitpid(child, 0)[1]
    assert code in (0, signal.SIGKILL), code
    print(copy)
    number += 1
"""

Seen: TypeAlias = dict[str, object]


def crashed(folder: Path, statement: str) -> list[Path]:
    """The folders that crashes leave, from the first step on; the statement came to its end in the last one."""
    command = [sys.executable, "-c", CRASHES, str(folder), statement]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert ended.returncode == 0, ended.stderr
    return [Path(line) for line in ended.stdout.splitlines()]


def seen(folder: Path) -> Seen:
    """What the catalog says, and the rows; each Delta table is what the catalog says it is."""
    catalog = Catalog(folder)
    tables: Seen = {}
    for table in catalog.tables():
        delta = DeltaTable(table.path)
        assert delta.schema() == table.delta_schema
        configuration = {f"delta.constraints.{check.name}": check.sql for check in table.checks}
        assert delta.metadata().configuration == configuration
        assert (delta.metadata().description or None) == table.comment
        assert delta.metadata().partition_columns == list(table.partition_by)
        rows = delta.to_pyarrow_table().to_pylist()
        tables[table.full_name] = (table.columns, table.checks, table.comment, table.partition_by, rows)
    state = catalog.state
    return {"tables": tables, "grants": state.grants, "catalogs": set(state.catalogs), "schemas": set(state.schemas)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    catalog = Catalog(tmp_path / "data")
    other = catalog.principals.create("other")
    catalog.execute(
        f"""CREATE TABLE main.default.t (id BIGINT NOT NULL, note STRING, CONSTRAINT p CHECK (id > 0));
        GRANT SELECT ON TABLE main.default.t TO `{other.client_id}`;
        CREATE SCHEMA main.s; CREATE TABLE main.s.a (x INT); CREATE TABLE main.s.b (x INT)"""
    )
    with closing(Storage(catalog)) as storage:
        insert_json_rows(storage, catalog.table("main.default.t"), [{"id": 1, "note": "a"}])
    return catalog.data


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE main.default.u (x INT, CONSTRAINT c CHECK (x > 0)) COMMENT 'new'",
        "CREATE OR REPLACE TABLE main.default.t (id BIGINT NOT NULL, note STRING, CONSTRAINT p CHECK (id > 0))",
        "CREATE OR REPLACE TABLE main.default.t (x INT, CONSTRAINT c CHECK (x > 0)) PARTITIONED BY (x)",
        "ALTER TABLE main.default.t ADD COLUMNS (more VARIANT COMMENT 'json', yet CHAR(3) DEFAULT 'x')",
        "ALTER TABLE main.default.t DROP COLUMN note",
        "ALTER TABLE main.default.t ADD CONSTRAINT q CHECK (id < 10)",
        "ALTER TABLE main.default.t DROP CONSTRAINT p",
        "COMMENT ON TABLE main.default.t IS 'other'",
        "DROP TABLE main.default.t",
        "DROP SCHEMA main.s CASCADE",
        "DROP CATALOG main CASCADE",
    ],
)
def test_a_statement_that_a_crash_interrupts_was_carried_out_or_was_not(folder: Path, statement: str) -> None:
    before = seen(folder)
    left = crashed(folder, statement)
    after = seen(left[-1])
    outcomes = []
    for crash in left:
        Catalog(crash).settle()
        found = seen(crash)
        assert found in (before, after)
        outcomes.append("before" if found == before else "after")
        if found == before:
            Catalog(crash).execute(statement)
            assert seen(crash) == after
    assert [outcome for outcome, _ in groupby(outcomes)] == ["before", "after"]


def test_a_folder_whose_first_start_crashed_is_as_good_as_new(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for crash in crashed(folder, "SELECT 1"):
        Catalog(crash).create_table("CREATE TABLE main.default.t (x INT)")


def test_rows_land_in_a_table_whose_alteration_a_crash_interrupted(folder: Path) -> None:
    left = crashed(folder, "ALTER TABLE main.default.t DROP COLUMN note")
    begun = [crash for crash in left if Catalog(crash).state.alteration]
    assert begun
    for crash in begun:
        with LocalZerobus.start(crash) as server:
            assert ingest(server.workspace, "main.default.t", [{"id": 2}]).rows_acked == 1
            assert sorted(server.read("main.default.t")["id"].to_pylist()) == [1, 2]
