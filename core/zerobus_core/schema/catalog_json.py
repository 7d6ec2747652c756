"""Writes a schema as the JSON that Spark and Unity Catalog use; ``TableSchema.from_table_info`` can read it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .types import ArrayType, DataType, Field, Kind, MapType, PrimitiveType, StructType

__all__ = ["table_info"]

_SPARK_NAMES = {Kind.TINYINT: "byte", Kind.SMALLINT: "short", Kind.INT: "integer", Kind.BIGINT: "long"}


def table_info(table: str, fingerprint: str, columns: Sequence[Field]) -> dict[str, Any]:
    """Return the schema in the form in which Unity Catalog describes a table, with the fingerprint added.

    Only the table's name and its columns are described: other keys of Unity Catalog's answer, such as ``owner`` and
    ``table_id``, are left out.
    """
    return {
        "full_name": table,
        "fingerprint": fingerprint,
        "columns": [
            {
                "name": column.name,
                "position": column.position,
                "nullable": column.nullable,
                "comment": column.comment,
                "type_text": str(column.type),
                "type_json": json.dumps(_spark_field(column), separators=(",", ":")),
            }
            for column in columns
        ],
    }


def _spark_field(field: Field) -> dict[str, Any]:
    metadata = {"comment": field.comment} if field.comment else {}
    return {"name": field.name, "type": _spark_type(field.type), "nullable": field.nullable, "metadata": metadata}


def _spark_type(kind: DataType) -> Any:
    if isinstance(kind, StructType):
        return {"type": "struct", "fields": [_spark_field(field) for field in kind.fields]}
    if isinstance(kind, ArrayType):
        return {"type": "array", "elementType": _spark_type(kind.element), "containsNull": kind.contains_null}
    if isinstance(kind, MapType):
        return {
            "type": "map",
            "keyType": _spark_type(kind.key),
            "valueType": _spark_type(kind.value),
            "valueContainsNull": kind.value_contains_null,
        }
    if isinstance(kind, PrimitiveType):
        return _SPARK_NAMES.get(kind.kind, kind.kind.value.lower())
    return str(kind).lower()
