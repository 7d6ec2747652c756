"""CSV files: every cell is text, and becomes what the table's column is.

Types are not guessed from the first rows: a guess that a later row breaks would fail a delivery half way.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.csv as pa_csv

from ....errors import ConfigurationError
from ....options import MAX_RECORD_BYTES
from ...chunking import wanted_parts

if TYPE_CHECKING:
    from ..finding.found import FoundFile
    from .file_format import Pieces, Wanted

__all__ = ["CsvFormat"]

# Arrow keeps some blocks in memory, and a row may not be longer than one; a record may not be longer than the last.
_BLOCKS = (1024 * 1024, MAX_RECORD_BYTES + 64 * 1024)
# The cells of a row that is added after the last one of a file.
_END = "zerobus: the file ends here"


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvFormat:
    """RFC 4180 with a header line, in UTF-8; ``.tsv`` files are parted by tabs.

    An empty cell without quotes is NULL, ``""`` is the empty text.  Blank lines are no rows, unless there is
    one column only: there they are an empty cell.  ``null_values`` are further words for NULL in all columns; NA, N/A,
    NULL and null are so anyway in columns that are not text.
    """

    delimiter: str | None = None
    null_values: tuple[str, ...] = ()

    is_arrow = True
    is_text = True

    @property
    def settings(self) -> dict[str, Any]:
        """All of them change what a cell is."""
        return asdict(self)

    def count(self, file: FoundFile) -> int | None:
        """Not known: quoted cells may hold line ends."""
        return None

    def read(self, file: FoundFile, wanted: Wanted, _chunk_rows: int) -> Pieces:
        """Rows that are not wanted are parted into cells, and dropped."""
        delimiter = self.delimiter or ("\t" if file.suffix == ".tsv" else ",")
        names, blank_lines = _header(file, delimiter)
        if not names:
            return 0  # a file of no bytes, as writers of partitions leave them, or of white space
        layout = _Layout(delimiter, blank_lines, columns=len(names))
        convert = pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=["", *self.null_values],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        done = 0
        for block_bytes in _BLOCKS:
            try:
                for first, batch in _batches(file, block_bytes, layout, convert):
                    stop = first + len(batch)
                    if stop >= done:
                        yield from wanted_parts(batch.slice(max(0, done - first)), max(first, done), wanted)
                        done = stop
            except pa.ArrowInvalid as error:
                # A row longer than a block; what was read up to there is not read again.
                if "straddling" not in str(error):
                    raise
                if block_bytes == _BLOCKS[-1]:
                    raise ConfigurationError(
                        f"row {done} of {file.shown} is longer than {block_bytes} bytes; is a quote in it never closed?"
                    ) from error
            else:
                break
        return done


class _Layout(NamedTuple):
    delimiter: str
    blank_lines: int
    """How many come before the header."""
    columns: int

    @property
    def is_blank_a_row(self) -> bool:
        """Whether blank lines below the header are rows: in a file of one column they are what an empty cell is."""
        return self.columns == 1


def _batches(file: FoundFile, block_bytes: int, layout: _Layout, convert: Any) -> Iterator[tuple[int, pa.RecordBatch]]:
    first = 0
    last: pa.RecordBatch | None = None  # held back until it is known whether the added row is in it
    end = layout.delimiter.join([_END] * layout.columns).encode() + b"\n"
    with file.open() as opened:
        reader = pa_csv.open_csv(
            _WithEnd(opened, end),
            read_options=pa_csv.ReadOptions(block_size=block_bytes, use_threads=False, skip_rows=layout.blank_lines),
            parse_options=pa_csv.ParseOptions(
                delimiter=layout.delimiter, newlines_in_values=True, ignore_empty_lines=not layout.is_blank_a_row
            ),
            convert_options=convert,
        )
        try:
            for batch in filter(len, reader):
                if last is not None:
                    yield first, last
                    first += len(last)
                last = batch
        except pa.ArrowInvalid as error:
            if last is not None:
                yield first, last
            added = end.decode().rstrip("\n")
            raise pa.ArrowInvalid(str(error).replace(added, "(the end of the file)")) from error
    yield first, _without_end(last, first, file.shown)


class _WithEnd(io.RawIOBase):
    """A file with a line after its last one.

    Arrow takes the end of a file for the end of a quoted cell.  A quote that is never closed hides the added row.
    """

    def __init__(self, opened: Any, end: bytes) -> None:
        self._opened = opened
        self._end = end
        self._last = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = b""
        # In full: Arrow takes a first block of nothing but a header for a file without columns.
        while len(data) < size and (more := self._more(size - len(data))):
            data += more
        return data

    def _more(self, size: int) -> bytes:
        data: bytes = self._opened.read(size)
        if data:
            self._last = data[-1:]
            return data
        if self._last not in b"\r\n":  # a blank line would be a row where there is one column only
            self._end = b"\n" + self._end
        self._last = b""
        data, self._end = self._end[:size], self._end[size:]
        return data


def _without_end(batch: pa.RecordBatch | None, first: int, path: str) -> pa.RecordBatch:
    if batch is None:
        raise ConfigurationError(f"a quote in the header of {path} is never closed")
    at = len(batch) - 1
    if any(column[at].as_py() != _END for column in batch.columns):
        raise ConfigurationError(
            f"a quote in row {first + at} of {path} is never closed: the file was cut off, or the quote is a stray one"
        )
    return batch.slice(0, at)


def _header(file: FoundFile, delimiter: str) -> tuple[list[str], int]:
    """The names, none if the file holds nothing but blank lines; and how many blank lines come before them."""
    blank_lines = 0
    with file.open() as opened, io.TextIOWrapper(opened, encoding="utf-8-sig", newline="") as text:
        for names in csv.reader(text, delimiter=delimiter):
            if len(names) > 1 or any(map(str.strip, names)):
                break
            blank_lines += 1
        else:
            return [], blank_lines
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"the header of {file.shown} has columns twice: {', '.join(map(repr, twice))}")
    return names, blank_lines
