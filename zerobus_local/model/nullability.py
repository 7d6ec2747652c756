"""Arrow schemas without NOT NULL, for batches in which a NULL is still to be found, and for files written from them."""

from __future__ import annotations

import pyarrow as pa

__all__ = ["without_inner_not_null", "without_not_null"]


def without_not_null(schema: pa.Schema) -> pa.Schema:
    """The schema with everything nullable, at any depth; map keys stay as Arrow has them."""
    return pa.schema([field.with_nullable(True) for field in without_inner_not_null(schema)])


def without_inner_not_null(schema: pa.Schema) -> pa.Schema:
    """The schema with everything nullable inside of its columns, which keep their own NOT NULL."""
    return pa.schema([field.with_type(_nullable(field.type)) for field in schema])


def _nullable(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _nullable(f.type), nullable=True) for f in kind])
    if pa.types.is_list(kind):
        return pa.list_(pa.field(kind.value_field.name, _nullable(kind.value_type), nullable=True))
    if pa.types.is_map(kind):
        return pa.map_(_nullable(kind.key_type), _nullable(kind.item_type))
    return kind
