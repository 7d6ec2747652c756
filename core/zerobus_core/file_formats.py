"""Options for reading files: facts about a file's format that the file's content does not show."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from itertools import combinations
from typing import Any, ClassVar, TypeAlias

from .errors import ConfigurationError

__all__ = ["FORMAT_NAMES", "CsvFormat", "ExcelFormat", "FileFormatOption", "JsonFormat", "PlainFormat", "format_of"]

# Characters that end a line in every CSV file, so they cannot be a delimiter, quote and so on.
_LINE_ENDS = "\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvFormat:
    """Options for reading CSV files; by default, files are in UTF-8, follow RFC 4180 and have a header line.

    In ``.tsv`` files, tabs separate the cells. An empty cell without quotes is NULL; ``""`` is the empty text. Blank
    lines are ignored, unless the file has a single column: a blank line is then a row with an empty cell. If an option
    has an invalid value, a ConfigurationError shows the option, the value and the valid values.
    """

    name: ClassVar[str] = "csv"

    delimiter: str | None = None
    """One ASCII character; None stands for a tab in ``.tsv`` files and a comma in all others."""
    quote_char: str | None = '"'
    """One ASCII character; None if quotes are ordinary text. Then no cell can contain a delimiter or a line end."""
    escape_char: str | None = None
    r"""The character before a quote inside a quoted cell, usually ``\``; None if such a quote is doubled instead. In a
    quoted cell it can also come before a delimiter, a line end or itself; before any other character it is an error.
    Outside of quotes it is ordinary text."""
    skip_blanks: bool = False
    """Whether to ignore blanks and tabs at the start of a cell."""
    encoding: str = "utf-8"
    """The name of a Python codec, such as latin-1, cp1252 or utf-16."""
    names: tuple[str, ...] | None = None
    """The names of the columns of a file without a header line."""
    skip_lines: int = 0
    """The number of lines before the header, or before the first row of a file without a header."""
    comment_char: str | None = None
    """One ASCII character: lines that begin with it are not rows."""
    null_values: tuple[str, ...] = ()
    """Further words for NULL in all columns. NA, N/A, NULL and null always mean NULL, except in STRING, VARCHAR,
    CHAR, BINARY and VARIANT columns."""
    true_values: tuple[str, ...] = ()
    """Further words for true in BOOLEAN columns. In these columns, the words true and false are always valid, in upper
    or lower case."""
    false_values: tuple[str, ...] = ()
    """Further words for false in BOOLEAN columns."""
    decimal_char: str = "."
    """The character between the whole part and the fraction of a number: ``.`` or ``,``."""
    thousands_char: str | None = None
    """The character between groups of three digits in the whole part of a number, such as ``.``, ``,``, ``'`` or a
    blank; a number can be written without it."""
    date_format: str | None = None
    """The format of DATE columns for ``datetime.strptime``, such as ``%d.%m.%Y``; None for ISO 8601."""
    timestamp_format: str | None = None
    """The format of TIMESTAMP and TIMESTAMP_NTZ columns, such as ``%d/%m/%Y %H:%M:%S``; None for ISO 8601."""

    def __post_init__(self) -> None:
        for name in ("delimiter", "quote_char", "escape_char", "comment_char", "thousands_char"):
            self._check_sign(name)
        self._check_signs()
        if not isinstance(self.skip_blanks, bool):
            raise self._error("skip_blanks", "True or False")
        _check_encoding(self)
        for name in ("null_values", "true_values", "false_values"):
            self._check_words(name)
        self._check_names_and_words()
        if isinstance(self.skip_lines, bool) or not isinstance(self.skip_lines, int) or self.skip_lines < 0:
            raise self._error("skip_lines", "a whole number of lines")
        self._check_numbers()
        for name in ("date_format", "timestamp_format"):
            self._check_time_format(name)

    def settings(self) -> dict[str, Any]:
        """Return the settings that affect the content of cells; the source's fingerprint includes these settings.

        ``delimiter`` and ``null_values`` are always included, other settings only if they differ from their defaults,
        so that fingerprints from older releases stay valid.
        """
        defaults = {field.name: field.default for field in fields(self)}
        given = {name: value for name, value in asdict(self).items() if value != defaults[name]}
        return {"delimiter": self.delimiter, "null_values": self.null_values, **given}

    def _error(self, name: str, expected: str) -> ConfigurationError:
        return ConfigurationError(f"CsvFormat.{name} must be {expected}, not {getattr(self, name)!r}")

    def _check_sign(self, name: str) -> None:
        value = getattr(self, name)
        if value is None:
            return
        is_sign = isinstance(value, str) and len(value) == 1 and value.isascii() and value not in _LINE_ENDS
        if not is_sign or value == "\0":
            raise self._error(name, "one ASCII character that is not a line end, or None")

    def _check_signs(self) -> None:
        if self.quote_char is None and self.escape_char is not None:
            raise self._error(
                "escape_char", "None if quote_char is None (an escape character works only inside quotes)"
            )
        if self.escape_char is not None and self.escape_char == self.quote_char:
            object.__setattr__(self, "escape_char", None)  # which is what RFC 4180 says
        for one, other in combinations(("delimiter", "quote_char", "escape_char", "comment_char"), 2):
            if getattr(self, one) is not None and getattr(self, one) == getattr(self, other):
                raise self._error(one, f"different from {other}")

    def _check_names_and_words(self) -> None:
        if self.names is not None:
            self._check_words("names")
            if not self.names or len(set(self.names)) < len(self.names):
                raise self._error("names", "a list of different names, or None")
        if both := set(self.true_values) & set(self.false_values):
            raise self._error("false_values", f"words not in true_values ({', '.join(sorted(both))} is in both)")

    def _check_numbers(self) -> None:
        if self.decimal_char not in {".", ","}:
            raise self._error("decimal_char", "'.' or ','")
        mark = self.thousands_char
        if mark is not None and (mark == self.decimal_char or mark.isalnum() or mark in "+-"):
            raise self._error("thousands_char", "None or a separator, such as a blank, that differs from decimal_char")

    def _check_time_format(self, name: str) -> None:
        value = getattr(self, name)
        if value is None:
            return
        if not isinstance(value, str) or "%" not in value:
            raise self._error(name, "a format of datetime.strptime, such as '%d.%m.%Y', or None")
        now = datetime(2001, 2, 3, 4, 5, 6)
        try:
            datetime.strptime(now.strftime(value), value)  # whether it is a format at all
        except ValueError as error:
            raise self._error(name, f"a format of datetime.strptime ({error})") from None

    def _check_words(self, name: str) -> None:
        value = getattr(self, name)
        is_list = isinstance(value, Iterable) and not isinstance(value, str | bytes)
        if not is_list or not all(isinstance(word, str) for word in value):
            raise self._error(name, "a list of words")
        object.__setattr__(self, name, tuple(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonFormat:
    """Options for reading JSON files.

    A file contains one object per line, an array of objects, or objects that span several lines. The first bytes of a
    file decide which of these forms the file has. Raises ConfigurationError for an encoding that Python does not
    support.
    """

    name: ClassVar[str] = "jsonl"

    encoding: str = "utf-8"
    """The name of a Python codec, such as latin-1, cp1252 or utf-16."""

    def __post_init__(self) -> None:
        _check_encoding(self)

    def settings(self) -> dict[str, Any]:
        """Return the settings that affect the content of values; the source's fingerprint includes these settings.

        The result is empty if ``encoding`` has its default, so that fingerprints from older releases stay valid.
        """
        return {} if self.encoding == "utf-8" else {"encoding": self.encoding}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcelFormat:
    """Options for reading Excel and OpenDocument sheets.

    The first line of a sheet contains the column names; the other lines are rows.
    """

    name: ClassVar[str] = "excel"

    sheet: str | None = None
    """The name of the sheet; None for files with a single sheet."""

    def __post_init__(self) -> None:
        if self.sheet is not None and (not isinstance(self.sheet, str) or not self.sheet):
            raise ConfigurationError(f"ExcelFormat.sheet must be the name of a sheet, or None, not {self.sheet!r}")


@dataclass(frozen=True, slots=True)
class PlainFormat:
    """A format without options: Parquet, Avro or Arrow."""

    name: str
    """The name of the format: parquet, avro or ipc."""


FileFormatOption: TypeAlias = CsvFormat | JsonFormat | ExcelFormat | PlainFormat


def _check_encoding(format: CsvFormat | JsonFormat) -> None:
    what = f"{type(format).__name__}.encoding must be"
    try:
        codec = codecs.lookup(format.encoding)
    except (LookupError, TypeError):
        raise ConfigurationError(
            f"{what} the name of a Python codec, such as utf-8, latin-1 or cp1252, not {format.encoding!r}"
        ) from None
    if not getattr(codec, "_is_text_encoding", True):
        raise ConfigurationError(f"{what} a text encoding, not {format.encoding!r}")


_TYPES: dict[str, type[CsvFormat] | type[JsonFormat] | type[ExcelFormat]] = {
    "csv": CsvFormat,
    "excel": ExcelFormat,
    "json": JsonFormat,
    "jsonl": JsonFormat,
}
_PLAIN = {"arrow": "ipc", "avro": "avro", "parquet": "parquet"}
FORMAT_NAMES = tuple(sorted([*_TYPES, *_PLAIN]))
"""The names of formats that options accept."""


def format_of(value: Any) -> FileFormatOption:
    """Return the file format for the value of ``IngestOptions.format``.

    ``value`` is a format object, the name of a format, or a mapping. The mapping contains fields of a format and, under
    the key ``type``, the format's name (``csv`` if this key is missing). Raises ConfigurationError for any other value.
    """
    if isinstance(value, CsvFormat | JsonFormat | ExcelFormat | PlainFormat):
        return value
    if isinstance(value, str):
        value = {"type": value}
    if isinstance(value, Mapping):
        given = dict(value)
        name = given.pop("type", "csv")
        if name in _PLAIN:
            if given:
                raise ConfigurationError(f"the format {name} has no options; leave out {', '.join(map(str, given))}")
            return PlainFormat(_PLAIN[name])
        kind = _TYPES.get(name)
        if kind is not None:
            known = {field.name for field in fields(kind)}
            if unknown := sorted(map(str, given.keys() - known)):
                raise ConfigurationError(
                    f"{kind.__name__} has no field {', '.join(unknown)}; its fields are {', '.join(sorted(known))}"
                )
            return kind(**given)
    raise ConfigurationError(
        f"IngestOptions.format must be one of {', '.join(FORMAT_NAMES)}, a CsvFormat, JsonFormat or ExcelFormat, or a "
        f'mapping of fields of a format ({{"type": "csv", …}}), not {value!r}'
    )
