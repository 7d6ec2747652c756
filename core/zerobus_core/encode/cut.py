"""Encoded records into batches that keep the bounds on rows and bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..batch import Batch

if TYPE_CHECKING:
    from ..options import IngestOptions

__all__ = ["cut_batches"]


def cut_batches(
    records: Iterable[tuple[int, bytes]], options: IngestOptions, *, as_text: bool = False
) -> Iterator[Batch]:
    """Batches of consecutive rows, each within ``batch_rows`` and ``batch_bytes``.

    ``records`` are row numbers with payloads, in order; a gap in the numbers ends a batch, and a single record above
    ``batch_bytes`` travels alone.
    """
    first = size = 0
    payload: list[bytes] = []
    for row, record in records:
        is_full = len(payload) >= options.batch_rows or size + len(record) > options.batch_bytes
        if payload and (is_full or row != first + len(payload)):
            yield _batch(first, size, payload, as_text)
            payload, size = [], 0
        if not payload:
            first = row
        payload.append(record)
        size += len(record)
    if payload:
        yield _batch(first, size, payload, as_text)


def _batch(first: int, size: int, payload: list[bytes], as_text: bool) -> Batch:
    return Batch(
        first_row=first,
        rows=len(payload),
        nbytes=size,
        payload=[record.decode() for record in payload] if as_text else payload,
    )
