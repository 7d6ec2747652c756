"""JSON Lines files: one JSON object per line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

from ..bad_rows import MARKER, from_letter
from ..errors import ConfigurationError
from .merge import MAX_CHUNK_BYTES

if TYPE_CHECKING:
    from .file_format import Pieces, Wanted
    from .paths import FoundFile

__all__ = ["JsonLinesFormat", "UnreadableLine", "parsed_line", "record_of"]

_BOM = b"\xef\xbb\xbf"


class UnreadableLine(str):
    """A line that is not JSON.  It takes a row's place, and no table takes it, so that it is told as a bad row."""

    __slots__ = ()


class JsonLinesFormat:
    """UTF-8, lines ended by LF or CRLF; blank lines are no rows."""

    is_arrow = False
    is_text = True

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
                    rows.append(parsed_line(line, row, file.path))
                    size += len(line)
                    if len(rows) == chunk_rows or row + 1 == stop or size >= MAX_CHUNK_BYTES:
                        yield row + 1 - len(rows), rows
                        rows, size = [], 0
                row += 1
        if rows:
            yield row - len(rows), rows
        return row


def parsed_line(line: bytes, row: int, name: str) -> Any:
    """The row of a line that is not blank, dead letters opened; ``name`` is where it comes from, for errors."""
    if row == 0:
        line = line.removeprefix(_BOM)
        if line.lstrip()[:1] == b"[":
            raise ConfigurationError(
                f"{name} is a JSON array; write one object per line (jq -c '.[]'), or load it and pass the list"
            )
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _parsed_slowly(line)
    return record_of(value) if isinstance(value, dict) and MARKER in value else value


def _parsed_slowly(line: bytes) -> Any:
    """What orjson does not take may still be JSON: integers beyond 64 bits, and halves of surrogate pairs."""
    try:
        value = json.loads(line, parse_constant=_no_json)
    except ValueError:
        return UnreadableLine(line.decode(errors="replace").rstrip("\r\n"))
    return record_of(value) if isinstance(value, dict) and MARKER in value else value


def _no_json(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def record_of(letter: dict[str, Any]) -> Any:
    """The row that a dead letter holds; mended or not, it is sent like any other."""
    return from_letter(letter.get("record"))
