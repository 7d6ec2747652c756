"""Removes NOT NULL from Arrow schemas, and gives batches a schema that has NOT NULL.

Schemas without NOT NULL are needed for batches whose values are not checked yet, and for reading and writing files.
"""

from __future__ import annotations

import pyarrow as pa

__all__ = ["as_declared", "without_inner_not_null", "without_not_null"]


def without_not_null(schema: pa.Schema) -> pa.Schema:
    """Return the schema with all columns and all nested fields nullable, at any depth.

    Map keys are an exception: Arrow never allows them to be null.
    """
    return pa.schema([field.with_nullable(True) for field in without_inner_not_null(schema)])


def without_inner_not_null(schema: pa.Schema) -> pa.Schema:
    """Return the schema with all nested fields nullable, at any depth; the columns themselves keep their NOT NULL.

    Map keys are an exception: Arrow never allows them to be null.
    """
    return pa.schema([field.with_type(_nullable(field.type)) for field in schema])


def _nullable(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _nullable(f.type), nullable=True) for f in kind])
    if pa.types.is_list(kind):
        return pa.list_(pa.field(kind.value_field.name, _nullable(kind.value_type), nullable=True))
    if pa.types.is_map(kind):
        return pa.map_(_nullable(kind.key_type), _nullable(kind.item_type))
    return kind


def as_declared(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch that has the values of ``batch`` and the schema ``schema``.

    The values are neither copied nor checked. ``schema`` must be equal to the schema of ``batch``, but NOT NULL and
    metadata may differ. A cast would have the same result with pyarrow 20 or later, but older versions cannot cast a
    nullable field of a struct to NOT NULL.
    """
    return pa.record_batch(_Declared(batch, schema))


class _Declared:
    """Exports a batch through Arrow's C interface, but replaces the batch's schema with another one."""

    def __init__(self, batch: pa.RecordBatch, schema: pa.Schema) -> None:
        self._batch, self._schema = batch, schema

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        _, values = self._batch.__arrow_c_array__()
        return self._schema.__arrow_c_schema__(), values
