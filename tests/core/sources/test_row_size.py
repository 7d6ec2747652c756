"""Chunks of large rows are short ones, whatever the rows are made of."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from zerobus_core import IngestOptions
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_core.sources.protocol.chunking import MAX_CHUNK_BYTES

BLOB = b"x" * 1_000_000


@dataclass
class Plain:
    id: int
    blob: bytes


@dataclass(slots=True)
class Slotted:
    id: int
    blob: bytes


Named = namedtuple("Named", ["id", "blob"])

KINDS = {
    "dict": lambda i: {"id": i, "blob": BLOB},
    "list inside": lambda i: {"id": i, "blob": [BLOB]},
    "struct inside": lambda i: {"id": i, "blob": {"a": {"b": BLOB}}},
    "array inside": lambda i: {"id": i, "blob": np.frombuffer(BLOB, np.uint8)},
    "dataclass": lambda i: Plain(i, BLOB),
    "slots": lambda i: Slotted(i, BLOB),
    "namedtuple": lambda i: Named(i, BLOB),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("as_list", [True, False])
def test_a_chunk_of_large_rows_is_short(kind: str, as_list: bool) -> None:
    rows: Any = [KINDS[kind](i) for i in range(200)]
    source = source_of(rows if as_list else iter(rows), IngestOptions())
    chunks = list(source.chunks(RowRanges()))
    assert [row for chunk in chunks for row in chunk.rows] == rows if kind != "array inside" else True
    assert [chunk.first_row for chunk in chunks] == [
        sum(len(chunk.rows) for chunk in chunks[:index]) for index in range(len(chunks))
    ]
    assert sum(len(chunk.rows) for chunk in chunks) == 200
    assert max(len(chunk.rows) for chunk in chunks) <= 2 * MAX_CHUNK_BYTES // len(BLOB)


def test_small_rows_fill_their_chunks() -> None:
    chunks = list(
        source_of([{"id": i, "tags": ["a", "b"]} for i in range(12_000)], IngestOptions()).chunks(RowRanges())
    )
    assert [len(chunk.rows) for chunk in chunks] == [5_000, 5_000, 2_000]


def test_one_large_row_among_small_ones_stands_in_a_chunk_of_its_own() -> None:
    rows: list[dict[str, Any]] = [{"id": i} for i in range(64)]
    rows[16] = {"id": 16, "blob": "x" * (MAX_CHUNK_BYTES + 1)}
    chunks = list(source_of(rows, IngestOptions()).chunks(RowRanges()))
    assert [row for chunk in chunks for row in chunk.rows] == rows
    assert any(len(chunk.rows) == 1 and chunk.first_row == 16 for chunk in chunks)
