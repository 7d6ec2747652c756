"""A source that reads JSON Lines from standard input, and yields rows as they arrive."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from ..batch import Chunk
from ..errors import ConfigurationError
from ..sources.files.formats.json_lines import ANY_VALUES, line_pieces
from ..sources.files.formats.json_values import JsonValues
from ..sources.protocol.chunking import HEARTBEAT
from ..sources.rows.iterables import check_length, version_fingerprint

if TYPE_CHECKING:
    from ..options import IngestOptions
    from ..ranges import RowRanges
    from ..schema import TableSchema

__all__ = ["JsonLinesPipe"]

_READ_BYTES = 256 * 1024


class JsonLinesPipe:
    """The rows on standard input.

    A pipe can be read only once. Another attempt resumes only if both attempts have the same ``source_version``.
    Reads the file descriptor directly: a buffered reader would hold back rows that a slow writer has already written.
    """

    is_arrow = False
    is_text = True
    total_rows = None

    def __init__(self, options: IngestOptions, pipe: IO[bytes] | None = None) -> None:
        if pipe is None and sys.stdin is None:
            raise ConfigurationError("standard input is closed, so there is nothing to push")
        self._pipe = pipe or sys.stdin.buffer
        self._chunk_rows = options.batch_rows
        self.fingerprint = version_fingerprint(options)
        self._values = ANY_VALUES

    def read_for(self, schema: TableSchema) -> None:
        """From now on, read numbers with the precision that the columns of ``schema`` need."""
        self._values = JsonValues(schema.columns)

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the rows that are not in ``skip``."""
        rows_read = 0
        for first_row, rows in line_pieces(
            self._blocks(), skip.without(), self._chunk_rows, "standard input", self._values
        ):
            rows_read = first_row + len(rows)
            yield Chunk(first_row, rows)
        check_length(rows_read, skip)

    def _blocks(self) -> Iterator[bytes]:
        """Yield blocks of stdin as they arrive, and an empty block whenever nothing arrives within ``HEARTBEAT``."""
        while True:
            if not _is_ready(self._pipe):
                yield b""
            elif data := os.read(self._pipe.fileno(), _READ_BYTES):
                yield data
            else:
                return


def _is_ready(pipe: IO[bytes]) -> bool:
    if os.name == "nt":
        return True  # there, select works only for sockets
    readable, _, _ = select.select([pipe], [], [], HEARTBEAT)
    return bool(readable)
