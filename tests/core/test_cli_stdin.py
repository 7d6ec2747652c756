"""JSON Lines on standard input: positions, what is skipped, and lines that are no JSON."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerobus_core import IngestOptions
from zerobus_core.cli.stdin import JsonLinesPipe
from zerobus_core.errors import ConfigurationError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources.json_values import UnreadableLine


@contextmanager
def pipe_of(*parts: bytes, pause: float = 0.0) -> Iterator[IO[bytes]]:
    """A pipe that a thread writes to, with a pause after each part."""
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb", buffering=0) as end:
            for part in parts:
                end.write(part)
                time.sleep(pause)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reader, "rb") as pipe:
        yield pipe
    thread.join()


def rows_of(source: JsonLinesPipe, skip: RowRanges | None = None) -> dict[int, object]:
    """Position -> row, with each chunk's positions unbroken."""
    found: dict[int, object] = {}
    for chunk in source.chunks(skip or RowRanges()):
        assert len(chunk.rows) > 0
        for position, row in enumerate(chunk.rows, chunk.first_row):
            assert position not in found
            found[position] = row
    return found


@given(
    count=st.integers(0, 40),
    batch_rows=st.integers(1, 10),
    durable=st.lists(st.tuples(st.integers(0, 39), st.integers(1, 8)), max_size=4),
    cut=st.integers(1, 60),
)
def test_every_row_that_is_not_durable_comes_once_at_its_position(
    count: int, batch_rows: int, durable: list[tuple[int, int]], cut: int
) -> None:
    skip = RowRanges((start, min(start + length, count)) for start, length in durable if start < count)
    text = b"".join(b'{"id": %d}\n\n' % n for n in range(count))
    parts = [text[start : start + cut] for start in range(0, len(text), cut)]
    with pipe_of(*parts) as pipe:
        found = rows_of(JsonLinesPipe(IngestOptions(batch_rows=batch_rows), pipe), skip)
    assert found == {n: {"id": n} for n in range(count) if n not in skip}


def test_a_last_line_without_its_end_is_a_row() -> None:
    with pipe_of(b'{"id": 0}\r\n{"id": 1}') as pipe:
        assert rows_of(JsonLinesPipe(IngestOptions(), pipe)) == {0: {"id": 0}, 1: {"id": 1}}


def test_a_line_that_is_no_json_takes_a_rows_place_and_is_told_as_a_bad_row() -> None:
    with pipe_of(b'{"id": 0}\n{"id": \n{"id": 2}\n') as pipe:
        found = rows_of(JsonLinesPipe(IngestOptions(), pipe))
    assert isinstance(found[1], UnreadableLine)
    assert (found[0], found[2]) == ({"id": 0}, {"id": 2})


def test_a_json_array_is_refused_with_what_to_do() -> None:
    with (
        pipe_of(b"[{}]\n") as pipe,
        pytest.raises(ConfigurationError, match="standard input is a JSON array; write one"),
    ):
        rows_of(JsonLinesPipe(IngestOptions(), pipe))


@pytest.mark.parametrize("durable", [[(0, 21)], [(0, 5), (50, 60)], [(5, 10), (15, 25)], [(0, 20), (21, 22)]])
def test_input_that_ends_before_what_is_durable_is_refused(durable: list[tuple[int, int]]) -> None:
    with pipe_of(b'{"id": 0}\n' * 20) as pipe, pytest.raises(ConfigurationError, match="ended after 20 rows"):
        rows_of(JsonLinesPipe(IngestOptions(source_version="1"), pipe), RowRanges(durable))


def test_a_chunk_of_long_lines_is_short() -> None:
    line = b'{"note": "%s"}\n' % (b"x" * 2**20)
    with pipe_of(*[line] * 40) as pipe:
        sizes = [len(chunk.rows) for chunk in JsonLinesPipe(IngestOptions(), pipe).chunks(RowRanges())]
    assert sum(sizes) == 40
    assert max(sizes) <= 16


def test_rows_are_handed_on_while_the_writer_pauses() -> None:
    with pipe_of(b'{"id": 0}\n', b'{"id": 1}\n', pause=2.0) as pipe:
        chunks = JsonLinesPipe(IngestOptions(), pipe).chunks(RowRanges())
        started = time.monotonic()
        assert next(chunks).rows == [{"id": 0}]
        assert time.monotonic() - started < 1.9
        assert [chunk.rows for chunk in chunks] == [[{"id": 1}]]


def test_only_a_source_version_gives_standard_input_a_fingerprint() -> None:
    with pipe_of() as pipe:
        assert JsonLinesPipe(IngestOptions(), pipe).fingerprint is None
        assert JsonLinesPipe(IngestOptions(source_version="1"), pipe).fingerprint is not None
