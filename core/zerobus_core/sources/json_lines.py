"""JSON Lines files: one JSON object per line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .json_values import JsonValues
from .merge import MAX_CHUNK_BYTES

if TYPE_CHECKING:
    from ..schema import TableSchema
    from .file_format import Pieces, Wanted
    from .paths import FoundFile

__all__ = ["ANY_VALUES", "JsonLinesFormat", "parsed_line"]

ANY_VALUES = JsonValues()
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
        runs = wanted(0, 2**63 - 1)
        start, stop = next(runs, (2**63 - 1, 2**63 - 1))
        row = size = 0
        rows: list[Any] = []
        with file.open() as opened:
            for line in opened:
                if line.isspace() or line == _BOM:
                    continue
                if row == stop:
                    start, stop = next(runs, (2**63 - 1, 2**63 - 1))
                if row >= start:
                    rows.append(parsed_line(line, row, file.path, self._values))
                    size += len(line)
                    if len(rows) == chunk_rows or row + 1 == stop or size >= MAX_CHUNK_BYTES:
                        yield row + 1 - len(rows), rows
                        rows, size = [], 0
                row += 1
        if rows:
            yield row - len(rows), rows
        return row


def parsed_line(line: bytes, row: int, name: str, values: JsonValues = ANY_VALUES) -> Any:
    """The row of a line that is not blank, dead letters opened; ``name`` is where it comes from, for errors."""
    if row == 0:
        line = line.removeprefix(_BOM)
        if line.lstrip()[:1] == b"[":
            raise ConfigurationError(
                f"{name} is a JSON array; write one object per line (jq -c '.[]'), or load it and pass the list"
            )
    return values.row(line)
