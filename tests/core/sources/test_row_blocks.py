"""Rows that come in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zerobus_core import IngestOptions
from zerobus_core.ranges import RowRanges
from zerobus_core.sources.protocol.chunking import MAX_CHUNK_BYTES, MAX_WAIT
from zerobus_core.sources.rows.iterables import IterableSource
from zerobus_core.sources.rows.row_blocks import RowBlocks


def blocks(*sizes: int) -> Iterator[list[dict[str, Any]]]:
    row = 0
    for size in sizes:
        yield [{"id": row + n} for n in range(size)]
        row += size


def positions(source: IterableSource, skip: RowRanges | None = None) -> list[tuple[int, list[int]]]:
    chunks = source.chunks(skip or RowRanges())
    return [(chunk.first_row, [row["id"] for row in chunk.rows]) for chunk in chunks if len(chunk.rows)]


def test_rows_are_taken_one_by_one_or_in_slices_and_never_twice() -> None:
    rows = RowBlocks(blocks(3, 0, 2, 5))
    assert next(rows) == {"id": 0}
    assert [row["id"] for row in rows.take(10)] == [1, 2]  # no further than the block at hand
    assert [row["id"] for row in rows.take(1)] == [3]
    assert [row["id"] for row in rows] == [4, 5, 6, 7, 8, 9]
    assert rows.take(3) == []
    assert next(rows, None) is None


def test_chunks_are_filled_over_several_blocks_and_skip_what_is_durable() -> None:
    source = IterableSource(lambda: RowBlocks(blocks(40, 1, 60)), IngestOptions(batch_rows=50), can_read_again=True)
    assert positions(source) == [(0, [*range(50)]), (50, [*range(50, 100)]), (100, [100])]
    assert positions(source, RowRanges([(10, 45)])) == [
        (0, [*range(10)]),
        (45, [*range(45, 95)]),
        (95, [*range(95, 101)]),
    ]


def test_the_next_block_is_not_fetched_before_the_rows_at_hand_are_taken() -> None:
    fetched: list[int] = []

    def fetching() -> Iterator[list[dict[str, Any]]]:
        for number, block in enumerate(blocks(50, 50)):
            fetched.append(number)
            yield block

    chunks = IterableSource(lambda: RowBlocks(fetching()), IngestOptions(batch_rows=50)).chunks(RowRanges())
    next(chunks)
    assert fetched == [0]


def test_large_rows_make_short_chunks() -> None:
    text = "x" * (MAX_CHUNK_BYTES // 40)
    source = IterableSource(lambda: RowBlocks([[{"id": n, "text": text} for n in range(200)]]), IngestOptions())
    assert max(len(chunk.rows) for chunk in source.chunks(RowRanges())) <= 48


def test_rows_of_a_slow_source_are_sent_on_when_the_next_ones_come() -> None:
    now = 0.0

    def slow() -> Iterator[list[dict[str, Any]]]:
        nonlocal now
        for block in blocks(10, 10, 10):
            yield block
            now += MAX_WAIT

    source = IterableSource(lambda: RowBlocks(slow()), IngestOptions(), clock=lambda: now)
    assert [len(chunk.rows) for chunk in source.chunks(RowRanges())] == [20, 10]
