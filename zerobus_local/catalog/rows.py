"""Rows of Arrow tables as Python values, for people to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["plain_rows"]


def plain_rows(rows: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """A dict per row.

    A value with a date or time that Python cannot hold (Delta's go beyond the year 9999) becomes a text that says so.
    """
    columns = [_plain_column(column) for column in rows.columns]
    return [dict(zip(rows.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]


def _plain_column(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except (OverflowError, ValueError):
        return [_plain_value(value) for value in column]
    return values


def _plain_value(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return f"{value.type} out of Python's range"
