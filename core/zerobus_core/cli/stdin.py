"""JSON Lines on standard input as a source: rows that come as they come."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from ..batch import Chunk
from ..sources.json_lines import ANY_VALUES, parsed_line
from ..sources.json_values import JsonValues
from ..sources.merge import MAX_CHUNK_BYTES, MAX_WAIT
from ..sources.rows import check_length, version_fingerprint

if TYPE_CHECKING:
    from ..options import IngestOptions
    from ..ranges import RowRanges
    from ..schema import TableSchema

__all__ = ["JsonLinesPipe"]

_READ_BYTES = 256 * 1024


class JsonLinesPipe:
    """See the module's docstring.  A pipe can be read once; a retry resumes only with ``source_version``.

    Reads the file descriptor itself: a buffered reader would keep rows back that a slow writer has written.
    """

    is_arrow = False
    is_text = True
    total_rows = None

    def __init__(self, options: IngestOptions, pipe: IO[bytes] | None = None) -> None:
        self._pipe = pipe or sys.stdin.buffer
        self._chunk_rows = options.batch_rows
        self.fingerprint = version_fingerprint(options)
        self._values = ANY_VALUES

    def read_for(self, schema: TableSchema) -> None:
        """Read numbers as exactly as the table's columns can tell."""
        self._values = JsonValues(schema.columns)

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the rows that are not in ``skip``."""
        wanted = skip.without(0, sys.maxsize)
        start, stop = next(wanted, (sys.maxsize, sys.maxsize))
        position, rows, size, since = 0, list[Any](), 0, 0.0
        for line in self._lines():
            if line is not None and line.strip():
                if position >= stop:
                    start, stop = next(wanted, (sys.maxsize, sys.maxsize))
                if position >= start:
                    since = since if rows else time.monotonic()
                    rows.append(parsed_line(line, position, "standard input", self._values))
                    size += len(line)
                position += 1
            is_full = len(rows) == self._chunk_rows or size >= MAX_CHUNK_BYTES or position == stop
            if rows and (is_full or time.monotonic() - since >= MAX_WAIT):
                yield Chunk(position - len(rows), rows)
                rows, size = [], 0
        if rows:
            yield Chunk(position - len(rows), rows)
        check_length(position, skip)

    def _lines(self) -> Iterator[bytes | None]:
        """Whole lines as they come, and None whenever nothing comes for a while."""
        rest = b""
        while True:
            if not _is_ready(self._pipe):
                yield None
                continue
            data = os.read(self._pipe.fileno(), _READ_BYTES)
            if not data:
                break
            *whole, rest = (rest + data).split(b"\n")
            yield from whole
        if rest:
            yield rest


def _is_ready(pipe: IO[bytes]) -> bool:
    if os.name == "nt":
        return True  # select knows sockets only there
    readable, _, _ = select.select([pipe], [], [], MAX_WAIT)
    return bool(readable)
