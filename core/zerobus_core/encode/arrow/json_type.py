"""Decodes Arrow's binary VARIANTs. For VARIANT columns, also converts maps and JSON text (type ``arrow.json``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

import orjson
import pyarrow as pa

from ...records import UnfitError, UnfitValue
from ...schema.types import ArrayType, DataType, Field, Kind, MapType, PrimitiveType, StructType
from ..values.json_input import parsed_json, plain_number
from ..values.json_text import may_have_key_twice
from .variant_value import is_variant, variant_value

__all__ = ["Convert", "fragment_of", "json_converter", "kept_json", "unsupported_in_union"]

Convert: TypeAlias = Callable[[Any], Any]
_NAME = "arrow.json"
_VARIANT = PrimitiveType(Kind.VARIANT)
# Dead letters are written by functions that call themselves several times per level.
_MAX_SHOWN_DEPTH = 200


def fragment_of(text: str) -> orjson.Fragment:
    """Return the JSON text as an ``orjson.Fragment``, which orjson writes unchanged.

    Raises UnfitError if the text is not valid JSON, or if an object in it has the same key twice.
    """
    _parsed(text)
    return orjson.Fragment(text)


def kept_json(text: str | UnfitValue) -> Any:
    """Parse a JSON text, for a dead letter; numbers keep all their digits.

    Return an UnfitValue with the text if it is invalid JSON, has duplicate keys or is nested deeper than a dead letter
    can be: a VARIANT column would accept the text itself, as text. An UnfitValue is returned unchanged.
    """
    if isinstance(text, UnfitValue):
        return text
    try:
        value = _parsed(text)
        if text.count("[") + text.count("{") > _MAX_SHOWN_DEPTH and _is_deep(value):
            return UnfitValue(text, f"is nested deeper than {_MAX_SHOWN_DEPTH} levels")
        return _with_plain_numbers(parsed_json(text))
    except UnfitError as error:
        return UnfitValue(text, str(error))


def _with_plain_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_plain_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_plain_numbers(item) for item in value]
    return plain_number(value) if isinstance(value, Decimal) else value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_SHOWN_DEPTH):
        holders = [item for item in level if isinstance(item, dict | list)]
        level = [item for holder in holders for item in (holder.values() if isinstance(holder, dict) else holder)]
    return any(isinstance(item, dict | list) for item in level)


def _parsed(text: str) -> Any:
    try:
        value = orjson.loads(text)
        if may_have_key_twice(text.encode(), value):
            json.loads(text, object_pairs_hook=_object)
    except orjson.JSONDecodeError as error:
        raise UnfitError(f"not JSON text: {error}") from None
    except RecursionError:
        raise UnfitError("nested too deeply") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise UnfitError("the JSON text has the same key twice in an object")
    return members


def json_converter(field: pa.Field, kind: DataType, leaf: Convert) -> Convert | None:
    """Return a function that converts Python values of the Arrow field for a column of type ``kind``.

    For columns of all types, the function decodes binary VARIANTs. For a VARIANT column, and for a VARIANT inside
    another column, the function also calls ``leaf`` with each JSON text, and turns maps into dicts. Returns None if
    there is nothing to convert.
    """
    if is_variant(field):
        return _variant(kind)
    if _is_json(field):
        return (lambda value: None if value is None else leaf(value)) if kind == _VARIANT else None
    source = _plain_type(field.type)
    if pa.types.is_map(source):
        return _map(source, kind, leaf)
    if pa.types.is_struct(source):
        return _struct(source, kind, leaf)
    if pa.types.is_nested(source) and hasattr(source, "value_field"):
        return _list(source, kind, leaf)
    return None


def _variant(kind: DataType) -> Convert:
    def convert(value: Any) -> Any:
        if value is None:
            return None
        read = variant_value(value)
        # A VARIANT that holds JSON's null is not a NULL of the column.
        return orjson.Fragment("null") if read is None and kind == _VARIANT else read

    return convert


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the plain type inside a dictionary, run-end encoded or extension type.

    Any other type is returned unchanged.
    """
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _plain_type(kind.value_type)
    return _plain_type(kind.storage_type) if isinstance(kind, pa.BaseExtensionType) else kind


