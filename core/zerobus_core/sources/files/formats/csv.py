"""Reads CSV files. Each cell is read as text, and is later converted to the type of its column in the table.

Types are not inferred from the first rows, because a later row that does not fit such a type would end the delivery.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from ....errors import ConfigurationError
from ....file_formats import CsvFormat
from ....options import MAX_RECORD_BYTES
from ....records import UnreadableRow
from ....wording import plural
from ...protocol.chunking import clip
from .csv_rows import BrokenRowError, CsvGrammar, count_lines
from .csv_values import CellReader, cell_readers, read_cells
from .encodings import utf8_blocks
from .row_lines import LinesOfFiles

if TYPE_CHECKING:
    from ....schema import TableSchema
    from ..finding.found import FoundFile
    from .file_format import Pieces, Wanted

__all__ = ["CsvReader"]

_BLOCK_BYTES = 1024 * 1024
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r(?!\Z))")
# A row can be as long as the longest record, plus its quotes and delimiters.
_MAX_ROW_BYTES = MAX_RECORD_BYTES + 64 * 1024


class CsvReader:
    """Reads CSV files with the options of a CsvFormat."""

    is_arrow = True
    is_text = True

    def __init__(self, format: CsvFormat | None = None, readers: dict[str, CellReader] | None = None) -> None:
        self._format = format or CsvFormat()
        self._readers = readers or {}
        self.lines = LinesOfFiles()

    def for_table(self, schema: TableSchema) -> CsvReader:
        """Return a reader that rewrites numbers, booleans, dates and times to the form that the encoder parses.

        ``schema`` gives the type of each column. The cells of a column are rewritten only if the CsvFormat says how
        values of the column's type are written in the file.
        """
        return CsvReader(self._format, cell_readers(self._format, schema))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the CsvFormat; each of them can change the content of cells."""
        return self._format.settings()

    def count(self, file: FoundFile) -> int | None:
        """Always None: quoted cells can contain line ends, so the number of lines is not the number of rows."""
        return None

    def read(self, file: FoundFile, wanted: Wanted, _chunk_rows: int) -> Pieces:
        """Yield the wanted rows. Other rows are split into cells too, and then dropped.

        A row with too few or too many cells, or with a cell that cannot be read, becomes an UnreadableRow.
        """
        given = self._format
        delimiter = given.delimiter or ("\t" if file.suffix == ".tsv" else ",")
        grammar = CsvGrammar(
            delimiter, given.quote_char, given.escape_char, comment=given.comment_char, skip_blanks=given.skip_blanks
        )
        with file.open() as opened:
            blocks = iter(partial(opened.read, _BLOCK_BYTES), b"")
            rows = _Rows(filter(None, utf8_blocks(blocks, given.encoding, file.shown)), grammar, file.shown)
            rows.skip_lines(given.skip_lines)
            names = list(given.names) if given.names is not None else rows.header()
            if not names:
                return 0  # the file is empty, as some programs write an empty partition, or blank
            _check_delimiter(names, given, file.shown)
            table = _CellTable(names, grammar, delimiter, given, self._readers)
            lines = self.lines.begin(file.path)
            for block, line in rows.blocks():
                pieces, count = table.pieces(block, line)
                if count_lines(block) == count:
                    lines.note(rows.done, line)
                else:
                    lines.note_block(rows.done, count, partial(table.lines_of, block, line))
                for start, piece in pieces:
                    yield from _wanted_pieces(piece, rows.done + start, wanted)
                rows.done += count
            return rows.done


def _check_delimiter(names: list[str], given: CsvFormat, path: str) -> None:
    """Raise ConfigurationError if no delimiter was set, but the header's only name contains a common delimiter."""
    if len(names) == 1 and given.delimiter is None:
        for sign, shown in ((";", ";"), ("\t", r"\t"), ("|", "|"), (",", ",")):
            if sign in names[0]:
                raise ConfigurationError(
                    f'the header of {path} is a single name, {names[0]!r}: pass CsvFormat(delimiter="{shown}") if this '
                    "character separates the cells of the file"
                )


def _wanted_pieces(piece: Any, first: int, wanted: Wanted) -> Iterator[tuple[int, Any]]:
    if not isinstance(piece, list):
        yield from clip(piece, first, wanted)
        return
    for start, stop in wanted(first, first + len(piece)):
        yield start, piece[start - first : stop - first]


