"""Converts rows of Arrow tables to Python values, for people to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequest

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.dataset import Dataset

__all__ = ["first_rows", "plain_rows", "plain_values"]


def first_rows(dataset: Dataset, rows: int) -> pa.Table:
    """Return the first ``rows`` rows, or all if there are fewer.

    Reads whole row groups. ``Dataset.head`` is not used, because the threads with which it reads ahead keep running
    after it returns: the process crashes if it ends while such a thread runs.
    """
    import pyarrow as pa

    parts = [dataset.schema.empty_table()]
    missing = rows
    groups = (group for fragment in dataset.get_fragments() for group in fragment.split_by_row_group())
    while missing > 0 and (group := next(groups, None)) is not None:
        parts.append(group.to_table(schema=dataset.schema).slice(0, missing))
        missing -= parts[-1].num_rows
    return pa.concat_tables(parts)


def plain_rows(rows: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Return each row as a dict whose keys are column names; raise InvalidRequest if two columns have the same name.

    The values are converted as in ``plain_values``.
    """
    names = rows.schema.names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidRequest(f"several columns of the result are called {', '.join(twice)}: rename them with AS")
    return [dict(zip(names, values, strict=True)) for values in plain_values(rows)]


def plain_values(rows: pa.Table | pa.RecordBatch) -> list[tuple[Any, ...]]:
    """Return each row as a tuple of Python values.

    Python cannot represent some dates and times, for example a date after the year 9999. A value that is or contains
    such a date or time is replaced by a string: the type of the value, followed by "out of Python's range".
    """
    return list(zip(*map(_plain_column, rows.columns), strict=True))


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
