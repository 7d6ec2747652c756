"""Sheets of Excel and OpenDocument files, read with python-calamine if it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ....errors import ConfigurationError
from ....file_formats import ExcelFormat
from ....process.signals import is_of_signal
from ....schema.types import DecimalType

if TYPE_CHECKING:
    from ....schema import TableSchema
    from ..finding.found import FoundFile
    from .file_format import Pieces, Wanted

__all__ = ["ExcelReader"]

_MOST_SHOWN = 20


class ExcelReader:
    """Reads one sheet of each file. The first line that is not empty has the column names; the lines below it are rows.

    The whole sheet is held in memory. Empty cells are NULL, and empty lines are ignored. Excel stores every number as a
    double. A whole number becomes an int. Any other number becomes a float, but in a DECIMAL column it becomes the
    shortest Decimal that identifies the double: 0.1, not 0.1000000000000000055.
    """

    is_arrow = False
    is_text = False

    def __init__(self, given: ExcelFormat | None = None) -> None:
        import python_calamine

        self._calamine: Any = python_calamine
        self._given = given or ExcelFormat()
        self._decimals: frozenset[str] = frozenset()

    @property
    def settings(self) -> dict[str, Any]:
        """The name of the sheet, and the columns whose numbers become Decimals."""
        return {"sheet": self._given.sheet, "decimals": sorted(self._decimals)}

    def for_table(self, schema: TableSchema) -> ExcelReader:
        """Return a reader that reads numbers of the table's DECIMAL columns as Decimals."""
        reader = ExcelReader(replace(self._given))
        reader._decimals = frozenset(
            column.name.lower() for column in schema.columns if isinstance(column.type, DecimalType)
        )
        return reader

    def count(self, file: FoundFile) -> int | None:
        """Always None: counting rows would mean reading the sheet."""
        return None

    def read(self, file: FoundFile, wanted: Wanted, chunk_rows: int) -> Pieces:
        """See ``FileFormat``."""
        rows = list(self._rows(file))
        for start, stop in wanted(0, len(rows)):
            for at in range(start, stop, chunk_rows):
                yield at, rows[at : min(at + chunk_rows, stop)]
        return len(rows)

    def _rows(self, file: FoundFile) -> Iterator[dict[str, Any]]:
        lines = iter(self._lines(file))
        names = _names(next(lines, []), file.shown)
        are_decimal = [name.lower() in self._decimals for name in names]
        for line in lines:
            values = [_value(cell, is_decimal) for cell, is_decimal in zip(line, are_decimal, strict=True)]
            if any(value is not None for value in values):
                yield dict(zip(names, values, strict=True))

    def _lines(self, file: FoundFile) -> list[list[Any]]:
        """Return the cells of each line of the sheet, from the first line that is not empty."""
        with file.open() as opened:
            try:
                book = self._calamine.CalamineWorkbook.from_filelike(opened)
                lines: list[list[Any]] = book.get_sheet_by_name(self._sheet(book, file)).to_python()
            except ConfigurationError:
                raise
            except Exception as error:  # calamine has an error class for each kind of file
                if is_of_signal(error) or isinstance(error, OSError):
                    raise
                raise ConfigurationError(
                    f"{file.shown} cannot be read as an Excel file: {type(error).__name__}: {error}"
                ) from error
        return lines

    def _sheet(self, book: Any, file: FoundFile) -> str:
        names: list[str] = book.sheet_names
        shown = ", ".join(map(repr, names[:_MOST_SHOWN]))
        if self._given.sheet is None:
            if len(names) == 1:
                return names[0]
            raise ConfigurationError(
                f"{file.shown} has {len(names)} sheets ({shown}); name the one to read: "
                f"format=ExcelFormat(sheet={names[0]!r}), or --sheet"
                if names
                else f"{file.shown} has no sheets"
            )
        if self._given.sheet not in names:
            raise ConfigurationError(f"{file.shown} has no sheet {self._given.sheet!r}; its sheets are {shown}")
        return self._given.sheet


def _names(line: list[Any], shown: str) -> list[str]:
    names: list[str] = []
    for number, cell in enumerate(line, 1):
        if not isinstance(cell, str) or not cell.strip():
            what = "empty" if cell == "" else repr(cell)
            raise ConfigurationError(
                f"{shown}: column {number} has no name in the first line of the sheet (its cell is {what}); "
                "the first line must have a name above each column"
            )
        if cell in names:
            raise ConfigurationError(f"{shown}: two columns are called {cell!r}")
        names.append(cell)
    return names


def _value(cell: Any, is_decimal: bool) -> Any:
    if cell == "":
        return None
    if isinstance(cell, float):
        if cell.is_integer():
            return int(cell)
        return Decimal(repr(cell)) if is_decimal else cell
    return cell
