"""Finds the last committed rows of a table, for the server's web page.

The Delta log says which files the last commits added. The age of a file does not say how old its rows are, because old
files are merged into new ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow.parquet as pq

from .rows import plain_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from ..model.objects import Table

__all__ = ["last_rows"]

_MOST_ROWS = 5
_MOST_COMMITS = 50
"""The largest number of commits to search for added files. Commits that only merge files add no rows."""


def last_rows(table: Table, version: int, files: pa.Table) -> list[dict[str, Any]]:
    """Return the last rows of the table, at most five, the newest row first.

    ``files`` are the files of the table at ``version``. The rows come from the files that ``_added`` returns. If these
    files contain no rows, or if one of them is gone, the rows come from those of ``files`` that were modified last.
    """
    try:
        found = _rows_of_files(table, _added(table, version))
    except FileNotFoundError:  # VACUUM removes files that were merged
        found = []
    return found or _rows_of_files(table, _newest(table, files))


def _rows_of_files(table: Table, files: Iterable[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path, partition in files:
        rows += _rows_of(table, path, partition, _MOST_ROWS - len(rows))
        if len(rows) >= _MOST_ROWS:
            break
    return rows


def _added(table: Table, version: int) -> list[tuple[str, dict[str, Any]]]:
    """Return the files that the last commits added, the newest first, each with its partition values.

    The commits are read from the newest to the oldest, until ``_MOST_ROWS`` files are found or ``_MOST_COMMITS``
    commits are read. Files that result from merging other files are omitted. The list is empty if one of these commits
    changed or deleted rows, because a file might still contain the old rows. The list is also empty if the log entry of
    one of these commits is gone.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    for number in range(version, max(-1, version - _MOST_COMMITS), -1):
        try:
            lines = (table.path / "_delta_log" / f"{number:020}.json").read_text().splitlines()
        except OSError:  # old log entries are removed once a checkpoint contains them
            return []
        actions = [json.loads(line) for line in lines if line.strip()]
        if any(action["remove"].get("dataChange") for action in actions if "remove" in action):
            return []
        added = [action["add"] for action in actions if "add" in action and action["add"].get("dataChange")]
        found += [(add["path"], add.get("partitionValues") or {}) for add in reversed(added)]
        if len(found) >= _MOST_ROWS:
            break
    return found


def _newest(table: Table, files: pa.Table) -> Iterator[tuple[str, dict[str, Any]]]:
    if files.num_rows == 0:
        return
    for file in files.sort_by([("modification_time", "descending")]).slice(0, _MOST_ROWS).to_pylist():
        yield file["path"], {name: file.get(f"partition.{name}") for name in table.partition_by}


def _rows_of(table: Table, path: str, partition: dict[str, Any], most: int) -> list[dict[str, Any]]:
    """Return up to ``most`` rows from the end of a file's last row group, in reverse order."""
    with pq.ParquetFile(table.path / unquote(path)) as file:
        group = file.num_row_groups - 1
        rows = file.read_row_group(group) if group >= 0 else file.schema_arrow.empty_table()
    # A partition column is in the path and the log, not in the file.
    return [row | partition for row in plain_rows(rows.slice(max(0, rows.num_rows - most)))[::-1]]
