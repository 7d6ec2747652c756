"""Makes chunks of a suitable size: joins small pieces and splits large ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ...batch import Chunk

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "HEARTBEAT",
    "MAX_CHUNK_BYTES",
    "MAX_WAIT",
    "Heartbeat",
    "clip",
    "coalesce",
    "delayed",
    "split",
    "without_dictionaries",
]

# Rows of a slow source wait at most this long (seconds) for their chunk to fill. The time is checked at each new row.
MAX_WAIT = 1.0
# Encoding a chunk takes a few times the chunk's size in memory, and max_unacked_bytes does not limit this memory.
MAX_CHUNK_BYTES = 16 * 1024 * 1024
# The size of a batch with more rows is always computed from its own parts of the buffers; see split.
_LONG_BATCH = 131_072
# If a source has no rows for this long (seconds), it yields an empty chunk, to show that it still works.
HEARTBEAT = 0.25


class Heartbeat:
    """Decides when a source that finds no rows must yield an empty chunk."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due_at = clock() + HEARTBEAT

    def is_due(self) -> bool:
        """Return whether ``HEARTBEAT`` seconds have passed since the last call that returned True.

        Until the first such call, the time is counted from the creation of the Heartbeat.
        """
        now = self._clock()
        if now < self._due_at:
            return False
        self._due_at = now + HEARTBEAT
        return True


def delayed(
    chunks: Iterator[Chunk],
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Chunk]:
    """Yield ``chunks`` after a delay of ``seconds``; during the delay, yield empty chunks as heartbeats."""
    end = clock() + seconds
    while (left := end - clock()) > 0:
        sleep(min(left, HEARTBEAT))
        yield Chunk(0, [])
    yield from chunks


def clip(
    batch: pa.RecordBatch, first_row: int, wanted: Callable[[int, int], Iterator[tuple[int, int]]]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the wanted slices of a batch, each with the position of its first row.

    ``first_row`` is the position of the batch's first row. ``wanted`` is called with two positions, and yields the
    ranges of wanted rows between them. If no row of the batch is wanted, ``clip`` yields one empty slice, because
    ``coalesce`` can yield a heartbeat only when it gets a chunk.
    """
    stop_row = first_row + len(batch)
    runs = list(wanted(first_row, stop_row)) or [(stop_row, stop_row)]
    for start, stop in runs:
        yield start, batch.slice(start - first_row, stop - start)


def split(batch: pa.RecordBatch, first_row: int) -> Iterator[Chunk]:
    """Split a record batch into chunks of about ``MAX_CHUNK_BYTES`` or less, without copying its data.

    ``first_row`` is the position of the batch's first row. An empty batch becomes one empty chunk. All chunks of a
    batch have the same number of rows, except that the last chunk can have fewer. If the rows differ in size, the
    chunks differ in size.
    """
    # get_total_buffer_size() is 100 times faster than nbytes, but measures whole buffers. Any number of nulls can share
    # one small buffer, so its result is not used for a batch with many rows.
    if not len(batch) or (len(batch) <= _LONG_BATCH and batch.get_total_buffer_size() <= MAX_CHUNK_BYTES):
        yield Chunk(first_row, batch)
        return
    step = max(1, MAX_CHUNK_BYTES * len(batch) // max(1, batch.nbytes))
    for start in range(0, len(batch), step):
        yield Chunk(first_row + start, batch.slice(start, step))


def coalesce(
    chunks: Iterator[Chunk], chunk_rows: int, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Chunk]:
    """Join consecutive small chunks, and yield the joined chunks.

    A joined chunk is yielded as soon as one of these is true:

    * The joined chunk has ``chunk_rows`` rows.
    * The next chunk would make the joined chunk too large, or cannot be joined to it.
    * The first rows of the joined chunk have waited for ``MAX_WAIT`` seconds. This is checked only when ``chunks``
      yields.
    * ``chunks`` has ended.

    Chunks without rows are passed on only as often as ``Heartbeat`` requires.
    """
    held: list[Chunk] = []
    rows = size = 0
    deadline = 0.0
    pulse = Heartbeat(clock)
    for chunk in chunks:
        if not len(chunk.rows):
            if held and clock() >= deadline:
                yield from _joined(held)
                held = []
            elif pulse.is_due():
                yield chunk
            continue
        if not held and len(chunk.rows) >= chunk_rows:
            yield chunk  # without measuring its size, because that takes time
            continue
        is_full = rows + len(chunk.rows) > chunk_rows or size + _size(chunk) > MAX_CHUNK_BYTES
        if held and (is_full or not _continues(held[-1], chunk)):
            yield from _joined(held)
            held = []
        if not held:
            rows = size = 0
            deadline = clock() + MAX_WAIT
        held.append(chunk)
        rows += len(chunk.rows)
        size += _size(chunk)
        if rows >= chunk_rows or clock() >= deadline:
            yield from _joined(held)
            held = []
    yield from _joined(held)


def _size(chunk: Chunk) -> int:
    # A source that yields lists of rows has already limited their size.
    return 0 if isinstance(chunk.rows, list) else int(chunk.rows.nbytes)


def _continues(last: Chunk, chunk: Chunk) -> bool:
    if chunk.first_row != last.stop_row:
        return False
    if isinstance(chunk.rows, list) or isinstance(last.rows, list):
        return isinstance(chunk.rows, list) and isinstance(last.rows, list)
    return bool(chunk.rows.schema.equals(last.rows.schema))


def _joined(held: list[Chunk]) -> Iterator[Chunk]:
    if len(held) <= 1:
        yield from held
        return
    first = held[0].first_row
    if isinstance(held[0].rows, list):
        yield Chunk(first, [row for chunk in held for row in chunk.rows])
        return
    import pyarrow as pa

    batches: list[Any] = [chunk.rows for chunk in held]
    try:
        joined = without_dictionaries(pa.Table.from_batches(batches)).combine_chunks().to_batches()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        yield from held  # dictionaries inside lists have too many values to be joined into one dictionary
        return
    for batch in joined:
        yield Chunk(first, batch)
        first += len(batch)


def without_dictionaries(table: pa.Table) -> pa.Table:
    """Decode the dictionary columns of a table, but not dictionaries inside nested columns; return the new table.

    Call this before chunks are joined: a joined column can have more distinct values than the index type of its
    dictionary allows.
    """
    for at, field in enumerate(table.schema):
        if hasattr(field.type, "value_type") and hasattr(field.type, "index_type"):
            table = table.set_column(at, field.with_type(field.type.value_type), table[at].cast(field.type.value_type))
    return table
