"""Adds columns to record batches: columns with one value in all rows, or one struct that replaces other columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

__all__ = ["collected", "with_constants"]


def with_constants(batch: pa.RecordBatch, constants: Mapping[str, Any]) -> pa.RecordBatch:
    """Return a batch that has the columns of ``batch``, followed by one column for each of ``constants``."""
    columns = [pa.repeat(pa.scalar(value), len(batch)) for value in constants.values()]
    fields = [pa.field(name, column.type) for name, column in zip(constants, columns, strict=True)]
    return _batch([*batch.columns, *columns], [*batch.schema, *fields], batch)


def collected(batch: pa.RecordBatch, names: Sequence[str], column: str) -> pa.RecordBatch:
    """Return a batch in which one struct column, called ``column`` and put last, replaces the columns ``names``."""
    inner = [batch.schema.field(name) for name in names]
    objects = pa.StructArray.from_arrays([batch.column(name) for name in names], fields=inner)
    kept = [(field, array) for field, array in zip(batch.schema, batch.columns, strict=True) if field.name not in names]
    arrays, fields = [array for _, array in kept], [field for field, _ in kept]
    return _batch([*arrays, objects], [*fields, pa.field(column, objects.type)], batch)


def _batch(arrays: list[Any], fields: list[pa.Field], like: pa.RecordBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, metadata=like.schema.metadata))
