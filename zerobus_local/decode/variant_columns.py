"""Converts VARIANTs at any depth of a column to JSON text, and checks VARIANTs that were sent as JSON text."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from .refusal import RefusedRecordError
from .variant import variant_texts

__all__ = ["check_variant_texts", "with_variant_texts"]


def with_variant_texts(column: pa.Array, stored: pa.DataType, name: str) -> pa.Array:
    """Return ``column`` with JSON text in place of every VARIANT.

    ``stored`` is the column's type in the table. Where ``column`` has a struct and ``stored`` has text, the struct is a
    VARIANT. All fields of the result are nullable, nulls stay nulls, and large lists become lists. Raises
    RefusedRecordError if a value cannot be decoded as a VARIANT. In the error, ``record`` is the row of that value, and
    ``field`` is ``name``.
    """
    kind = column.type
    if pa.types.is_struct(kind):
        if not pa.types.is_struct(stored):
            return variant_texts(column, name)
        # flatten() makes a null struct's members null.
        members = [
            with_variant_texts(member, stored.field(field.name).type, name)
            for field, member in zip(kind, column.flatten(), strict=True)
        ]
        return pa.StructArray.from_arrays(members, names=[field.name for field in kind], mask=column.is_null())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        with _naming_rows_of(column):
            elements = with_variant_texts(column.flatten(), stored.value_type, name)
        return pa.ListArray.from_arrays(_offsets(column), elements)
    if pa.types.is_map(kind):
        lists = _entries(column)
        keys, items = lists.flatten().flatten()
        with _naming_rows_of(lists):
            texts = with_variant_texts(items, stored.item_type, name)
        return pa.MapArray.from_arrays(_offsets(lists), keys, texts)
    return column


@contextmanager
def _naming_rows_of(lists: pa.Array) -> Iterator[None]:
    """Convert the index in a RefusedRecordError from the index of an element to the index of a row.

    Inside the ``with`` block, ``record`` is the index of the bad element in ``lists.flatten()``. Outside the block,
    ``record`` is the index of the list in ``lists`` that contains this element.
    """
    try:
        yield
    except RefusedRecordError as error:
        # Not pc.list_parent_indices: it counts the elements that a null list can have, but ``flatten`` omits them.
        row = bisect_right(_ends(lists).to_pylist(), error.record)
        raise RefusedRecordError(row, error.field, error.reason) from error


def check_variant_texts(batch: pa.RecordBatch, types: Mapping[str, Any]) -> None:
    """Check the columns one by one; raise RefusedRecordError if the text of a VARIANT is not valid JSON.

    The keys of ``types`` are the names of the columns, and the values are the types of the columns in Delta's form.
    """
    for name, delta in types.items():
        _check_texts(batch.column(name), delta, name)


def _check_texts(column: pa.Array, delta: Any, name: str) -> None:
    if "variant" not in str(delta):
        return
    if not isinstance(delta, dict):
        for row, text in enumerate(column.to_pylist()):
            _refuse_invalid_json(text, row, name)
    elif delta["type"] == "struct":
        for field in delta["fields"]:
            _check_texts(pc.struct_field(column, field["name"]), field["type"], name)
    else:
        is_map = delta["type"] == "map"
        lists = _entries(column) if is_map else column
        elements = pc.struct_field(lists.flatten(), [1]) if is_map else lists.flatten()
        with _naming_rows_of(lists):
            _check_texts(elements, delta["valueType" if is_map else "elementType"], name)


def _refuse_invalid_json(text: str | None, row: int, name: str) -> None:
    if text is None:
        return
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            # orjson refuses numbers that a double cannot hold, such as 1e400, but JSON text can have them.
            json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            reason = f"is not JSON text, but VARIANT is sent as JSON text: {error}"
            raise RefusedRecordError(row, name, reason) from error


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"JSON does not have {constant}")


def _entries(column: pa.MapArray) -> pa.ListArray:
    """Convert a column of maps to a column of lists; each element of a list is one entry of the map.

    The result's ``flatten`` method returns only the entries of the column's slice, without the entries of null maps.
    """
    listed = pa.list_(column.values.type)
    buffers = column.buffers()[:2]
    return pa.ListArray.from_buffers(listed, len(column), buffers, offset=column.offset, children=[column.values])


def _offsets(column: pa.Array) -> pa.Array:
    """Return the index in ``column.flatten()`` at which each list starts, followed by the end index of the last list.

    The start of a null list is null.
    """
    starts = pa.concat_arrays([pa.array([0], pa.int32()), _ends(column)])
    if not column.null_count:
        return starts
    is_valid = pa.concat_arrays([column.is_valid(), pa.array([True])])
    return pc.if_else(is_valid, starts, pa.scalar(None, pa.int32()))


def _ends(column: pa.Array) -> pa.Array:
    """Return the index in ``column.flatten()`` at which each list ends."""
    return pc.cumulative_sum(pc.fill_null(pc.list_value_length(column), 0).cast(pa.int32()))
