"""A command-line flag for each field of the file formats."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from ..errors import ConfigurationError
from ..file_formats import FORMAT_NAMES, CsvFormat, ExcelFormat, FileFormatOption, JsonFormat, format_of

__all__ = ["format_flags", "format_of_flags", "remedies_as_flags"]

_Command = Callable[..., None]
_NONE = "none"
# Options that imply a format without --format; any other option of a format implies csv.
_IMPLIED = {"sheet": "excel"}
_KINDS: dict[str, type[CsvFormat] | type[JsonFormat] | type[ExcelFormat]] = {
    "csv": CsvFormat,
    "excel": ExcelFormat,
    "json": JsonFormat,
    "jsonl": JsonFormat,
}
# Words for characters that are hard to type in a shell.
_SIGNS = {"tab": "\t", r"\t": "\t", _NONE: None}


def _sign(text: str) -> str | None:
    return _SIGNS.get(text.lower(), text)


# Field of a format -> what click has to know about its flag; the defaults are those of the format.
_FLAGS: dict[str, dict[str, Any]] = {
    "delimiter": {
        "metavar": "CHARACTER",
        "help": "Of CSV files: what separates cells; 'tab' for a tab.  [default: a comma, for .tsv files a tab]",
    },
    "quote_char": {
        "metavar": "CHARACTER",
        "help": "Of CSV files: what quotes cells; 'none' if quotes are text.  [default: \"]",
    },
    "escape_char": {
        "metavar": "CHARACTER",
        "help": r"Of CSV files: the character before a quote in a quoted cell, e.g. '\'; default: quotes are doubled.",
    },
    "skip_blanks": {"is_flag": True, "help": "Of CSV files: ignore blanks at the start of a cell."},
    "encoding": {"metavar": "NAME", "help": "Of CSV and JSON files: latin-1, cp1252, utf-16, …  [default: utf-8]"},
    "names": {
        "multiple": True,
        "metavar": "COLUMN",
        "help": "Of CSV files without a header: the name of a column; repeat it for each column.",
    },
    "skip_lines": {"type": int, "help": "How many lines of CSV files come before the header.  [default: 0]"},
    "comment_char": {"metavar": "CHARACTER", "help": "Of CSV files: ignore lines that begin with this character."},
    "null_values": {"multiple": True, "metavar": "WORD", "help": "Of CSV files: a further word for NULL; repeatable."},
    "true_values": {"multiple": True, "metavar": "WORD", "help": "Of CSV files: a word for true; repeatable."},
    "false_values": {
        "multiple": True,
        "metavar": "WORD",
        "help": "Of CSV files: a word for false; repeatable.",
    },
    "decimal_char": {
        "metavar": "CHARACTER",
        "help": "Of CSV files: the character before the fraction of a number.  [default: .]",
    },
    "thousands_char": {
        "metavar": "CHARACTER",
        "help": "Of CSV files: the character between groups of three digits of a number.",
    },
    "date_format": {"metavar": "FORMAT", "help": "Of CSV files: how dates are written, as for strptime: %d.%m.%Y."},
    "timestamp_format": {"metavar": "FORMAT", "help": "Of CSV files: how timestamps are written, as for strptime."},
    "sheet": {"metavar": "NAME", "help": "Of Excel files: the sheet to read; needed if there are several."},
}


def format_flags(command: _Command, *, is_named: bool = True) -> _Command:
    """Add ``--format`` and a flag for each field of a format; ``format_of_flags`` reads the values of these flags.

    With ``is_named=False``, ``--format`` is not added, because the command uses ``--format`` for something else.
    """
    for name in reversed(_FLAGS):
        command = click.option("--" + name.replace("_", "-"), name, default=None, **_FLAGS[name])(command)
    if not is_named:
        return command
    return click.option(
        "--format",
        "format",
        type=click.Choice(FORMAT_NAMES),
        help="The format of files whose extension does not show it; not needed with an option for CSV or Excel files.",
    )(command)


def format_of_flags(given: dict[str, Any]) -> FileFormatOption | None:
    """Return the format that the flags of ``format_flags`` describe, and remove these flags from ``given``.

    Returns None if none of the flags was given. Raises ConfigurationError for flags or values that the format does not
    support.
    """
    name = given.pop("format", None)
    values = {name: given.pop(name) for name in _FLAGS}
    chosen: dict[str, Any] = {name: value for name, value in values.items() if value not in (None, (), False)}
    for sign in ("delimiter", "quote_char", "escape_char", "comment_char"):
        if sign in chosen:
            chosen[sign] = _sign(chosen[sign])
    if name is None and not chosen:
        return None
    name = name or next((kind for option, kind in _IMPLIED.items() if option in chosen), "csv")
    known = {field.name for field in fields(_KINDS[name])} if name in _KINDS else set[str]()
    if unknown := sorted(chosen.keys() - known):
        flags = ", ".join("--" + each.replace("_", "-") for each in unknown)
        raise ConfigurationError(f"{flags} cannot be used with --format {name}")
    return format_of({"type": name, **chosen})


def remedies_as_flags(text: str) -> str:
    """Replace the Python options in a message with command-line flags.

    For example, ``CsvFormat(quote_char=None)`` becomes ``--quote-char none``.
    """
    text = re.sub(r"\b(?:IngestOptions|CsvFormat|JsonFormat)\.(\w+)", lambda match: _flag(match[1]), text)
    text = re.sub(r"\bset (\w+)=True\b", lambda match: f"give {_flag(match[1])}", text)
    text = re.sub(rf"\b(?:Csv|Json|Excel)Format\(({_ARGUMENT}(?:, {_ARGUMENT})*)\)", _remedies, text)
    return re.sub(r'\bset (format|encoding)=("[\w-]+")', lambda match: f"give {_remedy(match[1], match[2])}", text)


# A field of a format and its value; an ellipsis stands for a value that only the user knows.
_ARGUMENT = r'\w+=(?:"(?:[^"\\]|\\.)*"|\w+|…)'


def _remedies(match: re.Match[str]) -> str:
    return " and ".join(_remedy(*each[0].split("=", 1)) for each in re.finditer(_ARGUMENT, match[1]))


def _remedy(name: str, text: str) -> str:
    if text == "…":
        return _flag(name)
    value = ast.literal_eval(text)
    if value is True:
        return _flag(name)
    return f"{_flag(name)} {_NONE if value is None else shlex.quote(str(value))}"


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
