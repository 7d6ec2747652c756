"""The content of Arrow columns as bytes for digests; the bytes do not depend on how the rows are cut into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from .rebuild import entries_of

__all__ = ["ColumnsContent"]

_VALID = b"\x01"
_LENGTH_BYTES = 8


Tracks: TypeAlias = Callable[[int, int], Iterator[bytes | memoryview]]
"""Returns the tracks of a range of rows, given the index of the first row and the index after the last row."""


class ColumnsContent:
    """The content of rows, taken from one array per column; see ``zerobus_core.batch.RowContent``."""

    def __init__(self, columns: Mapping[str, pa.Array]) -> None:
        self._columns = [_tracks_of(array) for array in columns.values()]

    def tracks(self, start: int, stop: int) -> list[bytes | memoryview]:
        """Return byte strings with the content of the rows ``start`` to ``stop - 1``: one or more for each column."""
        return [track for tracks in self._columns for track in tracks(start, stop)]


def _tracks_of(array: pa.Array) -> Tracks:
    """Return a function that yields the tracks of a range of rows: byte strings with the content of these rows.

    If the array is not nested and has no nulls, its tracks are slices of bytes that are prepared once, so making them
    takes almost no time.
    """
    if array.null_count == 0 and not pa.types.is_nested(array.type):
        return _flat(array)
    return lambda start, stop: _tracks(array.slice(start, stop - start))


def _flat(array: pa.Array) -> Tracks:
    """Return the function that ``_tracks_of`` returns; ``array`` must not be nested and must have no nulls."""
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return _texts(array, "i")
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        return _texts(array, "q")
    return _numbers(array)


def _numbers(array: pa.Array) -> Tracks:
    values = memoryview(_values(array))
    width = len(values) // (len(array) or 1)

    def tracks(start: int, stop: int) -> Iterator[bytes | memoryview]:
        yield _VALID * (stop - start)
        yield values[start * width : stop * width]

    return tracks


def _texts(array: pa.Array, code: Literal["i", "q"]) -> Tracks:
    lengths = memoryview(_values(pc.binary_length(array).cast(pa.int64())))
    _, offsets, data = array.buffers()
    texts = memoryview(data if data is not None else b"")
    bounds = memoryview(offsets).cast(code)[array.offset :] if len(array) else memoryview(bytes(8)).cast(code)

    def tracks(start: int, stop: int) -> Iterator[bytes | memoryview]:
        yield _VALID * (stop - start)
        yield lengths[start * _LENGTH_BYTES : stop * _LENGTH_BYTES]
        yield texts[bounds[start] : bounds[stop]]

    return tracks


def _tracks(array: pa.Array) -> Iterator[bytes | memoryview]:
    """Yield a byte string that has one byte per value and says which values are valid; then yield the valid values.

    The data stored for a null value is arbitrary, so it is left out of the second part.
    """
    has_nulls = array.null_count > 0
    yield _values(array.is_valid()) if has_nulls else _VALID * len(array)
    kind = array.type
    if pa.types.is_struct(kind):
        for member in array.flatten():
            yield from _tracks(member)
    elif pa.types.is_map(kind):
        yield from _map_tracks(array)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield _lengths(array)
        yield from _tracks(array.flatten())
    else:
        present = array.drop_null() if has_nulls else array
        _, *values = _flat(present)(0, len(present))
        yield from values


def _map_tracks(array: pa.Array) -> Iterator[bytes | memoryview]:
    """Yield the bytes of the entries of maps. The entries of each map are sorted by key, because a map has no order."""
    lists = entries_of(array)
    yield _lengths(lists)
    entries = lists.flatten()
    keys = entries.field(0)
    sortable = keys.cast(pa.uint8()) if pa.types.is_boolean(keys.type) else keys
    rows = pa.table({"row": pc.list_parent_indices(lists), "key": sortable})
    order = pc.sort_indices(rows, sort_keys=[("row", "ascending"), ("key", "ascending")])
    yield from _tracks(keys.take(order))
    yield from _tracks(entries.field(1).take(order))


def _lengths(lists: pa.Array) -> bytes:
    return _values(pc.fill_null(pc.list_value_length(lists), 0).cast(pa.int64()))


def _values(array: pa.Array) -> bytes:
    """Return the bytes of an array's values, which have a fixed width and are not null."""
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    buffers = array.buffers()
    if not len(array) or len(buffers) < 2 or buffers[1] is None:  # noqa: PLR2004  # the type Null has no values
        return b""
    width = array.type.bit_width // 8
    return bytes(memoryview(buffers[1])[array.offset * width : (array.offset + len(array)) * width])
