"""Runs SHOW TABLES, DESCRIBE, INSERT and DELETE on the local tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from ..errors import InvalidRequest
from ..wording import counted

if TYPE_CHECKING:
    from ..model.objects import Table

__all__ = ["delete_rows", "describe", "insert_rows", "list_tables"]


def list_tables(tables: Iterable[Table], schema: str | None) -> pa.Table:
    """Return the result of SHOW TABLES for a schema (``catalog.schema``), or for all schemas if ``schema`` is None."""
    found = [table.name for table in tables if schema is None or table.name.full_schema == schema]
    return pa.table(
        {
            "database": pa.array([name.full_schema for name in found], pa.string()),
            "tableName": pa.array([name.table for name in found], pa.string()),
            "isTemporary": pa.array([False for _ in found], pa.bool_()),
        }
    )


def describe(table: Table) -> pa.Table:
    """Return the result of DESCRIBE: name, type and comment of each column.

    The type of a NOT NULL column ends in ``not null``.
    """
    columns = table.columns
    types = [column.type_text + ("" if column.nullable else " not null") for column in columns]
    return pa.table(
        {
            "col_name": pa.array([column.name for column in columns], pa.string()),
            "data_type": pa.array(types, pa.string()),
            "comment": pa.array([column.comment for column in columns], pa.string()),
        }
    )


def insert_rows(table: Table, columns: Sequence[str], rows: pa.Table) -> int:
    """Append ``rows`` to the table; return the number of rows.

    ``columns[i]`` is the name of the table's column that receives column ``i`` of ``rows``. All other columns of the
    table are set to NULL. If ``columns`` is empty, ``rows`` must have all columns of the table, in the table's order.
    The caller must hold the table's commit lock. Raises InvalidRequest if the rows do not fit the table.
    """
    names = _target_columns(table, columns)
    if rows.num_columns != len(names):
        raise InvalidRequest(
            f"each row has {counted(rows.num_columns, 'value')} for {counted(len(names), 'column')}: {', '.join(names)}"
        )
    given = dict(zip(names, rows.columns, strict=True))
    arrays = [_cast(given.get(field.name), field, rows.num_rows) for field in table.arrow_schema]
    schema = pa.schema([field.with_nullable(True) for field in table.arrow_schema])
    _write(table, pa.Table.from_arrays(arrays, schema=schema))
    return int(rows.num_rows)


def _target_columns(table: Table, columns: Sequence[str]) -> list[str]:
    known = {column.name.lower(): column.name for column in table.columns}
    names = []
    for column in columns or known:
        if column.lower() not in known:
            raise InvalidRequest(f"{table.full_name} has no column {column}; it has {', '.join(known.values())}")
        names.append(known[column.lower()])
    if len(set(names)) < len(names):
        raise InvalidRequest(f"a column is named twice: {', '.join(names)}")
    return names


def _plain_text(values: Any) -> Any:
    """Convert Arrow string views to plain strings; return other values unchanged.

    The query engine returns string views, which pyarrow before 18 cannot cast.
    """
    if str(values.type) != "string_view":
        return values
    try:
        return values.cast(pa.string())
    except pa.ArrowNotImplementedError:
        return pa.array(values.to_pylist(), pa.string())


def _cast(values: Any, field: pa.Field, count: int) -> Any:
    if values is None:
        values = pa.nulls(count, field.type)
    try:
        cast = _plain_text(values).cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidRequest(f"column {field.name}: {error}") from error
    if not field.nullable and cast.null_count:
        raise InvalidRequest(f"column {field.name} is NOT NULL, but a row has no value for it")
    return cast


def _write(table: Table, rows: pa.Table) -> None:
    try:
        write_deltalake(DeltaTable(table.path), rows, mode="append")
    except Exception as error:  # delta-rs raises plain Exception for a row that breaks a constraint
        raise InvalidRequest(f"the rows do not fit {table.full_name}: {_first_line(error)}") from error


def delete_rows(table: Table, condition: str | None) -> int:
    """Delete the rows for which ``condition`` is true (None: all rows), and return the number of deleted rows.

    The caller must hold the table's commit lock and compaction lock.
    """
    try:
        return int(DeltaTable(table.path).delete(condition)["num_deleted_rows"])
    except Exception as error:  # delta-rs raises plain Exception, as in _write
        raise InvalidRequest(f"the rows of {table.full_name} cannot be deleted: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """Return the first line of an error's text, after removing prefixes such as "External error: ".

    The other lines are omitted, because they can contain a table of rows.
    """
    return str(error).splitlines()[0].rpartition("error: ")[2]
