"""Decodes JSON records to Arrow. Each record is one JSON object whose keys are column names.

A DATE is sent as the number of days since 1970, and a TIMESTAMP as the number of microseconds since 1970. A VARIANT is
sent as a string that holds JSON text, as in protobuf and Avro. Two rules are assumptions: a DECIMAL is sent as a string
or a number, and a BINARY is sent as base64.

A fast check comes first: Arrow infers a type for the whole batch, and this type is compared with the columns. This
check finds unknown fields and wrong types at any depth without looking at single values. If the types do not fit, or if
the table has a MAP, BINARY, VARIANT or DECIMAL, the values are checked one by one. This second check decides whether a
record is refused, and why.
"""

from __future__ import annotations

import base64
import binascii
import math
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final

import orjson
import pyarrow as pa

from .columns import conform, first_failing
from .decoder import TableShape, check_sizes
from .refusal import RefusedRecordError

__all__ = ["JsonDecoder", "json_columns"]

# Wider than any DECIMAL; the default context rounds to 28 digits.
_WIDE: Final = Context(prec=80)
# The smallest number that becomes infinite when it is rounded to 32 bits.
_TOO_LARGE: Final = 2.0**128 - 2.0**103
_INTEGERS: Final = {
    "byte": 8,
    "short": 16,
    "integer": 32,
    "long": 64,
    "date": 32,
    "timestamp": 64,
    "timestamp_ntz": 64,
}


class JsonDecoder:
    """Decodes JSON texts for one table."""

    def __init__(self, shape: TableShape) -> None:
        self._shape = shape
        # Inference cannot distinguish a map from a struct, and reads neither base64 nor JSON inside of strings.
        self._walk = any(_needs_walk(delta) for delta in shape.types.values())

    def decode(self, records: list[bytes]) -> pa.RecordBatch:
        """Return one row per record, in order."""
        check_sizes(records)
        return self.decode_objects(_parsed(records))

    def decode_objects(self, objects: list[Any]) -> pa.RecordBatch:
        """Return one row per record, for records that are already parsed."""
        columns = None if self._walk else _inferred(objects, self._shape)
        if columns is not None:
            try:
                return conform(columns, len(objects), self._shape)
            except RefusedRecordError:
                pass  # json_columns below decides, and gives a clearer reason
        return conform(json_columns(objects, self._shape), len(objects), self._shape)


def _parsed(records: list[bytes]) -> list[Any]:
    try:
        return list(map(orjson.loads, records))
    except orjson.JSONDecodeError:
        record = first_failing(records, lambda part: list(map(orjson.loads, part))) or 0
        try:
            orjson.loads(records[record])
        except orjson.JSONDecodeError as error:
            raise RefusedRecordError(record, None, f"is not valid JSON: {error}") from error
        raise


def _inferred(objects: list[Any], shape: TableShape) -> dict[str, pa.Array] | None:
    """Return columns of the types that Arrow infers, or None if the values have to be checked one by one."""
    try:
        array = pa.array(objects)
    except (pa.ArrowException, OverflowError):
        return None
    if not pa.types.is_struct(array.type) or array.null_count:
        return None
    columns = dict(zip((f.name for f in array.type), array.flatten(), strict=True))
    for name, column in columns.items():
        if name not in shape.types or not _plain(column.type, shape.types[name]):
            return None
    return columns


def _plain(inferred: pa.DataType, delta: Any) -> bool:  # noqa: PLR0911  # one line per type
    """Return whether a column of the type ``inferred`` can be used as it is for the Delta type ``delta``.

    If not, the caller must check the values one by one. The range of the values is not considered here.
    """
    if pa.types.is_null(inferred):
        return True
    if isinstance(delta, dict):
        if delta["type"] == "array":
            return bool(pa.types.is_list(inferred)) and _plain(inferred.value_type, delta["elementType"])
        if delta["type"] != "struct" or not pa.types.is_struct(inferred):
            return False
        types = {inner["name"]: inner["type"] for inner in delta["fields"]}
        return all(f.name in types and _plain(f.type, types[f.name]) for f in inferred)
    if delta in _INTEGERS:
        return bool(pa.types.is_int64(inferred))
    if delta in {"float", "double"}:
        return bool(pa.types.is_float64(inferred))
    if delta == "boolean":
        return bool(pa.types.is_boolean(inferred))
    return delta == "string" and bool(pa.types.is_string(inferred))


def _needs_walk(delta: Any) -> bool:
    if isinstance(delta, dict):
        if delta["type"] == "struct":
            return any(_needs_walk(inner["type"]) for inner in delta["fields"])
        return delta["type"] == "map" or _needs_walk(delta["elementType"])
    return delta in {"binary", "variant"} or delta.startswith("decimal")


def json_columns(objects: list[Any], shape: TableShape) -> dict[str, pa.Array]:
    """Convert records to columns value by value; raise RefusedRecordError for the first value that does not fit."""
    rows = []
    for record, value in enumerate(objects):
        if not isinstance(value, dict):
            raise RefusedRecordError(record, None, f"is {_kind(value)}; a record is one JSON object")
        try:
            rows.append(_members(value, shape.types, "") if shape.rescue is None else _rescued(value, shape))
        except _MisfitError as error:
            raise RefusedRecordError(record, error.path, error.reason) from None
    fields = {f.name: f.type for f in shape.schema}
    return {name: pa.array([row.get(name) for row in rows], type=fields[name]) for name in shape.types}