def unsupported_in_union(field: pa.Field) -> str | None:
    """Look for JSON, maps and VARIANTs in the unions of the field, where these types are not supported.

    Returns the name of the first such type, "JSON", "a map" or "a VARIANT", or None if there is none. A value of a
    union does not show which member type it has, so values of these types would not be converted.
    """
    kind = field.type
    members = [kind.field(index) for index in range(kind.num_fields)]
    find = _converted_kind if pa.types.is_union(kind) else unsupported_in_union
    return next((found for member in members if (found := find(member)) is not None), None)


def _converted_kind(field: pa.Field) -> str | None:
    """Return the name of a type in the field whose values must be converted for a VARIANT column.

    The name is "a VARIANT", "JSON" or "a map"; it is None if the field contains none of these types.
    """
    if is_variant(field):
        return "a VARIANT"
    if _is_json(field):
        return "JSON"
    kind = _plain_type(field.type)
    if pa.types.is_map(kind):
        return "a map"
    members = [kind.field(index) for index in range(kind.num_fields)]
    return next((found for member in members if (found := _converted_kind(member)) is not None), None)


def _is_json(field: pa.Field) -> bool:
    kind = field.type
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        kind = kind.value_type
    if isinstance(kind, pa.BaseExtensionType):
        return bool(kind.extension_name == _NAME)
    # pyarrow before 19 does not know the type, and leaves the type's name in the metadata.
    return (field.metadata or {}).get(b"ARROW:extension:name") == _NAME.encode()


def _struct(source: pa.DataType, kind: DataType, leaf: Convert) -> Convert | None:
    members = {member.name: member.type for member in kind.fields} if isinstance(kind, StructType) else {}
    converters: dict[str, Convert] = {}
    for index in range(source.num_fields):
        field = source.field(index)
        target = _VARIANT if kind == _VARIANT else members.get(field.name)
        convert = None if target is None else json_converter(field, target, leaf)
        if convert is not None:
            converters[field.name] = convert
    return (lambda value: _with_members(value, converters)) if converters else None


def _with_members(value: Any, converters: Mapping[str, Convert]) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: converters[name](item) if name in converters else item for name, item in value.items()}


def _list(source: pa.DataType, kind: DataType, leaf: Convert) -> Convert | None:
    if isinstance(kind, MapType):  # Polars keeps maps as lists of structs of key and value
        pair = StructType((Field("key", kind.key), Field("value", kind.value)))
        return _items(json_converter(source.value_field, pair, leaf))
    element = _VARIANT if kind == _VARIANT else kind.element if isinstance(kind, ArrayType) else None
    return None if element is None else _items(json_converter(source.value_field, element, leaf))


def _items(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda value: value and [convert(item) for item in value]


def _map(source: pa.DataType, kind: DataType, leaf: Convert) -> Convert | None:
    if kind == _VARIANT:
        # pyarrow gives pairs, which would become an array of arrays.
        inner = json_converter(source.item_field, _VARIANT, leaf)
        return lambda value: None if value is None else _object_of_pairs(value, inner)
    convert = json_converter(source.item_field, kind.value, leaf) if isinstance(kind, MapType) else None
    return None if convert is None else lambda value: value and [(key, convert(item)) for key, item in value]


def _object_of_pairs(pairs: list[tuple[Any, Any]], convert: Convert | None) -> dict[Any, Any]:
    members = {key: item if convert is None else convert(item) for key, item in pairs}
    if len(members) < len(pairs):
        raise UnfitError("a map has the same key twice")
    if any(isinstance(key, UnfitValue) for key in members):  # in a dead letter, its text would become the key
        raise UnfitError("a map has a key that could not be read")
    return members
