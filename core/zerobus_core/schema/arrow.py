"""A table's columns as the Arrow schema that the service builds from Delta on its side (schema.rs in SDK 1.10.0).

A stream whose schema differs only in the names of map entries or the width of text would be cast by the service,
batch by batch; this one needs no cast.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from .types import ArrayType, DataType, DecimalType, Field, Kind, MapType, StringType, StructType

__all__ = ["arrow_schema", "arrow_type"]

_TYPES = {
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
    # No extension marker: the service's own schema has none, and would cast every batch.
    Kind.VARIANT: pa.struct(
        [pa.field("metadata", pa.large_binary(), nullable=False), pa.field("value", pa.large_binary(), nullable=False)]
    ),
}


def arrow_schema(columns: Sequence[Field]) -> pa.Schema:
    """The schema of an Arrow stream into a table; the shapes must be ones that Arrow records can carry."""
    return pa.schema([pa.field(column.name, arrow_type(column.type), column.nullable) for column in columns])


def arrow_type(kind: DataType) -> pa.DataType:
    """The Arrow type of a Delta type.  DECIMAL is text, because the service does not take Decimal128 yet."""
    if isinstance(kind, StringType | DecimalType):
        return pa.large_utf8()
    if isinstance(kind, ArrayType):
        # Delta's containsNull is no part of the service's schema: items are nullable.
        return pa.list_(pa.field("item", arrow_type(kind.element), nullable=True))
    if isinstance(kind, MapType):
        return pa.map_(
            pa.field("keys", arrow_type(kind.key), nullable=False),
            pa.field("values", arrow_type(kind.value), nullable=True),
        )
    if isinstance(kind, StructType):
        return pa.struct([pa.field(member.name, arrow_type(member.type), member.nullable) for member in kind.fields])
    return _TYPES[kind.kind]
