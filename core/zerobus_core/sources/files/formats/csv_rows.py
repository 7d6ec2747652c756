"""The syntax of CSV: finds whole rows, refuses ambiguous ones, and rewrites the rest as RFC 4180 for pyarrow.

All functions work on UTF-8 bytes. One match of a regular expression checks the rows of a block, and finds where the
last whole row ends. It checks about 100 MB/s, which is fast enough to check every block that contains a quote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["BrokenRowError", "Cell", "CsvGrammar", "count_lines"]

_BLANKS = b" \t"


class BrokenRowError(ValueError):
    """Raised for an ambiguous row. The message says why the row is ambiguous, and in most cases which option to set."""


class Cell(NamedTuple):
    """The content of one cell, without its quotes and with its escapes resolved."""

    text: bytes
    is_quoted: bool


class CsvGrammar:
    """The syntax of the rows of a CSV file.

    ``quote`` is None if quotes are ordinary characters. ``escape`` is None if the file has no escape character. An
    escape character is special only inside quotes. There it must be followed by a quote, another escape character, a
    delimiter or a line end; anything else is an error. Spark and PostgreSQL escape only quotes and escape characters;
    MySQL also escapes delimiters and line ends.

    If ``skip_blanks`` is True, blanks at the start of a cell are ignored. If it is False, blanks before an opening
    quote are an error, because some readers treat such a quote as text and others do not. A row that begins with
    ``comment`` is ignored.
    """

    def __init__(
        self,
        delimiter: str,
        quote: str | None = '"',
        escape: str | None = None,
        *,
        comment: str | None = None,
        skip_blanks: bool = False,
    ) -> None:
        self._delimiter, self.quote = delimiter.encode(), (quote or "").encode()
        self._escape, self._comment = (escape or "").encode(), (comment or "").encode()
        self._blanks = bytes(sign for sign in _BLANKS if sign not in self._delimiter)
        self._skip_blanks = skip_blanks
        cell, quoted, open_cell = self._patterns()
        d = re.escape(self._delimiter)
        row = rb"%s(?:%s%s)*+" % (cell, d, cell)
        remark = rb"%s[^\r\n]*+" % re.escape(self._comment) if comment else rb"(?!)"
        row = rb"(?:%s|%s)" % (remark, row)
        # A carriage return at the end of a block can be the first half of a CRLF.
        self._whole_rows = re.compile(rb"(?:%s(?:\r\n|\n|\r(?!\Z)))*+" % row)
        self._row = re.compile(rb"(%s)(?:\r\n|\n|\r)" % row)
        self._row_begun = re.compile(rb"(?:%s\r?+\Z|(?:%s%s)*+(?:%s|%s\r?+)\Z)" % (remark, cell, d, open_cell, cell))
        self._cell = re.compile(rb"(%s)(?:%s|\Z)" % (cell, d))
        e, q = re.escape(self._escape), re.escape(self.quote)
        self._pair = re.compile(rb"%s(.)|%s%s" % (e, q, q), re.DOTALL)
        # A match begins with cells that need no rewriting, so that text inside them is not mistaken for a cell.
        self._escaped_cell = re.compile(
            rb"((?:(?:%s[^%s%s]*+%s|(?!%s)%s)?+(?:%s|[\r\n]))*+)(%s)?+" % (q, q, e, q, q, cell, d, quoted)
        )
        self._open_cell = re.compile(open_cell)
        self._cells = re.compile(rb"(?:%s%s)*+" % (cell, d))
        self._blanks_and_quote = re.compile(rb"[%s]+%s" % (self._blanks, re.escape(self.quote) or rb"(?!)"))

    def _patterns(self) -> tuple[bytes, bytes, bytes]:
        """Return the patterns of any cell, of a quoted cell, and of a quoted cell whose closing quote is missing."""
        d, q, e = (re.escape(sign) for sign in (self._delimiter, self.quote, self._escape))
        if not q:
            return rb"[^%s\r\n]*+" % d, rb"(?!)", rb"(?!)"
        if e:
            inner = rb"(?:[^%s%s]++|%s(?:[%s%s%s\n]|\r\n?+)|%s%s)*+" % (q, e, e, q, e, d, q, q)
        else:
            inner = rb"[^%s]*+(?:%s%s[^%s]*+)*+" % (q, q, q, q)
        blanks = rb"[%s]*+" % self._blanks if self._skip_blanks else b""
        quoted = rb"%s%s%s%s" % (blanks, q, inner, q)
        rest = rb"[^%s\r\n]*+" % d
        plain = rb"(?:[^%s%s\r\n%s]%s|[%s]++(?!%s)%s)" % (q, d, self._blanks, rest, self._blanks, q, rest)
        return rb"(?:%s|%s)?+" % (quoted, plain), quoted, rb"%s%s%s(?:%s)?+" % (blanks, q, inner, e)

    def end_of_rows(self, data: bytes, *, is_last: bool) -> int:
        """Return the number of bytes at the start of ``data`` that form whole rows.

        ``is_last`` says whether ``data`` are the last data of the file. Raises BrokenRowError if the first row is
        invalid. If a later row is invalid, only the rows that precede it are counted.
        """
        if not self.quote or self.quote not in data:
            end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
            return end - 1 if end == len(data) and data.endswith(b"\r") and not is_last else end
        match = self._whole_rows.match(data)
        end = match.end() if match else 0
        if is_last and data.endswith(b"\r") and (last := self._row.fullmatch(data, end)):
            end = last.end()
        if end == 0 and not self._row_begun.match(data):
            raise self._broken_row_error(data)
        return end

    def rows(self, data: bytes) -> Iterator[bytes]:
        """Yield the rows of ``data`` without their line ends. ``data`` must be whole rows; comments are skipped."""
        return (row for row, _ in self.rows_and_lines(data))

    def first_row(self, data: bytes, *, is_last: bool) -> tuple[bytes | None, int]:
        """Return the first whole row of ``data`` that is not a comment, and the index in ``data`` after its line end.

        If ``data`` has no such row, returns None and the index after the line end of the last comment; the index is 0
        if there are no comments. ``is_last`` says whether ``data`` are the last data of the file. Raises BrokenRowError
        as ``end_of_rows`` does.
        """
        end = self.end_of_rows(data, is_last=is_last)
        at = 0
        while at < end and (match := self._row.match(data, at)):
            row: bytes = match[1]
            at = match.end()
            if not self._comment or not row.startswith(self._comment):
                return row, at
        return None, at

    def rows_and_lines(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        """Yield the same rows as ``rows``, each with the number of lines of ``data`` that precede the row."""
        lines = 0
        for match in self._row.finditer(data):
            row: bytes = match[1]
            if not self._comment or not row.startswith(self._comment):
                yield row, lines
            lines += count_lines(match[0])

    def cells(self, row: bytes) -> list[Cell]:
        """Return the cells of ``row``, which must be a whole row without its line end."""
        cells: list[Cell] = []
        at = 0
        while True:
            match = self._cell.match(row, at)
            assert match is not None  # end_of_rows has accepted the row
            cells.append(self._read(match[1]))
            at = match.end()
            if match.end(1) == len(row):
                return cells

    def _read(self, cell: bytes) -> Cell:
        text = cell.lstrip(self._blanks) if self._skip_blanks else cell
        if not self.quote or not text.startswith(self.quote):
            return Cell(text, is_quoted=False)
        text = text[1:-1]
        if not self._escape or self._escape not in text:
            return Cell(text.replace(self.quote * 2, self.quote), is_quoted=True)
        # From left to right, so that the first of two escape characters escapes the second.
        return Cell(self._pair.sub(lambda match: match[1] or self.quote, text), is_quoted=True)

    def as_rfc_4180(self, data: bytes) -> bytes:
        """Return ``data`` without comments and ignored blanks, and with escapes rewritten as RFC 4180 requires.

        ``data`` must be whole rows.
        """
        if self._comment and self._comment in data:
            data = b"".join(row + b"\n" for row in self.rows(data))
        if self._skip_blanks and any(bytes([blank]) in data for blank in self._blanks):
            return b"".join(self._rewritten(row) + b"\n" for row in self.rows(data))
        if self._escape and self._escape in data:
            return self._escaped_cell.sub(self._without_escapes, data)
        return data

    def _without_escapes(self, match: re.Match[bytes]) -> bytes:
        cell: bytes | None = match[2]
        return match[1] + (b"" if cell is None else self._quoted(self._read(cell).text))

    def _rewritten(self, row: bytes) -> bytes:
        cells = self.cells(row)
        return self._delimiter.join(self._quoted(cell.text) if cell.is_quoted else cell.text for cell in cells)

    def _quoted(self, text: bytes) -> bytes:
        return self.quote + text.replace(self.quote, self.quote * 2) + self.quote

    def _broken_row_error(self, data: bytes) -> BrokenRowError:
        match = self._cells.match(data)
        rest = data[match.end() if match else 0 :]
        if self._blanks_and_quote.match(rest) and not self._skip_blanks:
            return BrokenRowError(
                "has blanks before an opening quote: pass CsvFormat(skip_blanks=True) to ignore the blanks, or "
                "CsvFormat(quote_char=None) if the quotes are text"
            )
        text = self._after_quote(rest)
        if self._escape:
            return BrokenRowError(
                f"has an escape character or a closing quote before {text!r}: inside quotes, escape_char must be "
                "followed by a quote, a delimiter, a line end or another escape_char; a closing quote must be followed "
                "by a delimiter or a line end"
            )
        return BrokenRowError(
            f'has the text {text!r} after a closing quote: a quote inside quotes is written ""; pass '
            r'CsvFormat(escape_char="\\") if the file has \" instead, or CsvFormat(quote_char=None) if quotes are text'
        )

    def _after_quote(self, rest: bytes) -> str:
        match = self._open_cell.match(rest)
        text = rest[match.end() if match else 0 :][:20].removeprefix(self.quote)
        return re.split(rb"[\r\n]", text)[0].decode(errors="backslashreplace")


def count_lines(data: bytes) -> int:
    """Return the number of line ends (LF, CRLF or CR) in ``data``."""
    ends = data.count(b"\n")
    return ends + data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else ends
