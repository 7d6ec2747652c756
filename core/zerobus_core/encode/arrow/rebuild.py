"""Converts nested Arrow arrays to another type, starting with the innermost arrays.

pyarrow's own casts refuse a null struct whose members are NOT NULL, and do not support VARIANT.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["bitmap_of", "entries_of", "nulls", "offsets_of", "retype_nested"]


def retype_nested(
    array: pa.Array, target: pa.DataType, leaf: Callable[[pa.Array, pa.DataType], pa.Array] | None = None
) -> pa.Array:
    """Convert ``array`` to the type ``target``; both types must nest structs, maps and lists in the same way.

    The function ``leaf`` converts each innermost array that does not have its target type yet. For a VARIANT, ``leaf``
    converts text to a struct. If ``leaf`` is None, each of these innermost arrays is cast to its target type. Raises
    pyarrow.ArrowInvalid if a key of a map is null.
    """
    if not _has_struct(target) and array.type.equals(target):
        return array
    if pa.types.is_struct(target) and pa.types.is_struct(array.type):
        children = [retype_nested(part, target.field(i).type, leaf) for i, part in enumerate(array.flatten())]
        return pa.Array.from_buffers(target, len(array), [bitmap_of(array)], children=children)
    if pa.types.is_map(target) and pa.types.is_map(array.type):
        entries = entries_of(array)
        pairs = entries.flatten()
        children = [
            retype_nested(pairs.field(0), target.key_type, leaf),
            retype_nested(pairs.field(1), target.item_type, leaf),
        ]
        if children[0].null_count:  # pyarrow 16 aborts the process if the nulls of a map's keys were not counted before
            raise pa.ArrowInvalid("a key of a map is null")
        entry = pa.struct([target.key_field, target.item_field])
        inner = pa.Array.from_buffers(entry, len(pairs), [None], children=children)
        return pa.Array.from_buffers(target, len(array), [bitmap_of(array), offsets_of(entries)], children=[inner])
    if pa.types.is_list(target) and pa.types.is_list(array.type):
        values = retype_nested(array.flatten(), target.value_type, leaf)
        return pa.Array.from_buffers(target, len(array), [bitmap_of(array), offsets_of(array)], children=[values])
    return leaf(array, target) if leaf is not None else array.cast(target)


def nulls(count: int, target: pa.DataType) -> pa.Array:
    """Return an array of ``count`` nulls of the type ``target``."""
    if pa.types.is_nested(target):
        # In an array of pa.nulls, parent and children share one buffer, which is long enough only for the parent. The
        # SDK reads arrays with arrow-rs, which panics at such an array.
        return pa.array([None] * count, target)
    return pa.nulls(count, target)


def _has_struct(kind: pa.DataType) -> bool:
    # Inside a null struct, pyarrow leaves empty text and zeros, at which a reader's cast can fail; flattening replaces
    # them by nulls.
    if not pa.types.is_nested(kind):
        return False
    if pa.types.is_map(kind):
        return _has_struct(kind.item_type)
    return pa.types.is_struct(kind) or (pa.types.is_list(kind) and _has_struct(kind.value_type))


def entries_of(array: pa.Array) -> pa.Array:
    """Return a map array as a list array of structs, each with a key and its value; the data is not copied."""
    # Not by a cast: pyarrow's cast damages children of type Null in a slice, and reading them aborts the process.
    entries = array.values
    buffers = array.buffers()[:2]
    return pa.Array.from_buffers(pa.list_(entries.type), len(array), buffers, offset=array.offset, children=[entries])


def bitmap_of(array: pa.Array) -> pa.Buffer | None:
    """Return the validity bitmap of the array; None if all values are valid."""
    # Inverting makes a new bitmap, which starts at bit 0 even if the array is a slice.
    return pc.invert(array.is_null()).buffers()[1] if array.null_count else None


def offsets_of(array: pa.Array) -> pa.Buffer:
    """Return a buffer with the offset of each list in the flattened values.

    The buffer contains the start of each list, followed by the end of the last list. A null list is treated as an empty
    list.
    """
    lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int32())
    return pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)]).buffers()[1]
