"""The types of a Delta table's columns, as a small tree of immutable objects.

The ``str`` of a type is Databricks SQL: ``str(ArrayType(PrimitiveType(Kind.INT)))`` is ``ARRAY<INT>``.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias, TypeGuard

__all__ = [
    "INTEGER_KINDS",
    "REAL_KINDS",
    "TIMESTAMP_KINDS",
    "ArrayType",
    "DataType",
    "DecimalType",
    "Field",
    "Kind",
    "MapType",
    "PrimitiveType",
    "StringType",
    "StructType",
    "is_primitive",
]


class Kind(Enum):
    """The types that have no parameters, except STRING. The value of each member is the type's Databricks SQL name."""

    TINYINT = "TINYINT"
    SMALLINT = "SMALLINT"
    INT = "INT"
    BIGINT = "BIGINT"
    FLOAT = "FLOAT"
    DOUBLE = "DOUBLE"
    BOOLEAN = "BOOLEAN"
    BINARY = "BINARY"
    DATE = "DATE"
    TIMESTAMP = "TIMESTAMP"
    TIMESTAMP_NTZ = "TIMESTAMP_NTZ"
    VARIANT = "VARIANT"


INTEGER_KINDS = frozenset({Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT})
REAL_KINDS = frozenset({Kind.FLOAT, Kind.DOUBLE})
TIMESTAMP_KINDS = frozenset({Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ})


@dataclass(frozen=True, slots=True)
class PrimitiveType:
    """A type that has no parameters."""

    kind: Kind

    def __str__(self) -> str:
        return self.kind.value


@dataclass(frozen=True, slots=True)
class StringType:
    """STRING, VARCHAR(n) or CHAR(n). ``length`` is n, in characters; for STRING, it is None."""

    length: int | None = None
    is_char: bool = False

    def __str__(self) -> str:
        if self.length is None:
            return "STRING"
        return f"{'CHAR' if self.is_char else 'VARCHAR'}({self.length})"


@dataclass(frozen=True, slots=True)
class DecimalType:
    """DECIMAL(precision, scale): ``precision`` digits in total, ``scale`` of them after the point."""

    precision: int
    scale: int

    def __str__(self) -> str:
        return f"DECIMAL({self.precision},{self.scale})"


@dataclass(frozen=True, slots=True)
class ArrayType:
    """ARRAY of one element type."""

    element: DataType
    contains_null: bool = True

    def __str__(self) -> str:
        return f"ARRAY<{self.element}>"


@dataclass(frozen=True, slots=True)
class MapType:
    """MAP of keys to values. Keys cannot be null. Values can be null if ``value_contains_null`` is True."""

    key: DataType
    value: DataType
    value_contains_null: bool = True

    def __str__(self) -> str:
        return f"MAP<{self.key}, {self.value}>"


@dataclass(frozen=True, slots=True)
class Field:
    """A named member of a struct, or a column of a table.

    ``position`` counts from 0; dropped columns leave gaps in the positions.
    """

    name: str
    type: DataType
    nullable: bool = True
    position: int = 0
    comment: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.name}: {self.type}{'' if self.nullable else ' NOT NULL'}"


@dataclass(frozen=True, slots=True)
class StructType:
    """STRUCT of named fields, in order."""

    fields: tuple[Field, ...]

    def __str__(self) -> str:
        return f"STRUCT<{', '.join(map(str, self.fields))}>"


DataType: TypeAlias = PrimitiveType | StringType | DecimalType | ArrayType | MapType | StructType


def is_primitive(kind: DataType | None, kinds: Container[Kind]) -> TypeGuard[PrimitiveType]:
    """Return whether ``kind`` is a PrimitiveType of one of these kinds."""
    return isinstance(kind, PrimitiveType) and kind.kind in kinds
