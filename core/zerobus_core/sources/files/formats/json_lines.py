"""JSON Lines files: one JSON object per line."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from ....errors import ConfigurationError
from ....options import MAX_RECORD_BYTES
from ....ranges import END
from ...chunking import MAX_CHUNK_BYTES, MAX_WAIT, Heartbeat
from .json_values import JsonValues

if TYPE_CHECKING:
    from ....schema import TableSchema
    from ..finding.found import FoundFile
    from .file_format import Pieces, Wanted

__all__ = ["ANY_VALUES", "MAX_LINE_BYTES", "JsonLinesFormat", "line_pieces"]

ANY_VALUES = JsonValues()
# What is sent as one byte may take six in JSON (\\u0000), and there is white space.
MAX_LINE_BYTES = 8 * MAX_RECORD_BYTES
_BLOCK_BYTES = 256 * 1024
_NO_RUN = (END, END)
_ARRAY = "write one object per line (jq -c '.[]'), or load it and pass the list"
_BOM = b"\xef\xbb\xbf"


class JsonLinesFormat:
    """UTF-8, lines ended by LF or CRLF; blank lines are no rows."""

    is_arrow = False
    is_text = True

    def __init__(self, values: JsonValues = ANY_VALUES) -> None:
        self._values = values

    def for_table(self, schema: TableSchema) -> JsonLinesFormat:
        """The format with numbers as exact as the table's columns can tell."""
        return JsonLinesFormat(JsonValues(schema.columns))

    @property
    def settings(self) -> dict[str, Any]:
        """There are none."""
        return {}

    def count(self, file: FoundFile) -> int | None:
        """Not known without reading."""
        return None

    def read(self, file: FoundFile, wanted: Wanted, chunk_rows: int) -> Pieces:
        """Lines that are not wanted are counted and not parsed."""
        with file.open() as opened:
            blocks = iter(partial(opened.read, _BLOCK_BYTES), b"")
            return (yield from line_pieces(blocks, wanted(0, END), chunk_rows, file.shown, self._values))


def line_pieces(
    blocks: Iterable[bytes],
    runs: Iterator[tuple[int, int]],
    chunk_rows: int,
    name: str,
    values: JsonValues = ANY_VALUES,
) -> Pieces:
    """The rows of the lines in ``blocks`` that are in ``runs``; see Pieces, the last of which ends after the last row.

    An empty block says that nothing came for a while.  Rows wait ``MAX_WAIT`` for their piece to fill.  ``name`` is
    where the lines come from, for errors; a line of more than ``MAX_LINE_BYTES`` is a ConfigurationError.
    """
    start, stop = next(runs, _NO_RUN)
    row = size = 0
    rows: list[Any] = []
    pulse = Heartbeat()
    deadline = 0.0
    for line in _lines(blocks, name):
        is_due = False
        if line is None:
            is_due = time.monotonic() >= deadline if rows else pulse.is_due()
        elif line and not line.isspace():
            if row == 0 and line.lstrip()[:1] == b"[":
                raise ConfigurationError(f"{name} is a JSON array; {_ARRAY}")
            if row == stop:
                start, stop = next(runs, _NO_RUN)
            if row >= start:
                if not rows:
                    deadline = time.monotonic() + MAX_WAIT
                rows.append(values.row(line))
                size += len(line)
                is_due = len(rows) == chunk_rows or size >= MAX_CHUNK_BYTES or row + 1 == stop
            row += 1
        if is_due:
            yield row - len(rows), rows
            rows, size = [], 0
    yield row - len(rows), rows
    return row


def _lines(blocks: Iterable[bytes], name: str) -> Iterator[bytes | None]:
    """Lines without their ends, and None after those of each block."""
    number = size = 0
    parts: list[bytes] = []
    for block in blocks:
        first, *others = block.split(b"\n")
        if first:
            parts.append(first)
            size += len(first)
        if size > MAX_LINE_BYTES:
            raise ConfigurationError(
                f"line {number + 1} of {name} is longer than {MAX_LINE_BYTES} bytes, and no record may be; "
                f"if it is a JSON array, {_ARRAY}"
            )
        if others:
            yield _joined(parts, number)
            yield from others[:-1]
            number += len(others)
            parts = [others[-1]]
            size = len(others[-1])
        yield None
    yield _joined(parts, number)


def _joined(parts: list[bytes], number: int) -> bytes:
    line = b"".join(parts)
    return line if number else line.removeprefix(_BOM)
