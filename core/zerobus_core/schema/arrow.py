"""The Arrow schema of a table, equal to the one that the service builds from Delta (schema.rs in SDK 1.10.0).

If a batch had another schema, the service would have to cast the batch, even if the schemas differed only in the names
of map entries or in the offset width of text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from .types import ArrayType, DataType, Field, Kind, MapType, PrimitiveType, StructType

__all__ = ["PRIMITIVES", "arrow_schema", "arrow_type", "type_of"]

PRIMITIVES = {
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
    # Not marked as an extension type: the service's own schema is not, so the service would have to cast every batch.
    Kind.VARIANT: pa.struct(
        [pa.field("metadata", pa.large_binary(), nullable=False), pa.field("value", pa.large_binary(), nullable=False)]
    ),
}


def arrow_schema(columns: Sequence[Field]) -> pa.Schema:
    """Return the Arrow schema for records of a table; each column must have a type that Arrow records can carry."""
    return pa.schema([pa.field(column.name, arrow_type(column.type), column.nullable) for column in columns])


def arrow_type(kind: DataType) -> pa.DataType:
    """Return the Arrow type that the service uses for a Delta type."""
    return type_of(kind, PRIMITIVES)


def type_of(kind: DataType, primitives: Mapping[Kind, pa.DataType], *, all_nullable: bool = False) -> pa.DataType:
    """Return the Arrow type of a Delta type; ``primitives`` maps primitive types to Arrow types.

    With ``all_nullable``, all members of structs are nullable, even those that are NOT NULL in Delta.
    """

    def inner(kind: DataType) -> pa.DataType:
        return type_of(kind, primitives, all_nullable=all_nullable)

    if isinstance(kind, PrimitiveType):
        return primitives[kind.kind]
    if isinstance(kind, ArrayType):
        # Delta's containsNull is not part of the service's schema, in which items are always nullable.
        return pa.list_(pa.field("item", inner(kind.element), nullable=True))
    if isinstance(kind, MapType):
        return pa.map_(
            pa.field("keys", inner(kind.key), nullable=False), pa.field("values", inner(kind.value), nullable=True)
        )
    if isinstance(kind, StructType):
        return pa.struct(
            [pa.field(member.name, inner(member.type), all_nullable or member.nullable) for member in kind.fields]
        )
    return pa.large_utf8()  # STRING, and DECIMAL: the service does not take Decimal128 yet
