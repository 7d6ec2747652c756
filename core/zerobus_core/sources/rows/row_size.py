"""Estimates the size of rows in bytes, so that chunks have fewer rows if the rows are large."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from ...batch import Chunk
from ...encode.problems import FOREIGN_ERRORS
from ...records import in_one_list
from ..protocol.chunking import MAX_CHUNK_BYTES

__all__ = ["SAMPLED_EVERY", "chunks_of", "flat_size_of", "size_of"]

# The size of every 16th row is measured, and taken for the others.
SAMPLED_EVERY = 16
_DEPTH = 4
_WEIGHTLESS = frozenset({bool, date, datetime, Decimal, float, int, type(None)})
_TEXTS = frozenset({str, bytes})
_FLAT = _WEIGHTLESS | _TEXTS


def size_of(row: Any) -> int:
    """Return the approximate size of a record in bytes: the size of its text, bytes and nested values.

    Only the first element of a list is measured; the others are assumed to have the same size. A record whose own code
    raises an error has the size 0; the encoder reports it.
    """
    try:
        return _size_of(row)
    except FOREIGN_ERRORS:
        return 0


def _size_of(row: Any) -> int:
    if type(row) is dict:
        return _weight_of(row.values(), _DEPTH)
    message_size: Any = getattr(type(row), "ByteSize", None)
    if message_size is not None:
        return int(message_size(row))
    if isinstance(row, Mapping):
        values: Any = row.values()
    elif isinstance(row, tuple | list):
        values = row
    else:
        values = getattr(row, "__dict__", {}).values() or _slots(row)
    return _weight_of(values, _DEPTH)


def _weight_of(values: Iterable[Any], depth: int) -> int:
    size = 0
    for value in values:
        kind = type(value)
        if kind in _TEXTS:
            size += len(value)
        elif kind not in _WEIGHTLESS:
            size += _weight(value, depth)
    return size


def flat_size_of(rows: Sequence[Any]) -> int | None:
    """Return the approximate size of ``rows`` in bytes; None if only ``size_of`` can measure them.

    Every 16th row is measured. The result is None unless the measured rows are all dicts or all tuples, and all their
    values have plain types, such as text, numbers and dates. The rows are measured together, which is ten
    times as fast as calling ``size_of`` for each of them.
    """
    sample = rows[::SAMPLED_EVERY]
    kinds = set(map(type, sample))
    if kinds == {dict}:
        values = in_one_list(map(dict.values, sample))
    elif kinds == {tuple}:
        values = in_one_list(sample)
    else:
        return None
    if not _FLAT.issuperset(map(type, values)):
        return None
    return sum(len(value) for value in values if type(value) in _TEXTS) * SAMPLED_EVERY


def _weight(value: Any, depth: int) -> int:
    if type(value) is dict:  # first, because the tests below are slower
        return _weight_of(value.values(), depth - 1) if depth else 0
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if not depth or isinstance(value, int | float | None):
        return 0
    if isinstance(value, Mapping):
        return _weight_of(value.values(), depth - 1)
    if isinstance(value, list | tuple):
        return len(value) * max(1, _weight_of(value[:1], depth - 1)) if value else 0
    nbytes = getattr(value, "nbytes", 0)  # NumPy arrays and memoryviews
    return nbytes if isinstance(nbytes, int) else 0


def _slots(row: Any) -> list[Any]:
    names = getattr(type(row), "__dataclass_fields__", ())
    return [getattr(row, name, None) for name in names]


def chunks_of(first_row: int, rows: list[Any]) -> Iterator[Chunk]:
    """Yield the rows as one chunk, or as several if they are larger than ``MAX_CHUNK_BYTES``."""
    whole = flat_size_of(rows)
    if rows and whole is not None and whole <= MAX_CHUNK_BYTES:
        yield Chunk(first_row, rows)
        return
    start = size = 0
    for at in range(0, len(rows), SAMPLED_EVERY):
        one = size_of(rows[at])
        size += one * min(SAMPLED_EVERY, len(rows) - at)
        if size > MAX_CHUNK_BYTES:
            step = max(1, MAX_CHUNK_BYTES // one) if one * SAMPLED_EVERY > MAX_CHUNK_BYTES else SAMPLED_EVERY
            if at > start:
                yield Chunk(first_row + start, rows[start:at])
            stop = min(at + SAMPLED_EVERY, len(rows))
            for begin in range(at, stop, step):
                yield Chunk(first_row + begin, rows[begin : min(begin + step, stop)])
            start, size = stop, 0
    if start < len(rows):
        yield Chunk(first_row + start, rows[start:])
