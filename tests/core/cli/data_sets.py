"""A public data set goes from a file to a table by two commands, without SQL by hand; a frame by two calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from tests.cli_runner import cli_runner
from zerobus_core import ClientCredentials, TableSchema, Workspace, ingest
from zerobus_core.cli import main
from zerobus_local import LocalZerobus


def write_json_lines(frame: pd.DataFrame, path: Path) -> None:
    # Not by to_json, which rounds numbers.
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "jsonl": write_json_lines,
    "parquet": lambda frame, path: frame.to_parquet(path, index=False),
}
FORMS = [*WRITERS, "frame"]
ROW = "number_of_row"


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the column ``ROW``, since a table does not keep the order of its rows."""
    return frame.assign(**{ROW: range(len(frame))})


def deliver(
    frame: pd.DataFrame, form: str, zerobus: LocalZerobus, table: str, folder: Path, names: Mapping[Any, str]
) -> None:
    """Make the table from the data and deliver all rows; ``names`` are the new names of columns."""
    if form == "frame":
        schema = pa.Schema.from_pandas(frame.rename(columns=names), preserve_index=False)
        zerobus.create_table(TableSchema.from_arrow(schema, table).to_sql())
        ingest(zerobus.workspace, table, frame, options={"rename": dict(names)} if names else None)
        return
    path = folder / f"x.{form}"
    WRITERS[form](frame, path)
    options = [part for old, new in names.items() for part in ("--rename", f"{old}={new}")]
    run(zerobus.workspace, "create-table", str(path), "--table", table, "--execute", "--all", *options)
    pushed = run(zerobus.workspace, "push", str(path), "--table", table, "-q", *options)
    assert json.loads(pushed)["rows_acked"] == len(frame)


def run(workspace: Workspace, *arguments: str) -> str:
    assert isinstance(workspace.credentials, ClientCredentials)
    environment = {
        "ZEROBUS_SERVER_ENDPOINT": workspace.endpoint,
        "DATABRICKS_HOST": workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": workspace.credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": workspace.credentials.client_secret,
    }
    done = cli_runner().invoke(main, arguments, env=environment)
    assert done.exit_code == 0, done.output
    return done.stdout


def differences(frame: pd.DataFrame, landed: list[dict[str, Any]]) -> list[tuple[str, Any, Any]]:
    """Column, given cell and landed cell of each that is not the same; the rows of both have the column ``ROW``."""
    given = frame.to_dict("records")
    assert len(landed) == len(given)
    landed = sorted(landed, key=lambda row: int(row[ROW]))
    return [
        (column, row[column], other[column])
        for row, other in zip(given, landed, strict=True)
        for column in row
        if not is_same(row[column], other[column])
    ]


def is_same(given: Any, landed: Any) -> bool:
    """Whether a cell landed as it was given; pandas holds whole numbers with gaps as floats, and times as text."""
    if pd.isna(given):
        return landed is None
    if isinstance(landed, date) and isinstance(given, str):
        at = pd.Timestamp(given).tz_localize(None)
        return bool(at == landed.replace(tzinfo=None) if isinstance(landed, datetime) else at.date() == landed)
    return bool(given == landed) and isinstance(given, bool) == isinstance(landed, bool)