def _rescued(value: dict[str, Any], shape: TableShape) -> dict[str, Any]:
    """Return the members of a record. Members that do not fit are moved into one object in the rescue column.

    A member does not fit if the table has no column with the member's name, or if the value does not fit the column's
    type. The object in the rescue column has the names and values that were sent, as in the example in Databricks'
    documentation. Raises _MisfitError if the record has a member for the rescue column itself, or if a value does not
    fit a NOT NULL column.
    """
    assert shape.rescue is not None
    if shape.rescue in value:
        raise _MisfitError(shape.rescue, "is the table's rescue column, which only the service fills")
    fitted: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    required = set(shape.required)
    for name, member in value.items():
        if name not in shape.types:
            rest[name] = member
            continue
        try:
            fitted[name] = _fitted(member, shape.types[name], name)
        except _MisfitError:
            if name in required:
                raise
            rest[name] = member
    if rest:
        fitted[shape.rescue] = orjson.dumps(rest).decode()
    return fitted


class _MisfitError(Exception):
    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


def _members(value: dict[str, Any], types: dict[str, Any], prefix: str) -> dict[str, Any]:
    for name in value:
        if name not in types:
            raise _MisfitError(
                prefix + name, "is not a column of the table" if not prefix else "is not in the column's type"
            )
    return {name: _fitted(member, types[name], prefix + name) for name, member in value.items()}


def _fitted(value: Any, delta: Any, path: str) -> Any:  # noqa: PLR0911  # one line per type
    """Convert the value to the form that pyarrow needs for the column's type."""
    if value is None:
        return None
    if isinstance(delta, dict):
        return _fitted_nested(value, delta, path)
    if delta in _INTEGERS:
        return _integer(value, delta, path)
    if delta.startswith("decimal"):
        return _decimal(value, delta, path)
    if delta in {"float", "double"} and isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value, delta, path)
    if delta == "boolean" and isinstance(value, bool):
        return value
    if delta in {"string", "binary", "variant"} and isinstance(value, str):
        return _text(value, delta, path)
    raise _MisfitError(path, f"is {_kind(value)}, but the column is {delta.upper()}")


def _fitted_nested(value: Any, delta: dict[str, Any], path: str) -> Any:
    kind = delta["type"]
    if kind == "array" and isinstance(value, list):
        return [_fitted(item, delta["elementType"], f"{path}[{index}]") for index, item in enumerate(value)]
    if kind == "struct" and isinstance(value, dict):
        return _members(value, {inner["name"]: inner["type"] for inner in delta["fields"]}, f"{path}.")
    if kind == "map" and isinstance(value, dict):
        return [
            (_map_key(key, delta["keyType"], path), _fitted(item, delta["valueType"], f"{path}[{key!r}]"))
            for key, item in value.items()
        ]
    raise _MisfitError(path, f"is {_kind(value)}, but the column is {kind.upper()}")


def _map_key(key: str, delta: Any, path: str) -> Any:
    """Convert a JSON key, which is always a string, to the map's key type.

    If the key type is STRING, the key stays as it is. If the key type is DECIMAL or BINARY, the key is converted in the
    same way as a string that is sent for a column of that type. For any other type, the key is first parsed as JSON.
    """
    if delta == "string":
        return key
    # These keys are not parsed as JSON: a decimal would become a float and lose digits, and BINARY is base64 text.
    if str(delta).startswith("decimal") or delta == "binary":
        return _fitted(key, delta, f"{path}[key {key!r}]")
    try:
        return _fitted(orjson.loads(key), delta, f"{path}[key {key!r}]")
    except orjson.JSONDecodeError:
        raise _MisfitError(path, f"has the key {key!r}, but the map's keys are {str(delta).upper()}") from None


def _integer(value: Any, delta: str, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        hint = (
            ", which is sent as a whole number (days or microseconds since 1970-01-01)"
            if delta in {"date", "timestamp", "timestamp_ntz"}
            else ""
        )
        raise _MisfitError(path, f"is {_kind(value)}, but the column is {delta.upper()}{hint}")
    limit = 1 << (_INTEGERS[delta] - 1)
    if not -limit <= value < limit:
        raise _MisfitError(path, f"{value} is out of range for {delta.upper()} ({-limit} to {limit - 1})")
    return value


def _number(value: float, delta: str, path: str) -> float:
    number = float(value)
    if delta == "float" and not math.isinf(number) and abs(number) >= _TOO_LARGE:
        raise _MisfitError(path, f"{value} is too large for FLOAT, which has 32 bits")
    return number


def _decimal(value: Any, delta: str, path: str) -> Decimal:
    precision, scale = (int(part) for part in delta[len("decimal(") : -1].split(","))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _MisfitError(
            path, f"is {_kind(value)}, but the column is {delta.upper()}, which accepts a string such as '19.99'"
        )
    try:
        number = Decimal(str(value))
        exact = number == number.quantize(Decimal(1).scaleb(-scale), context=_WIDE)
    except InvalidOperation:
        number, exact = Decimal("NaN"), False
    if not exact or number.copy_abs() >= Decimal(10) ** (precision - scale):
        raise _MisfitError(path, f"{value!r} is not a value of {delta.upper()}")
    return number


def _text(value: str, delta: str, path: str) -> str | bytes:
    if delta == "binary":
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise _MisfitError(path, "is not base64, but BINARY is sent as base64") from None
    if delta == "variant":
        try:
            orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise _MisfitError(path, f"is not JSON text, but VARIANT is sent as JSON text: {error}") from None
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