class _Rows:
    """Reads a file as blocks of whole rows, and counts lines, so that errors can name the line."""

    def __init__(self, blocks: Iterator[bytes], grammar: CsvGrammar, name: str) -> None:
        self._blocks = blocks
        self._grammar = grammar
        self._name = name
        self._rest = b""
        self._is_last = False
        self._line = 1
        self.done = 0
        """The number of rows that were already read, without the header."""

    def header(self) -> list[str]:
        """Return the names in the first row that is not blank; an empty list if all rows are blank."""
        while (row := self._first_row()) is not None:
            if row.strip():
                return self._names(row)
        return []

    def skip_lines(self, count: int) -> None:
        """Skip ``count`` lines, whatever they contain."""
        for _ in range(count):
            while (found := _LINE.match(self._rest)) is None:
                if not self._more():
                    self._rest = b""
                    return
            self._line += 1
            self._take(found.end())

    def blocks(self) -> Iterator[tuple[bytes, int]]:
        """Yield blocks of whole rows, each with the number of its first line in the file, counted from 1."""
        while self._rest or self._more():
            block = self._take(self._end_of_rows())
            if block:
                line = self._line
                self._line += count_lines(block)
                yield block, line
            elif not self._more():
                raise self._unclosed_error()

    def _first_row(self) -> bytes | None:
        while self._rest or self._more():
            self._end_of_rows(is_header=True)
            row, size = self._grammar.first_row(self._rest, is_last=self._is_last)
            self._line += count_lines(self._take(size))
            if row is not None:
                return row
            if not self._more():
                if not self._rest:
                    return None
                raise ConfigurationError(f"a quote in the header of {self._name} is never closed")
        return None

    def _names(self, row: bytes) -> list[str]:
        try:
            names = [cell.text.decode() for cell in self._grammar.cells(row)]
        except UnicodeDecodeError as error:
            raise ConfigurationError(
                f"the header of {self._name} cannot be decoded ({error.reason}): pass the encoding of the file, e.g. "
                'CsvFormat(encoding="latin-1")'
            ) from error
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigurationError(
                f"the header of {self._name} has the same column name twice: {', '.join(map(repr, twice))}; give "
                "each column its own name with CsvFormat(names=…, skip_lines=1)"
            )
        return names

    def _take(self, size: int) -> bytes:
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def _end_of_rows(self, *, is_header: bool = False) -> int:
        try:
            return self._grammar.end_of_rows(self._rest, is_last=self._is_last)
        except BrokenRowError as error:
            where = "the header" if is_header else f"row {self.done}"
            raise ConfigurationError(f"{where} of {self._name} (line {self._line}) {error}") from error

    def _more(self) -> bool:
        """Add the next block of the file to the unread data and return True; return False at the end of the file.

        If unread data are left after the last block, one more call returns True. This call adds a line end to the
        unread data if they do not end with one. Raises ConfigurationError if the unread data are longer than a row can
        be.
        """
        if len(self._rest) > _MAX_ROW_BYTES:
            raise ConfigurationError(
                f"row {self.done} of {self._name} is longer than {_MAX_ROW_BYTES} bytes; is a quote in it (line "
                f"{self._line}) never closed?"
            )
        if self._is_last:
            return False
        block = next(self._blocks, None)
        if block is None:
            self._is_last = True
            if not self._rest:
                return False
            if not self._rest.endswith((b"\n", b"\r")):
                self._rest += b"\n"
            return True
        self._rest += block
        return True

    def _unclosed_error(self) -> ConfigurationError:
        return ConfigurationError(
            f"a quote in row {self.done} of {self._name} (line {self._line}) is never closed: the file was "
            "truncated, or the quote is an ordinary character (CsvFormat(quote_char=None) reads quotes as text)"
        )


