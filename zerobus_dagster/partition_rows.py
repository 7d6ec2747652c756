"""Assigns rows to partitions according to the columns in ``partition_expr``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from zerobus_core import ConfigurationError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["is_frame", "rows_of_partitions", "split_frame"]

_FRAMES = {"pandas", "polars", "pyarrow"}


def is_frame(value: Any) -> bool:
    """Return whether a value is a table in memory: a pandas or polars frame, or an Arrow table or record batch."""
    package = type(value).__module__.partition(".")[0]
    return package in _FRAMES and hasattr(value, "columns") and hasattr(value, "__len__")


def rows_of_partitions(
    schema: pa.Schema, expression: Any, partitions_def: dg.PartitionsDefinition, keys: Sequence[str]
) -> Any:
    """Return a filter for a pyarrow dataset; the filter selects the rows of the partitions in ``keys``.

    ``schema`` is the schema of the dataset. ``expression`` is the asset's ``partition_expr``: the name of a column or,
    if the partitions have several dimensions, a mapping from each dimension to the name of its column.
    """
    conditions = [_condition(schema, expression, partitions_def, key) for key in keys]
    joined = conditions[0]
    for condition in conditions[1:]:
        joined = joined | condition
    return joined


def split_frame(
    frame: Any, expression: Any, partitions_def: dg.PartitionsDefinition, keys: Sequence[str]
) -> dict[str, Any]:
    """Return a dict from the key of each partition to its rows, as a frame of the same type as ``frame``.

    Raises ConfigurationError if a row belongs to none of the partitions.
    """
    import pyarrow as pa
    import pyarrow.dataset as pads

    columns = {column: _array(frame, column) for column in _columns(expression)}
    numbers = "row number"
    table = pa.table({**columns, numbers: pa.array(range(len(frame)), pa.int64())})
    parts, found = {}, 0
    for key in keys:
        condition = _condition(table.schema, expression, partitions_def, key)
        rows = pads.dataset(table).to_table(columns=[numbers], filter=condition)[numbers]
        found += len(rows)
        parts[key] = _take(frame, rows)
    if found != len(frame):
        raise ConfigurationError(
            f"{len(frame) - found} rows of the frame belong to none of the run's partitions {keys[0]} to "
            f"{keys[-1]}, according to partition_expr ({', '.join(columns)}); remove these rows from the frame"
        )
    return parts


def _columns(expression: Any) -> list[str]:
    return [str(column) for column in (expression.values() if isinstance(expression, Mapping) else [expression])]


def _condition(schema: pa.Schema, expression: Any, partitions_def: dg.PartitionsDefinition, key: str) -> Any:
    if not isinstance(partitions_def, dg.MultiPartitionsDefinition):
        return _equals(schema, str(expression), partitions_def, key)
    if not isinstance(expression, Mapping):
        raise ConfigurationError("partition_expr must map each dimension of the partitions to its column")
    parts = dg.MultiPartitionKey(dict(partitions_def.get_partition_key_from_str(key).keys_by_dimension))
    joined = None
    for dimension in partitions_def.partitions_defs:
        column = str(expression[dimension.name])
        one = _equals(schema, column, dimension.partitions_def, parts.keys_by_dimension[dimension.name])
        joined = one if joined is None else joined & one
    return joined


def _equals(schema: pa.Schema, column: str, partitions_def: dg.PartitionsDefinition, key: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if column not in schema.names:
        raise ConfigurationError(f"partition_expr refers to the column {column!r}, which the rows do not have")
    kind, field = schema.field(column).type, pc.field(column)
    if isinstance(partitions_def, dg.TimeWindowPartitionsDefinition) and pa.types.is_temporal(kind):
        window = partitions_def.time_window_for_partition_key(key)
        return (field >= _moment(window.start, kind)) & (field < _moment(window.end, kind))
    return field.cast(pa.string()) == key


def _moment(moment: datetime, kind: pa.DataType) -> Any:
    import pyarrow as pa

    if pa.types.is_date(kind):
        return pa.scalar(moment.date(), kind)
    return pa.scalar(moment if kind.tz is not None else moment.replace(tzinfo=None), kind)


def _array(frame: Any, column: str) -> Any:
    import pyarrow as pa

    is_arrow = isinstance(frame, pa.Table | pa.RecordBatch)
    names = frame.schema.names if is_arrow else list(frame.columns)
    if column not in names:
        raise ConfigurationError(f"partition_expr refers to the column {column!r}, which the frame does not have")
    values = frame[column]
    if is_arrow:
        return values
    return values.to_arrow() if hasattr(values, "to_arrow") else pa.Array.from_pandas(values)


def _take(frame: Any, rows: pa.ChunkedArray) -> Any:
    import pyarrow as pa

    if hasattr(frame, "iloc"):
        return frame.iloc[rows.to_numpy()]
    # As one array, because a RecordBatch does not take a chunked one.
    return frame.take(pa.array(rows.to_numpy())) if hasattr(frame, "take") else frame[rows.to_pylist()]
