"""Writes a schema as a CREATE TABLE statement in Databricks SQL, which ``TableSchema.from_sql`` can read."""

from __future__ import annotations

from collections.abc import Sequence

from .types import ArrayType, DataType, Field, MapType, StructType

__all__ = ["create_table_sql"]


def create_table_sql(table: str, columns: Sequence[Field]) -> str:
    """Return a CREATE TABLE statement in Databricks SQL."""
    name = ".".join(f"`{part}`" for part in table.split("."))
    lines = ",\n".join(f"  {_sql_member(column, ' ')}" for column in columns)
    return f"CREATE TABLE {name} (\n{lines}\n)\n"


def _sql_member(field: Field, separator: str) -> str:
    not_null = "" if field.nullable else " NOT NULL"
    comment = ""
    if field.comment:
        escaped = field.comment.replace("\\", "\\\\").replace("'", "\\'")
        comment = f" COMMENT '{escaped}'"
    return f"`{field.name}`{separator}{_sql_type(field.type)}{not_null}{comment}"


def _sql_type(kind: DataType) -> str:
    if isinstance(kind, StructType):
        return f"STRUCT<{', '.join(_sql_member(field, ': ') for field in kind.fields)}>"
    if isinstance(kind, ArrayType):
        return f"ARRAY<{_sql_type(kind.element)}>"
    if isinstance(kind, MapType):
        return f"MAP<{_sql_type(kind.key)}, {_sql_type(kind.value)}>"
    return str(kind)
