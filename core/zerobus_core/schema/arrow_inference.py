"""Infers a table's columns from Arrow data: for each Arrow type, the column type that fits it."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from ..errors import SchemaError
from .inference import ALL_NULL
from .types import ArrayType, DataType, DecimalType, Field, Kind, MapType, PrimitiveType, StringType, StructType

__all__ = ["columns_of_arrow"]

types = pa.types
_STRING = StringType()
_MAX_DIGITS = 38


def _is(*names: str) -> Callable[[pa.DataType], bool]:
    """Return a function that says whether an Arrow type is of one of several kinds.

    Each kind is named after a function in ``pa.types``: for example, "int8" means ``pa.types.is_int8``. Functions that
    an older pyarrow lacks are ignored.
    """
    tests = [test for name in names if (test := getattr(types, f"is_{name}", None)) is not None]
    return lambda kind: any(test(kind) for test in tests)


_SCALARS: tuple[tuple[Callable[[pa.DataType], bool], DataType], ...] = (
    (_is("boolean"), PrimitiveType(Kind.BOOLEAN)),
    (_is("int8"), PrimitiveType(Kind.TINYINT)),
    (_is("int16", "uint8"), PrimitiveType(Kind.SMALLINT)),
    (_is("int32", "uint16"), PrimitiveType(Kind.INT)),
    (_is("int64", "uint32"), PrimitiveType(Kind.BIGINT)),
    (_is("uint64"), DecimalType(20, 0)),
    (_is("float16", "float32"), PrimitiveType(Kind.FLOAT)),
    (_is("float64"), PrimitiveType(Kind.DOUBLE)),
    (_is("string", "large_string", "string_view"), _STRING),
    (_is("binary", "large_binary", "fixed_size_binary", "binary_view"), PrimitiveType(Kind.BINARY)),
    (_is("date"), PrimitiveType(Kind.DATE)),
)
_EXTENSIONS: dict[str, DataType] = {
    "arrow.json": PrimitiveType(Kind.VARIANT),
    "arrow.parquet.variant": PrimitiveType(Kind.VARIANT),
    "arrow.uuid": _STRING,
    "arrow.bool8": PrimitiveType(Kind.BOOLEAN),
}


def columns_of_arrow(schema: pa.Schema, *, not_null: bool = False) -> tuple[Field, ...]:
    """Return the columns for an Arrow schema; with ``not_null``, a non-nullable field becomes a NOT NULL column.

    Raises a SchemaError that names each field whose type fits no column type.
    """
    columns: list[Field] = []
    problems: list[str] = []
    for at, field in enumerate(schema):
        try:
            kind = _type(field)
        except SchemaError as error:
            problems.append(f"column {field.name}: {error.message}")
            continue
        nullable = field.nullable or not not_null
        columns.append(Field(field.name, kind, nullable=nullable, position=at, comment=_comment(field)))
    if problems:
        raise SchemaError("; ".join(problems))
    return tuple(columns)


def _comment(field: pa.Field) -> str | None:
    return ALL_NULL if types.is_null(field.type) else None


def _type(field: pa.Field) -> DataType:  # noqa: C901, PLR0911  # one for each family of types
    kind = field.type
    name = (field.metadata or {}).get(b"ARROW:extension:name", b"").decode(errors="replace")
    if isinstance(kind, pa.BaseExtensionType):
        name, kind = kind.extension_name, kind.storage_type
    if name in _EXTENSIONS:
        return _EXTENSIONS[name]
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _type(pa.field(field.name, kind.value_type))
    if types.is_null(kind):
        return _STRING
    if types.is_timestamp(kind):
        return PrimitiveType(Kind.TIMESTAMP if kind.tz is not None else Kind.TIMESTAMP_NTZ)
    if types.is_decimal(kind):
        return _decimal(kind)
    if types.is_map(kind):
        return MapType(_type(kind.key_field), _type(kind.item_field))
    if types.is_struct(kind):
        members = (Field(one.name, _type(one), position=at, comment=_comment(one)) for at, one in enumerate(kind))
        return StructType(tuple(members))
    if types.is_nested(kind) and hasattr(kind, "value_field"):
        return ArrayType(_type(kind.value_field))
    known = next((scalar for is_kind, scalar in _SCALARS if is_kind(kind)), None)
    if known is None:
        raise SchemaError(f"Arrow's type {kind} does not fit any column type; cast it, or leave the column out")
    return known


def _decimal(kind: pa.DataType) -> DataType:
    scale = max(kind.scale, 0)
    precision = max(kind.precision - min(kind.scale, 0), scale)
    if precision > _MAX_DIGITS:
        raise SchemaError(f"{kind} has more digits than a DECIMAL can have ({_MAX_DIGITS}); cast it")
    return DecimalType(precision, scale)
