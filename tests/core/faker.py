"""Hypothesis strategies for schemas and for rows that fit them, as far out as the types go."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Context, Decimal
from functools import cache
from typing import Any, Literal

import orjson
from hypothesis import strategies as st

from zerobus_core import TableSchema
from zerobus_core.schema import (
    ArrayType,
    DataType,
    DecimalType,
    Field,
    Kind,
    MapType,
    PrimitiveType,
    StringType,
    StructType,
)

_WIDE = Context(prec=80)
Format = Literal["protobuf", "json", "arrow"]

COLUMNS = 6
INTEGER_BITS = {Kind.TINYINT: 8, Kind.SMALLINT: 16, Kind.INT: 32, Kind.BIGINT: 64}
# Names that other tools stumble over: words of SQL, of protobuf and of its message classes, and neighbours in case.
NAMES = [
    "a", "b2", "_x", "message", "to", "max", "string", "order", "self", "Clear", "SerializeToString", "Address",
    "a_b", "aB", "value", "key", "entries", "list", "item", "data_1", "OPTIONAL", "type", "DESCRIPTOR", "metadata",
]  # fmt: skip

texts = st.text(st.characters(codec="utf-8"), max_size=12)
naive_times = st.datetimes(datetime.min, datetime.max)
# An offset must not carry a moment out of the years 1 to 9999.
aware_times = st.datetimes(
    datetime(1, 1, 2),
    datetime(9999, 12, 30),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-23))]),
)


def scalar_types() -> st.SearchStrategy[DataType]:
    decimals = st.integers(1, 38).flatmap(lambda p: st.builds(DecimalType, st.just(p), st.integers(0, p)))
    strings = st.builds(StringType, st.none() | st.integers(1, 20), st.just(False))
    return st.sampled_from(Kind).map(PrimitiveType) | strings | decimals


def key_types(record_format: Format) -> st.SearchStrategy[DataType]:
    """Types of map keys that the format can carry."""
    refused = {Kind.FLOAT, Kind.DOUBLE, Kind.BINARY, Kind.VARIANT}
    if record_format == "json":
        refused = {Kind.VARIANT}
    return scalar_types().filter(lambda kind: not (isinstance(kind, PrimitiveType) and kind.kind in refused))


@cache
def types(record_format: Format, depth: int = 3) -> st.SearchStrategy[DataType]:
    """Any type that the format can carry, nested up to ``depth`` deep."""
    if depth == 0:
        return scalar_types()
    inner = types(record_format, depth - 1)
    # Only JSON carries arrays and maps right inside of arrays and maps.
    member = inner if record_format == "json" else inner.filter(lambda kind: not isinstance(kind, ArrayType | MapType))
    return (
        scalar_types()
        | st.builds(ArrayType, member)
        | st.builds(MapType, key_types(record_format), member)
        | fields(record_format, depth - 1, max_size=3).map(StructType)
    )


@cache
def fields(record_format: Format, depth: int, *, max_size: int) -> st.SearchStrategy[tuple[Field, ...]]:
    """Columns, or the fields of a struct: these are all nullable, because deltalake cannot write a NULL struct else."""
    nullable = st.booleans() if max_size == COLUMNS else st.just(True)
    names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=max_size, unique_by=str.lower)
    return names.flatmap(
        lambda chosen: st.tuples(
            *(
                st.builds(Field, st.just(name), types(record_format, depth), nullable, st.just(index))
                for index, name in enumerate(chosen)
            )
        )
    )


def schemas(record_format: Format, depth: int = 3) -> st.SearchStrategy[TableSchema]:
    return fields(record_format, depth, max_size=COLUMNS).map(lambda f: TableSchema(table="main.default.t", columns=f))


def rows(columns: tuple[Field, ...], record_format: Format) -> st.SearchStrategy[dict[str, Any]]:
    """Rows that fit: nullable columns are sometimes None and sometimes left out."""
    required = {field.name: values(field.type, record_format) for field in columns if not field.nullable}
    optional = {field.name: st.none() | values(field.type, record_format) for field in columns if field.nullable}
    return st.fixed_dictionaries(required, optional=optional)


def values(kind: DataType, record_format: Format) -> st.SearchStrategy[Any]:
    if isinstance(kind, StructType):
        return rows(kind.fields, record_format)

    # Protobuf has no null inside an array or a map.
    def inside(element: DataType) -> st.SearchStrategy[Any]:
        plain = values(element, record_format)
        return plain if record_format == "protobuf" else st.none() | plain

    if isinstance(kind, ArrayType):
        return st.lists(inside(kind.element), max_size=3)
    if isinstance(kind, MapType):
        keys = values(kind.key, record_format).filter(lambda key: key == key and key is not None)  # noqa: PLR0124  # no NaN
        return st.dictionaries(keys, inside(kind.value), max_size=3)
    return scalars(kind, record_format)


def scalars(kind: DataType, record_format: Format) -> st.SearchStrategy[Any]:
    if isinstance(kind, StringType):
        return texts if kind.length is None else texts.map(lambda text: text[: kind.length])
    if isinstance(kind, DecimalType):
        limit = 10**kind.precision - 1
        return st.integers(-limit, limit).map(lambda unscaled: Decimal(unscaled).scaleb(-kind.scale, _WIDE))
    assert isinstance(kind, PrimitiveType)
    if kind.kind in INTEGER_BITS:
        bits = INTEGER_BITS[kind.kind]
        return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    finite = record_format == "json"
    floats = {"allow_nan": not finite, "allow_infinity": not finite}
    return {
        Kind.FLOAT: st.floats(width=32, **floats),
        Kind.DOUBLE: st.floats(**floats),
        Kind.BOOLEAN: st.booleans(),
        Kind.BINARY: st.binary(max_size=12),
        Kind.DATE: st.dates(date.min, date.max),
        Kind.TIMESTAMP: naive_times | aware_times,
        Kind.TIMESTAMP_NTZ: naive_times,
        Kind.VARIANT: variants,
    }[kind.kind]


variants = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def as_stored(value: Any, kind: DataType, record_format: Format) -> Any:
    """What a reader of the Delta table finds for a value: Python values as pyarrow gives them, maps as dicts."""
    if isinstance(kind, StructType):
        return row_as_stored(value, kind.fields, record_format)
    if isinstance(kind, ArrayType):
        stored: Any = [None if v is None else as_stored(v, kind.element, record_format) for v in value]
        return _empty_or(stored, record_format)
    if isinstance(kind, MapType):
        stored = {
            as_stored(k, kind.key, record_format): None if v is None else as_stored(v, kind.value, record_format)
            for k, v in value.items()
        }
        return _empty_or(stored, record_format)
    if isinstance(kind, PrimitiveType):
        return _primitive_as_stored(value, kind.kind)
    return value


def _primitive_as_stored(value: Any, kind: Kind) -> Any:
    if kind in {Kind.FLOAT, Kind.DOUBLE}:
        return "NaN" if math.isnan(value) else float(value)
    if kind is Kind.TIMESTAMP:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if kind is Kind.VARIANT:
        return orjson.loads(orjson.dumps(value))
    return value


def _empty_or(stored: Any, record_format: Format) -> Any:
    # On the protobuf wire an empty array is not sent; which of the two the table gets is the service's choice.
    return stored if stored or record_format != "protobuf" else None


def row_as_stored(row: dict[str, Any], columns: tuple[Field, ...], record_format: Format) -> dict[str, Any]:
    return {
        field.name: None if row.get(field.name) is None else as_stored(row[field.name], field.type, record_format)
        for field in columns
    }
