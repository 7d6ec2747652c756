"""JSON Lines on standard input: positions, what is skipped, and lines that are not valid JSON."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerobus_core import IngestOptions
from zerobus_core.cli.stdin import JsonLinesPipe
from zerobus_core.errors import ConfigurationError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources.files.formats.json_lines import MAX_LINE_BYTES
from zerobus_core.sources.files.formats.json_values import UnreadableLine


@contextmanager
def pipe_of(*parts: bytes, until: threading.Event | None = None) -> Iterator[IO[bytes]]:
    """A pipe that a thread writes to; with ``until`` it waits after the first part."""
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb", buffering=0) as end:
            for part in parts:
                end.write(part)
                if until is not None:
                    assert until.wait(60)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reader, "rb") as pipe:
        yield pipe
    thread.join()


def rows_of(source: JsonLinesPipe, skip: RowRanges | None = None) -> dict[int, object]:
    """Position -> row, with each chunk's positions unbroken."""
    found: dict[int, object] = {}
    for chunk in source.chunks(skip or RowRanges()):
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
    seen = threading.Event()
    with pipe_of(b'{"id": 0}\n', b'{"id": 1}\n', until=seen) as pipe:
        rows = (row for chunk in JsonLinesPipe(IngestOptions(), pipe).chunks(RowRanges()) for row in chunk.rows)
        assert next(rows) == {"id": 0}
        seen.set()  # nothing more was written before
        assert list(rows) == [{"id": 1}]


def test_a_silent_writer_is_shown_by_chunks_without_rows() -> None:
    seen = threading.Event()
    with pipe_of(b"\n", b'{"id": 0}\n', until=seen) as pipe:
        chunks = JsonLinesPipe(IngestOptions(), pipe).chunks(RowRanges())
        assert next(chunks).rows == []  # a stop request is looked at whenever a chunk comes
        seen.set()
        assert [row for chunk in chunks for row in chunk.rows] == [{"id": 0}]


def test_a_line_without_end_is_refused_before_all_of_it_is_read() -> None:
    reader, writer = os.pipe()
    written = 0

    def write() -> None:
        nonlocal written
        with suppress(BrokenPipeError), os.fdopen(writer, "wb", buffering=0) as end:
            while True:
                written += end.write(b"x" * 2**20)

    thread = threading.Thread(target=write)
    thread.start()
    with (
        os.fdopen(reader, "rb") as pipe,
        pytest.raises(ConfigurationError, match=f"line 1 of standard input is longer than {MAX_LINE_BYTES} bytes"),
    ):
        rows_of(JsonLinesPipe(IngestOptions(), pipe))
    thread.join()
    assert written < MAX_LINE_BYTES + 2 * 2**20


def test_a_long_line_that_comes_in_many_parts_is_one_row() -> None:
    note = "x" * (MAX_LINE_BYTES // 2)
    with pipe_of(b'{"note": "%s"}\n{"id": 1}\n' % note.encode()) as pipe:
        found = rows_of(JsonLinesPipe(IngestOptions(), pipe))
    assert found == {0: {"note": note}, 1: {"id": 1}}


def test_only_a_source_version_gives_standard_input_a_fingerprint() -> None:
    with pipe_of() as pipe:
        assert JsonLinesPipe(IngestOptions(), pipe).fingerprint is None
        assert JsonLinesPipe(IngestOptions(source_version="1"), pipe).fingerprint is not None