class _CellTable:
    """Converts blocks of whole rows to record batches of text."""

    def __init__(
        self, names: list[str], grammar: CsvGrammar, delimiter: str, given: CsvFormat, readers: dict[str, CellReader]
    ) -> None:
        self._names = names
        self._readers = readers
        self._grammar = grammar
        self._has_one_column = len(names) == 1
        self._delimiter = delimiter
        self._quote = given.quote_char or False
        self._convert = pa_csv.ConvertOptions(
            check_utf8=False,  # the encoder reports each cell that is not UTF-8
            column_types=dict.fromkeys(names, pa.string()),
            null_values=["", *given.null_values],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )

    def pieces(self, block: bytes, line: int) -> tuple[list[tuple[int, Any]], int]:
        """Return the pieces of a block in order, and the number of rows of the block.

        Each piece is a record batch or a list of UnreadableRows, with the position of its first row in the block.
        ``line`` is the line number of the block's first line, counted from 1.
        """
        ragged: list[Any] = []
        batch = self._parsed(self._grammar.as_rfc_4180(block), ragged.append)
        if not ragged:
            batch, reasons = read_cells(batch, self._readers)
            if not reasons:
                return [(0, batch)], len(batch)
        return self._with_bad_rows(block, line)

    def lines_of(self, block: bytes, line: int) -> Iterator[int]:
        """Yield the line number of each row of ``block``; ``line`` is the number of the first line of ``block``."""
        for row, lines_before in self._grammar.rows_and_lines(block):
            if row or self._has_one_column:
                yield line + lines_before

    def _parsed(self, block: bytes, on_ragged: Callable[[Any], object]) -> pa.RecordBatch:
        def skip(row: Any) -> str:
            on_ragged(row)
            return "skip"

        if not self._has_one_column and not block.strip(b"\r\n"):
            block = b""
        if not block:
            return pa.RecordBatch.from_pylist([], pa.schema([(name, pa.string()) for name in self._names]))
        table = pa_csv.read_csv(
            pa.BufferReader(block),
            read_options=pa_csv.ReadOptions(column_names=self._names, block_size=len(block) + 1, use_threads=False),
            parse_options=pa_csv.ParseOptions(
                delimiter=self._delimiter,
                quote_char=self._quote,
                newlines_in_values=True,
                ignore_empty_lines=not self._has_one_column,
                invalid_row_handler=skip,
            ),
            convert_options=self._convert,
        )
        return table.combine_chunks().to_batches(max_chunksize=None)[0] if len(table) else self._parsed(b"", skip)

    def _with_bad_rows(self, block: bytes, line: int) -> tuple[list[tuple[int, Any]], int]:
        good: list[bytes] = []
        places: list[int] = []  # the index of each good row among all rows
        bad: dict[int, UnreadableRow] = {}
        rows: list[tuple[bytes, int]] = []
        for row, lines_before in self._grammar.rows_and_lines(block):
            plain = self._grammar.as_rfc_4180(row + b"\n")
            if plain == b"\n" and not self._has_one_column:
                continue
            cells = len(self._grammar.cells(row))
            if cells == len(self._names):
                places.append(len(rows))
                good.append(plain)
            else:
                reason = f"has {cells} {plural(cells, 'cell')}, and the header has {len(self._names)}"
                if cells == len(self._names) + 1 and row.endswith(self._delimiter.encode()):
                    reason += (
                        f"; the row ends with a delimiter: name all {cells} columns with CsvFormat(names=…, "
                        "skip_lines=1), and leave the last column out with drop"
                    )
                bad[len(rows)] = _unreadable(row, line + lines_before, reason)
            rows.append((row, line + lines_before))
        batch, reasons = read_cells(self._parsed(b"".join(good), bool), self._readers)
        for at, reason in reasons.items():
            row, number = rows[places[at]]
            bad[places[at]] = _unreadable(row, number, f"has in {reason}")
        return list(_runs(batch, places, bad)), len(rows)


def _unreadable(row: bytes, line: int, reason: str) -> UnreadableRow:
    return UnreadableRow(row.decode(errors="backslashreplace"), f"line {line} {reason}")


def _runs(
    batch: pa.RecordBatch, places: list[int], bad: dict[int, UnreadableRow]
) -> Iterator[tuple[int, pa.RecordBatch | list[UnreadableRow]]]:
    """Yield the pieces of a block in order, each with the position of its first row in the block.

    A piece is a slice of ``batch`` or a list of one bad row. ``places[i]`` is the position of row ``i`` of ``batch`` in
    the block. ``bad`` maps positions to bad rows; a row of ``batch`` whose position is in ``bad`` is not yielded.
    """
    pieces: list[tuple[int, Any]] = [(place, [row]) for place, row in bad.items()]
    start = 0
    for at in range(1, len(places) + 1):
        if at == len(places) or places[at] != places[at - 1] + 1 or places[at] in bad or places[at - 1] in bad:
            if places[start] not in bad:
                pieces.append((places[start], batch.slice(start, at - start)))
            start = at
    return iter(sorted(pieces, key=lambda piece: piece[0]))
