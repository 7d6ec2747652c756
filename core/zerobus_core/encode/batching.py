"""Cuts encoded records into batches within the limits on rows and bytes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ..batch import Batch

if TYPE_CHECKING:
    from ..options import IngestOptions

__all__ = ["Records", "byte_size", "split_batches"]

Records = list[Any]
"""Encoded rows: protobuf messages (bytes) or JSON objects (str); None for a row that has no record."""


def byte_size(record: bytes | str) -> int:
    """Return the size of a record in bytes; text counts as UTF-8."""
    return len(record) if isinstance(record, bytes) or record.isascii() else len(record.encode())


def split_batches(first_row: int, records: Records, options: IngestOptions, *, nbytes: int) -> Iterator[Batch]:
    """Yield batches of consecutive rows, each within ``batch_rows`` and ``batch_bytes``.

    ``nbytes`` is the size of all ``records``. A record that is larger than ``batch_bytes`` gets a batch of its own.
    """
    if records and len(records) <= options.batch_rows and nbytes <= options.batch_bytes:  # most chunks are one batch
        yield Batch(first_row=first_row, rows=len(records), nbytes=nbytes, payload=records)
        return
    ends = list(accumulate(map(byte_size, records), initial=0))  # record i begins at ends[i]
    start = 0
    while start < len(records):
        by_bytes = bisect_right(ends, ends[start] + options.batch_bytes) - 1
        stop = max(start + 1, min(by_bytes, start + options.batch_rows))
        nbytes = ends[stop] - ends[start]
        yield Batch(first_row=first_row + start, rows=stop - start, nbytes=nbytes, payload=records[start:stop])
        start = stop
