"""Reads JSON files: one object per line, an array of objects, or objects that span several lines."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from ....errors import ConfigurationError
from ....file_formats import JsonFormat
from ....options import MAX_RECORD_BYTES
from ....ranges import END
from ...protocol.chunking import MAX_CHUNK_BYTES, MAX_WAIT, Heartbeat
from .encodings import utf8_blocks
from .json_texts import json_texts, layout_of
from .json_values import JsonValues
from .row_lines import LinesOfFiles, RowLines

if TYPE_CHECKING:
    from ....schema import TableSchema
    from ..finding.found import FoundFile
    from .file_format import Pieces, Wanted

__all__ = ["ANY_VALUES", "MAX_LINE_BYTES", "JsonLinesFormat", "line_pieces", "text_pieces"]

ANY_VALUES = JsonValues()
# A byte of a record can take six bytes in JSON (\\u0000), and there can be white space.
MAX_LINE_BYTES = 8 * MAX_RECORD_BYTES
_BLOCK_BYTES = 256 * 1024
_NO_RUN = (END, END)
_ARRAY = "write one object per line (jq -c '.[]'), or load the array and pass the list"
_BOM = b"\xef\xbb\xbf"


class JsonLinesFormat:
    """Reads one object per line, an array of objects, or objects that span several lines.

    The start of a file, after any white space, shows which of the three it contains. If the file begins with ``[``, it
    contains an array. If the first line is only ``{``, the file contains objects that span several lines. Otherwise, it
    contains one object per line. Lines end in LF or CRLF; blank lines are ignored.
    """

    is_arrow = False
    is_text = True

    def __init__(self, format: JsonFormat | None = None, values: JsonValues = ANY_VALUES) -> None:
        self._format = format or JsonFormat()
        self._values = values
        self.lines = LinesOfFiles()

    def for_table(self, schema: TableSchema) -> JsonLinesFormat:
        """Return a format that reads numbers with the precision that the table's columns need."""
        return JsonLinesFormat(self._format, JsonValues(schema.columns))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the JsonFormat."""
        return self._format.settings()

    def count(self, file: FoundFile) -> int | None:
        """Always None: counting rows would mean reading the file."""
        return None

    def read(self, file: FoundFile, wanted: Wanted, chunk_rows: int) -> Pieces:
        """Yield the wanted rows. The texts of other rows are counted but not parsed."""
        with file.open() as opened:
            blocks = utf8_blocks(iter(partial(opened.read, _BLOCK_BYTES), b""), self._format.encoding, file.shown)
            lines = self.lines.begin(file.path)
            texts = _texts(blocks, file.shown, lines)
            return (yield from text_pieces(texts, wanted(0, END), chunk_rows, self._values, lines=lines))


def _texts(blocks: Iterator[bytes], name: str, lines: RowLines) -> Iterator[bytes | None]:
    """Yield the JSON text of each row; at the end of each block, yield None.

    The first bytes of the file show how its rows are laid out. If each line is a row, this function records in
    ``lines`` that row 0 is in line 1.
    """
    start = b""
    layout = None
    for block in blocks:
        start += block
        layout = layout_of(start)
        if layout is not None or len(start) > MAX_LINE_BYTES:
            break
    whole = chain([start], blocks)
    if layout in {"array", "values"}:
        yield from json_texts(whole, name, is_array=layout == "array", max_bytes=MAX_LINE_BYTES)
    else:
        lines.note(0, 1)
        yield from _lines(whole, name)


def line_pieces(
    blocks: Iterable[bytes],
    runs: Iterator[tuple[int, int]],
    chunk_rows: int,
    name: str,
    values: JsonValues = ANY_VALUES,
) -> Pieces:
    """Yield the wanted rows as Pieces; each line in ``blocks`` that is not blank is a row.

    ``runs`` yields ranges of positions: the rows at these positions are wanted. Pieces can be empty. An empty block in
    ``blocks`` means that no data have arrived for a while. A piece that is not full is yielded when its first row has
    waited for about ``MAX_WAIT`` seconds; the time is checked after each block. Error messages call the origin of the
    lines ``name``. Raises ConfigurationError for a line longer than ``MAX_LINE_BYTES``, and if the first line that is
    not blank begins a JSON array.
    """
    return (yield from text_pieces(_without_array(_lines(blocks, name), name), runs, chunk_rows, values))


def _without_array(lines: Iterator[bytes | None], name: str) -> Iterator[bytes | None]:
    """Yield the lines; raise ConfigurationError if the first line that is not blank begins an array."""
    is_first = True
    for line in lines:
        if is_first and line and not line.isspace():
            if line.lstrip()[:1] == b"[":
                raise ConfigurationError(f"{name} is a JSON array; {_ARRAY}")
            is_first = False
        yield line


def text_pieces(
    texts: Iterable[bytes | None],
    runs: Iterator[tuple[int, int]],
    chunk_rows: int,
    values: JsonValues = ANY_VALUES,
    *,
    lines: RowLines | None = None,
) -> Pieces:
    """Yield the wanted rows of JSON texts, as ``line_pieces`` does for lines.

    At each None in ``texts``, rows that have waited for ``MAX_WAIT`` seconds are yielded. Blank texts are not rows, but
    are recorded in ``lines``, because they change the line numbers of the rows after them.
    """
    blank = 0
    start, stop = next(runs, _NO_RUN)
    row = size = 0
    held: list[bytes] = []
    pulse = Heartbeat()
    deadline = 0.0
    for line in texts:
        is_due = False
        if line is None:
            is_due = time.monotonic() >= deadline if held else pulse.is_due()
        elif line and not line.isspace():
            if row == stop:
                start, stop = next(runs, _NO_RUN)
            if row >= start:
                if not held:
                    deadline = time.monotonic() + MAX_WAIT
                held.append(line)
                size += len(line)
                is_due = len(held) == chunk_rows or size >= MAX_CHUNK_BYTES or row + 1 == stop
            row += 1
        elif lines is not None:
            blank += 1
            lines.note(row, row + blank + 1)
        if is_due:
            yield row - len(held), values.rows(held)
            held, size = [], 0
    yield row - len(held), values.rows(held)
    return row


def _lines(blocks: Iterable[bytes], name: str) -> Iterator[bytes | None]:
    """Yield the lines in ``blocks`` without their LF; at the end of each block, yield None.

    After the last block, yields the text after the last LF, which can be empty.
    """
    number = size = 0
    parts: list[bytes] = []
    for block in blocks:
        first, *others = block.split(b"\n")
        if first:
            parts.append(first)
            size += len(first)
        if size > MAX_LINE_BYTES:
            raise ConfigurationError(
                f"line {number + 1} of {name} is longer than {MAX_LINE_BYTES} bytes, the limit for a line; if the "
                f"file is a JSON array, {_ARRAY}"
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
