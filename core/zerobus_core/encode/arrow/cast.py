"""Casts whole Arrow arrays to the types of a table's columns, exactly or not at all.

The rules are those of ``values.scalars`` and of the exact walk (``rows.walk``), which checks one value at a time. If a
cast accepts a value, the exact walk accepts it with the same result. If a cast fails, or no cast exists for the types,
the exact walk decides. So a cast only has to detect that some value does not fit, not which value or why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from ...schema.types import (
    TIMESTAMP_KINDS,
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
from ..values.arrow_types import working_type
from .rebuild import bitmap_of, entries_of, nulls, offsets_of
from .scalars import SCALAR_CASTS, UnfitArrayError, decimal_cast, epoch_cast, string_cast, value_cast
from .text import text_cast

if TYPE_CHECKING:
    from ..values.rules import ConversionRules

__all__ = ["ArrayCast", "UnfitArrayError", "compiled_cast"]

ArrayCast: TypeAlias = Callable[[pa.Array], pa.Array]
_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    getattr(pa.types, "is_list_view", lambda _: False),
    getattr(pa.types, "is_large_list_view", lambda _: False),
)


def compiled_cast(source: pa.DataType, kind: DataType, rules: ConversionRules) -> ArrayCast | None:
    """Return a function that casts arrays of type ``source`` to the column type ``kind``; None if no cast exists.

    The function raises UnfitArrayError or a pyarrow.ArrowException if a value does not fit. If no cast exists, each
    value has to be checked individually.
    """
    target = working_type(kind)
    if pa.types.is_null(source):
        return lambda array: nulls(len(array), target)
    if pa.types.is_dictionary(source):
        inner = compiled_cast(source.value_type, kind, rules)
        return None if inner is None else lambda array: inner(array.dictionary_decode())
    if isinstance(kind, StructType):
        return _struct(source, kind, rules)
    if isinstance(kind, ArrayType):
        return _list(source, kind, rules)
    if isinstance(kind, MapType):
        return _map(source, kind, rules)
    return _scalar(source, kind, rules)


def _scalar(source: pa.DataType, kind: DataType, rules: ConversionRules) -> ArrayCast | None:
    if isinstance(kind, StringType):
        return string_cast(source, kind)
    if _needs_values(source, kind, rules):
        return value_cast(kind, rules)
    if rules.parse_text and _is_text(source):
        return text_cast(kind)
    if isinstance(kind, DecimalType):
        return decimal_cast(source, kind)
    assert isinstance(kind, PrimitiveType)
    if kind.kind in TIMESTAMP_KINDS and pa.types.is_integer(source):
        return epoch_cast(kind.kind, None if rules.wire_text else rules.epoch_unit)
    return SCALAR_CASTS[kind.kind](source) if kind.kind is not Kind.VARIANT else None


def _needs_values(source: pa.DataType, kind: DataType, rules: ConversionRules) -> bool:
    """Return whether an option, such as ``round_floats``, requires each value to be converted individually."""
    if isinstance(kind, DecimalType):
        return rules.round_floats and bool(pa.types.is_floating(source))
    if kind == PrimitiveType(Kind.BOOLEAN):
        is_number = pa.types.is_integer(source) or (rules.parse_text and _is_text(source))
        return rules.numeric_booleans and bool(is_number)
    return rules.parse_base64 and kind == PrimitiveType(Kind.BINARY) and _is_text(source)


def _is_text(source: pa.DataType) -> bool:
    return bool(pa.types.is_string(source) or pa.types.is_large_string(source))


def _struct(source: pa.DataType, kind: StructType, rules: ConversionRules) -> ArrayCast | None:
    if not pa.types.is_struct(source):
        return None
    names = [source.field(i).name for i in range(source.num_fields)]
    if len(set(names)) < len(names) or not set(names) <= {field.name for field in kind.fields}:
        return None
    members: list[tuple[Field, int, ArrayCast]] = []
    for field in kind.fields:
        index = names.index(field.name) if field.name in names else -1
        cast = compiled_cast(source.field(index).type if index >= 0 else pa.null(), field.type, rules)
        if cast is None:
            return None
        members.append((field, index, cast))
    target = working_type(kind)

    def convert(array: pa.Array) -> pa.Array:
        # flatten() makes the members null wherever the struct itself is null.
        parts = array.flatten()
        valid = array.is_valid()
        children = []
        for field, index, cast in members:
            child = cast(parts[index]) if index >= 0 else cast(pa.nulls(len(array)))
            if not field.nullable and child.null_count and pc.any(pc.and_(valid, child.is_null())).as_py():
                raise UnfitArrayError
            children.append(child)
        return pa.Array.from_buffers(target, len(array), [bitmap_of(array)], children=children)

    return convert


def _list(source: pa.DataType, kind: ArrayType, rules: ConversionRules) -> ArrayCast | None:
    if not any(is_kind(source) for is_kind in _LISTS):
        return None
    cast = compiled_cast(source.value_type, kind.element, rules)
    if cast is None:
        return None
    target, takes_null = working_type(kind), kind.contains_null and rules.inner_nulls

    def convert(array: pa.Array) -> pa.Array:
        values = cast(array.flatten())
        if values.null_count and not takes_null:
            raise UnfitArrayError
        return pa.Array.from_buffers(target, len(array), [bitmap_of(array), offsets_of(array)], children=[values])

    return convert


def _map(source: pa.DataType, kind: MapType, rules: ConversionRules) -> ArrayCast | None:
    pair = _pair_type(source)
    if pair is None:
        return None
    key_type, value_type = pair.field(0).type, pair.field(1).type
    cast_key = compiled_cast(key_type, kind.key, rules)
    cast_value = compiled_cast(value_type, kind.value, rules)
    if cast_key is None or cast_value is None:
        return None
    target, takes_null = working_type(kind), kind.value_contains_null and rules.inner_nulls
    entry = pa.struct([target.key_field, target.item_field])

    def convert(array: pa.Array) -> pa.Array:
        parts = entries_of(array) if pa.types.is_map(source) else array
        pairs = parts.flatten()
        if pairs.null_count:
            raise UnfitArrayError
        keys, values = cast_key(pairs.field(0)), cast_value(pairs.field(1))
        if keys.null_count or (values.null_count and not takes_null):
            raise UnfitArrayError
        _check_distinct(pc.list_parent_indices(parts), keys)
        entries = pa.Array.from_buffers(entry, len(pairs), [None], children=[keys, values])
        return pa.Array.from_buffers(target, len(array), [bitmap_of(array), offsets_of(parts)], children=[entries])

    return convert


def _pair_type(source: pa.DataType) -> pa.DataType | None:
    """Return the struct type of a map's entries (key and value); None if ``source`` is not a map.

    Polars has no map type, so a list of structs with the members ``key`` and ``value`` is also treated as a map.
    """
    if pa.types.is_map(source):
        return pa.struct([("key", source.key_type), ("value", source.item_type)])
    if not (pa.types.is_list(source) or pa.types.is_large_list(source)) or not pa.types.is_struct(source.value_type):
        return None
    pair = source.value_type
    names = [pair.field(i).name for i in range(pair.num_fields)]
    return pair if names == ["key", "value"] else None


def _check_distinct(rows: pa.Array, keys: pa.Array) -> None:
    if pa.types.is_nested(keys.type):
        raise UnfitArrayError  # pyarrow cannot group by nested keys; the exact walk checks them
    if pa.types.is_floating(keys.type):
        if pc.any(pc.is_nan(keys)).as_py():
            raise UnfitArrayError  # in a key, NaN stands for null, which the exact walk reports
        keys = pc.add(keys, pa.scalar(0.0, keys.type))  # -0.0 becomes 0.0
    pairs = pa.table({"row": rows, "key": keys})
    if pairs.group_by(["row", "key"]).aggregate([]).num_rows < pairs.num_rows:
        raise UnfitArrayError
