"""The Arrow types of a table's columns: those that the service reads, and the plain ones that records are made of.

The first are the service's canonical types (schema.rs in SDK 1.10.0): text and bytes with 64-bit offsets, DECIMAL as
text, since it does not take decimals yet, lists of ``item``, maps of ``entries{keys, values}``.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from ..schema.types import ArrayType, DataType, DecimalType, Field, Kind, MapType, PrimitiveType, StringType, StructType

__all__ = ["arrow_schema", "arrow_type", "plain_type", "working_type"]

_VARIANT = pa.struct(
    [pa.field("metadata", pa.large_binary(), nullable=False), pa.field("value", pa.large_binary(), nullable=False)]
)
_ARROW = {
    Kind.TINYINT: pa.int8(),
    Kind.SMALLINT: pa.int16(),
    Kind.INT: pa.int32(),
    Kind.BIGINT: pa.int64(),
    Kind.FLOAT: pa.float32(),
    Kind.DOUBLE: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.BINARY: pa.large_binary(),
    Kind.DATE: pa.date32(),
    Kind.TIMESTAMP: pa.timestamp("us", "UTC"),
    Kind.TIMESTAMP_NTZ: pa.timestamp("us"),
    Kind.VARIANT: _VARIANT,
}
_WORKING = {**_ARROW, Kind.VARIANT: pa.large_string()}
_PLAIN = {
    **_WORKING,
    Kind.TINYINT: pa.int32(),
    Kind.SMALLINT: pa.int32(),
    Kind.DATE: pa.int32(),
    Kind.TIMESTAMP: pa.int64(),
    Kind.TIMESTAMP_NTZ: pa.int64(),
}


def arrow_type(kind: DataType) -> pa.DataType:
    """What the service reads."""
    return _type(kind, _ARROW)


def working_type(kind: DataType) -> pa.DataType:
    """What columns are cast to and checked in: as ``arrow_type``, but VARIANT as JSON text."""
    return _type(kind, _WORKING)


def plain_type(kind: DataType) -> pa.DataType:
    """What records hold: as ``working_type``, with days, microseconds and small integers as plain integers.

    Members of structs are all nullable, since Python's None for a struct is a null in each of them.
    """
    return _type(kind, _PLAIN, all_nullable=True)


def arrow_schema(columns: Sequence[Field]) -> pa.Schema:
    """The schema that an Arrow stream to a table with these columns is opened with."""
    return pa.schema([pa.field(column.name, arrow_type(column.type), nullable=column.nullable) for column in columns])


def _type(kind: DataType, primitives: dict[Kind, pa.DataType], *, all_nullable: bool = False) -> pa.DataType:
    def inner(kind: DataType) -> pa.DataType:
        return _type(kind, primitives, all_nullable=all_nullable)

    if isinstance(kind, PrimitiveType):
        return primitives[kind.kind]
    if isinstance(kind, StringType | DecimalType):
        return pa.large_string()
    if isinstance(kind, ArrayType):
        return pa.list_(pa.field("item", inner(kind.element)))
    if isinstance(kind, MapType):
        return pa.map_(
            pa.field("keys", inner(kind.key), nullable=False),
            pa.field("values", inner(kind.value)),
        )
    assert isinstance(kind, StructType)
    return pa.struct([pa.field(f.name, inner(f.type), nullable=all_nullable or f.nullable) for f in kind.fields])
