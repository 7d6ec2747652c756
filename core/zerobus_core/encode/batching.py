"""Cuts encoded records into batches within the limits on rows and bytes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from ..batch import Batch

if TYPE_CHECKING:
    from ..options import IngestOptions

__all__ = ["split_batches"]


def split_batches(
    first_row: int, records: list[bytes], options: IngestOptions, *, nbytes: int, as_text: bool = False
) -> Iterator[Batch]:
    """Yield batches of consecutive rows, each within ``batch_rows`` and ``batch_bytes``.

    ``nbytes`` is the size of all ``records``. A record that is larger than ``batch_bytes`` gets a batch of its own.
    """
    if records and len(records) <= options.batch_rows and nbytes <= options.batch_bytes:  # most chunks are one batch
        yield _batch(first_row, records, nbytes, as_text)
        return
    ends = list(accumulate(map(len, records), initial=0))  # record i begins at ends[i]
    start = 0
    while start < len(records):
        by_bytes = bisect_right(ends, ends[start] + options.batch_bytes) - 1
        stop = max(start + 1, min(by_bytes, start + options.batch_rows))
        yield _batch(first_row + start, records[start:stop], ends[stop] - ends[start], as_text)
        start = stop


def _batch(first_row: int, records: list[bytes], size: int, as_text: bool) -> Batch:
    payload = list(map(bytes.decode, records)) if as_text else records
    return Batch(first_row=first_row, rows=len(records), nbytes=size, payload=payload)
