"""A delivery that sent nothing says so, and a name for a version does not hide that the rows are others."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from zerobus_core import FileCheckpointStore, IngestOptions, Receipt, StreamManager, ingest
from zerobus_local import LocalZerobus

OLD, NEW = [{"id": 1}, {"id": 2}], [{"id": 3}, {"id": 4}]
IN_MEMORY: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "tuple": tuple,
    "table": pa.Table.from_pylist,
    "batch": pa.RecordBatch.from_pylist,
    "frame": pd.DataFrame,
    "frame of objects": lambda rows: pd.DataFrame({"id": pd.Series([row["id"] for row in rows], dtype=object)}),
}


@pytest.fixture
def table(zerobus: LocalZerobus, table_name: str) -> str:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    return table_name


@pytest.mark.parametrize("kind", IN_MEMORY)
def test_other_rows_under_the_same_source_version_are_sent(
    zerobus: LocalZerobus, table: str, tmp_path: Path, kind: str
) -> None:
    def push(rows: Any) -> Receipt:
        return ingest(
            zerobus.workspace,
            table,
            IN_MEMORY[kind](rows),
            options=IngestOptions(source_version="orders of today"),
            checkpoint=FileCheckpointStore(tmp_path / "checkpoint"),
        )

    assert push(OLD).rows_acked == 2
    assert push(OLD).rows_skipped == 2
    assert push(NEW).rows_acked == 2
    assert sorted(zerobus.read(table)["id"].to_pylist()) == [1, 2, 3, 4]


def test_a_delivery_that_skipped_every_row_says_so(
    zerobus: LocalZerobus, table: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def push() -> Receipt:
        options, store = IngestOptions(source_version="1"), FileCheckpointStore(tmp_path / "checkpoint")
        return ingest(zerobus.workspace, table, (row for row in OLD), options=options, checkpoint=store)

    assert push().notes == ()
    assert not caplog.records
    (note,) = push().as_dict()["notes"]
    assert note.startswith("all 2 rows were durable from an earlier attempt, so nothing was sent")
    assert [(record.levelno, note in record.getMessage()) for record in caplog.records] == [(logging.WARNING, True)]


def test_a_delivery_without_rows_says_so(zerobus: LocalZerobus, table: str, caplog: pytest.LogCaptureFixture) -> None:
    assert ingest(zerobus.workspace, table, []).notes == ("the source had no rows, so nothing was sent",)
    with StreamManager(zerobus.workspace, table) as streams:
        pass
    assert streams.receipt.notes
    assert len(caplog.records) == 2


def test_the_command_line_says_that_nothing_was_sent(
    zerobus: LocalZerobus, table: str, tmp_path: Path, command_line: Any
) -> None:
    (file := tmp_path / "rows.jsonl").write_text('{"id": 1}\n')
    arguments = ["push", str(file), "--table", table, "--checkpoint", str(tmp_path / "checkpoint"), "--quiet"]
    assert command_line(zerobus.workspace, *arguments).stderr == ""
    again = command_line(zerobus.workspace, *arguments)
    assert again.returncode == 0
    assert "the only row was durable from an earlier attempt, so nothing was sent" in again.stderr
    assert json.loads(again.stdout)["notes"]
