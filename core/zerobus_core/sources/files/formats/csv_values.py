"""Rewrites the numbers, booleans, dates and times of CSV files in the form that the encoder parses.

The CsvFormat says how these values are written in the file. A row with a number, date or time that is written
differently is a bad row. A boolean that is written differently is left as it is: the encoder accepts or refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from ....schema.types import INTEGER_KINDS, REAL_KINDS, DataType, DecimalType, Kind, PrimitiveType

if TYPE_CHECKING:
    from ....file_formats import CsvFormat
    from ....schema import TableSchema

__all__ = ["CellReader", "cell_readers"]

CellReader: TypeAlias = Callable[[pa.Array], tuple[pa.Array, pa.Array, str]]
"""Takes a column's cells; returns the rewritten cells, a mask of the unreadable cells, and why these are unreadable."""

_NUMBERS = INTEGER_KINDS | REAL_KINDS
_UNREADABLE = "\0"
# Words for a missing value, infinity or NaN, which are valid whatever characters a number is written with.
_WORDS = r"(?i:|na|n/a|null|[+-]?(?:inf|infinity|nan))"


def cell_readers(given: CsvFormat, schema: TableSchema) -> dict[str, CellReader]:
    """Return a dictionary with a CellReader for each column whose cells must be rewritten; the keys are column names.

    The cells of a column must be rewritten if ``given`` says how values of the column's type are written in the file.
    """
    readers = {column.name: _reader(given, column.type) for column in schema.columns}
    return {name: reader for name, reader in readers.items() if reader is not None}


def _reader(given: CsvFormat, kind: DataType) -> CellReader | None:
    if isinstance(kind, DecimalType):
        return _numbers(given)
    make = _READERS.get(kind.kind) if isinstance(kind, PrimitiveType) else None
    return None if make is None else make(given)


def _numbers(given: CsvFormat) -> CellReader | None:
    point, mark = given.decimal_char, given.thousands_char
    if point == "." and mark is None:
        return None
    digits = "[0-9]+" if mark is None else rf"(?:[0-9]+|[0-9]{{1,3}}(?:{re.escape(mark)}[0-9]{{3}})+)"
    fraction = rf"(?:{re.escape(point)}[0-9]*)?"
    pattern = rf"^(?:{_WORDS}|[+-]?(?:{digits}{fraction}|{re.escape(point)}[0-9]+)(?:[eE][+-]?[0-9]+)?)$"
    reason = f"is not a number with {point!r} before its fraction"
    if mark is not None:
        reason += f" and {mark!r} between groups of three digits"

    def read(cells: pa.Array) -> tuple[pa.Array, pa.Array, str]:
        text = pc.utf8_trim_whitespace(cells)
        bad = pc.invert(pc.match_substring_regex(text, pattern))
        if mark is not None:
            is_word = pc.match_substring_regex(text, f"^{_WORDS}$")
            text = pc.if_else(is_word, text, pc.replace_substring(text, mark, ""))
        return pc.replace_substring(text, point, "."), bad, reason

    return read


def _booleans(given: CsvFormat) -> CellReader | None:
    if not given.true_values and not given.false_values:
        return None
    trues, falses = (pa.array(words, pa.string()) for words in (given.true_values, given.false_values))

    def read(cells: pa.Array) -> tuple[pa.Array, pa.Array, str]:
        text = pc.utf8_trim_whitespace(cells)
        is_true, is_false = pc.is_in(text, value_set=trues), pc.is_in(text, value_set=falses)
        words = pc.if_else(is_true, pa.scalar("true"), pc.if_else(is_false, pa.scalar("false"), text))
        # The encoder accepts or refuses any other word.
        return words, pa.repeat(pa.scalar(False), len(cells)), ""

    return read


def _times(format: str | None, *, is_date: bool) -> CellReader | None:
    if format is None:
        return None
    reason = f"is not written as {format}"

    def parsed(text: str | None) -> str | None:
        if text is None or text.strip() in {"", "NA", "N/A", "NULL", "null"}:
            return text
        try:
            moment = datetime.strptime(text.strip(), format)  # a zone, if any, is in the text
        except ValueError:
            return _UNREADABLE
        if is_date:
            is_midnight = (moment.hour, moment.minute, moment.second, moment.microsecond) == (0, 0, 0, 0)
            return moment.date().isoformat() if is_midnight else _UNREADABLE
        return moment.isoformat()

    def read(cells: pa.Array) -> tuple[pa.Array, pa.Array, str]:
        known = cells.dictionary_encode()
        texts = pa.array([parsed(text) for text in known.dictionary.to_pylist()], pa.string())
        written = texts.take(known.indices)
        return written, pc.equal(written, _UNREADABLE), reason

    return read


_READERS: dict[Kind, Callable[[CsvFormat], CellReader | None]] = {
    **dict.fromkeys(_NUMBERS, _numbers),
    Kind.BOOLEAN: _booleans,
    Kind.DATE: lambda given: _times(given.date_format, is_date=True),
    Kind.TIMESTAMP: lambda given: _times(given.timestamp_format, is_date=False),
    Kind.TIMESTAMP_NTZ: lambda given: _times(given.timestamp_format, is_date=False),
}


def read_cells(batch: pa.RecordBatch, readers: dict[str, CellReader]) -> tuple[pa.RecordBatch, dict[int, str]]:
    """Return the batch with its cells rewritten, and a dictionary of the unreadable rows.

    The keys are the indexes of the rows that have an unreadable cell. The values say why the cell is unreadable.
    """
    reasons: dict[int, str] = {}
    for name, read in readers.items():
        at = batch.schema.get_field_index(name)
        if at < 0:
            continue
        cells, not_utf8 = _valid_text(batch.column(at))
        reasons.update(dict.fromkeys(not_utf8, f"column {name}: a cell that is not in the file's encoding"))
        text, bad, reason = read(cells)
        for row in pc.indices_nonzero(pc.fill_null(bad, False)).to_pylist():
            reasons.setdefault(row, f"column {name}: {cells[row].as_py()!r}, which {reason}")
        batch = batch.set_column(at, name, text.cast(pa.string()))
    return batch, reasons


def _valid_text(cells: pa.Array) -> tuple[pa.Array, list[int]]:
    """Replace each cell that is invalid UTF-8 with a null; return the cells, and the indexes of the replaced cells."""
    try:
        cells.validate(full=True)
    except pa.ArrowInvalid:
        pass
    else:
        return cells, []
    texts: list[str | None] = []
    invalid: list[int] = []
    for row, data in enumerate(cells.cast(pa.binary()).to_pylist()):
        try:
            texts.append(None if data is None else data.decode())
        except UnicodeDecodeError:
            texts.append(None)
            invalid.append(row)
    return pa.array(texts, pa.string()), invalid
