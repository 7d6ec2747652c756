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

from ..errors import ConfigurationError
from ..options import MAX_RECORD_BYTES

if TYPE_CHECKING:
    from .file_format import Pieces, Wanted
    from .paths import FoundFile

__all__ = ["CsvFormat"]

# Arrow keeps some blocks in memory, and a row may not be longer than one; a record may not be longer than the last.
_BLOCKS = (1024 * 1024, MAX_RECORD_BYTES + 64 * 1024)


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
        layout = _Layout(delimiter, blank_lines, is_blank_a_row=len(names) == 1)
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
                    for start, end in wanted(max(first, done), max(stop, done)):
                        yield start, batch.slice(start - first, end - start)
                    done = max(done, stop)
            except pa.ArrowInvalid as error:
                # A row longer than a block; what was read up to there is not read again.
                if "straddling" not in str(error) or block_bytes == _BLOCKS[-1]:
                    raise
            else:
                break
        return done


class _Layout(NamedTuple):
    delimiter: str
    blank_lines: int
    """How many come before the header."""
    is_blank_a_row: bool
    """Whether later ones are rows: in a file of one column they are what an empty cell looks like."""


def _batches(file: FoundFile, block_bytes: int, layout: _Layout, convert: Any) -> Iterator[tuple[int, pa.RecordBatch]]:
    first = 0
    with file.open() as opened:
        reader = pa_csv.open_csv(
            opened,
            read_options=pa_csv.ReadOptions(block_size=block_bytes, use_threads=False, skip_rows=layout.blank_lines),
            parse_options=pa_csv.ParseOptions(
                delimiter=layout.delimiter, newlines_in_values=True, ignore_empty_lines=not layout.is_blank_a_row
            ),
            convert_options=convert,
        )
        for batch in reader:
            yield first, batch
            first += len(batch)


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
        raise ConfigurationError(f"the header of {file.path} has columns twice: {', '.join(map(repr, twice))}")
    return names, blank_lines
