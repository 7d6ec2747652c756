"""SQL that reads and corrects the local tables: SHOW TABLES, DESCRIBE, INSERT and DELETE."""

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
    """Return the tables of a schema (``catalog.schema``), or all tables."""
    found = [table.name for table in tables if schema is None or table.name.full_schema == schema]
    return pa.table(
        {
            "database": pa.array([name.full_schema for name in found], pa.string()),
            "tableName": pa.array([name.table for name in found], pa.string()),
            "isTemporary": pa.array([False for _ in found], pa.bool_()),
        }
    )


def describe(table: Table) -> pa.Table:
    """Return the columns of a table as Databricks shows them, with NOT NULL as part of the type."""
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
    """Append rows with values for ``columns`` (all columns if empty), in this order; return their number.

    The caller must hold the commit lock. Raises InvalidRequest for rows that do not fit.
    """
    names = _target_columns(table, columns)
    if rows.num_columns != len(names):
        raise InvalidRequest(
            f"{counted(rows.num_columns, 'value')} for {counted(len(names), 'column')}: {', '.join(names)}"
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
    """Return the values with plain text: the query engine returns text views, which pyarrow before 18 cannot cast."""
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
    """Delete the rows for which the condition is true, or all rows; return their number.

    The caller must hold the commit lock.
    """
    try:
        return int(DeltaTable(table.path).delete(condition)["num_deleted_rows"])
    except Exception as error:  # as above
        raise InvalidRequest(f"the rows of {table.full_name} cannot be deleted: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """Return the first line of an error's text, without the names of outer errors and without a table of rows."""
    return str(error).splitlines()[0].rpartition("error: ")[2]
