"""What Arrow columns hold, as bytes that do not depend on how the rows are cut into batches; for digests."""

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
"""From the indices of the first row and of the one after the last, to the tracks of those rows."""


class ColumnsContent:
    """The content of some rows, given as one array for each column; see ``zerobus_core.batch.RowContent``."""

    def __init__(self, columns: Mapping[str, pa.Array]) -> None:
        self._columns = [_tracks_of(array) for array in columns.values()]

    def tracks(self, start: int, stop: int) -> list[bytes | memoryview]:
        """The rows from index ``start`` to ``stop``: a track for each buffer of each column."""
        return [track for tracks in self._columns for track in tracks(start, stop)]


def _tracks_of(array: pa.Array) -> Tracks:
    """The tracks of a column; one without nulls gives parts of its own buffers, which costs next to nothing."""
    if array.null_count == 0 and not pa.types.is_nested(array.type):
        return _flat(array)
    return lambda start, stop: _tracks(array.slice(start, stop - start))


def _flat(array: pa.Array) -> Tracks:
    """The tracks of an array that is not nested and holds no null."""
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
    """Validity first; then values, of which those below a null are left out, since they are arbitrary."""
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
    """Entries sorted by key, since a map has no order."""
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
    """The bytes of values of a fixed width, none of which is null."""
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    buffers = array.buffers()
    if not len(array) or len(buffers) < 2 or buffers[1] is None:  # noqa: PLR2004  # the type Null has no values
        return b""
    width = array.type.bit_width // 8
    return bytes(memoryview(buffers[1])[array.offset * width : (array.offset + len(array)) * width])
