"""Checks that an Arrow stream's schema fits the table: the names, order, types and nullability of its fields.

If the schema does not fit, the error's ErrorInfo lists the causes. The rules and the names of the causes come from the
service's documentation for Arrow Flight and from the SDK's error details. The types are the service's canonical ones
(``rust/sdk/src/schema.rs`` in SDK 1.10.0); for example, a DECIMAL is sent as text. Text and binary columns can also
have Arrow's large or view types, and arrays can be large lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from ..status import SCHEMA_MISMATCH, Detail, StatusError, invalid_error

if TYPE_CHECKING:
    from ..decode.decoder import TableShape

__all__ = ["check_schema"]

_SCALARS: Final = {
    "byte": pa.int8(),
    "short": pa.int16(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}
_TEXTS: Final = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BINARIES: Final = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)


def check_schema(schema: pa.Schema, shape: TableShape) -> None:
    """Raise StatusError (INVALID_ARGUMENT) if the schema does not fit. The error's ErrorInfo lists all causes."""
    problems = list(_problems(schema, shape))
    if not problems:
        return
    causes = ",".join(dict.fromkeys(cause for cause, _ in problems))
    error = invalid_error(
        f"Arrow schema does not match the target table: {'; '.join(text for _, text in problems)}",
        error_code=SCHEMA_MISMATCH,
    )
    raise StatusError(
        error.code,
        str(error),
        error_code=SCHEMA_MISMATCH,
        detail=Detail("SCHEMA_VALIDATION_FAILED", (("causes", causes), ("error_code", str(SCHEMA_MISMATCH)))),
    )


def _problems(schema: pa.Schema, shape: TableShape) -> Iterator[tuple[str, str]]:
    places = {field.name: index for index, field in enumerate(shape.schema)}
    if len(set(schema.names)) != len(schema) or not schema.names:
        yield "FIELD_COUNT_MISMATCH", f"{len(schema)} fields with {len(set(schema.names))} different names"
    last = -1
    for field in schema:
        place = places.get(field.name)
        if place is None:
            yield "FIELD_NOT_IN_TABLE", f"field {field.name} is not a column of table {shape.table}"
            continue
        if place < last:
            yield (
                "FIELD_OUT_OF_ORDER",
                f"field {field.name} must come before {shape.schema[last].name}, as in the table",
            )
        last = max(last, place)
        column = shape.schema[place]
        if not _fits(field.type, shape.types[field.name]):
            yield "TYPE_INCOMPATIBLE", f"field {field.name} is {field.type}, but the column is {column.type}"
        elif field.nullable != column.nullable:
            kinds = {True: "nullable", False: "NOT NULL"}
            yield (
                "TYPE_INCOMPATIBLE",
                f"field {field.name} is {kinds[field.nullable]}, but the column is {kinds[column.nullable]}",
            )
    for name in shape.required:
        if name not in schema.names:
            yield "MISSING_REQUIRED_COLUMN", f"column {name} is NOT NULL, but the stream lacks it"


def _fits(arrow: pa.DataType, delta: Any) -> bool:
    if isinstance(delta, dict):
        return _nested_fits(arrow, delta)
    if delta == "string" or delta.startswith("decimal"):
        return any(is_text(arrow) for is_text in _TEXTS)
    if delta == "binary":
        return any(is_binary(arrow) for is_binary in _BINARIES)
    if delta == "variant":
        return (
            bool(pa.types.is_struct(arrow))
            and [inner.name for inner in arrow] == ["metadata", "value"]
            and all(any(is_binary(inner.type) for is_binary in _BINARIES) for inner in arrow)
        )
    return bool(arrow == _SCALARS.get(delta))


def _nested_fits(arrow: pa.DataType, delta: dict[str, Any]) -> bool:
    if delta["type"] == "array":
        is_list = pa.types.is_list(arrow) or pa.types.is_large_list(arrow)
        return is_list and _fits(arrow.value_type, delta["elementType"])
    if delta["type"] == "map":
        return (
            bool(pa.types.is_map(arrow))
            and _fits(arrow.key_type, delta["keyType"])
            and _fits(arrow.item_type, delta["valueType"])
        )
    fields = {inner["name"]: inner["type"] for inner in delta["fields"]}
    return (
        bool(pa.types.is_struct(arrow))
        and [inner.name for inner in arrow] == list(fields)
        and all(_fits(inner.type, fields[inner.name]) for inner in arrow)
    )
