"""A command-line flag for each field of IngestOptions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from typing import Any

import click

from ..column_options import METADATA, metadata_columns_problem
from ..options import IngestOptions
from .format_options import format_flags, format_of_flags

__all__ = [
    "delivery_options",
    "ingest_options",
    "ingest_options_of",
    "metadata_columns_of",
    "options_without_format",
    "source_options",
    "source_options_of",
]

_Command = Callable[..., None]
_NO_LIMIT = "none"
_OF_SOURCES = ("select", "drop", "rename", "constants", "format")


def _seconds_or_none(text: str) -> float | str:
    if text.lower() == _NO_LIMIT:
        return _NO_LIMIT
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a number of seconds nor {_NO_LIMIT!r}") from None


def _count_share_or_none(text: str) -> int | float | str:
    if text.lower() == _NO_LIMIT:
        return _NO_LIMIT
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is neither a number of rows, nor a share of all rows (such as 0.01), nor {_NO_LIMIT!r}"
        ) from None


# Field of IngestOptions -> what click has to know about its flag; the defaults are those of IngestOptions.
_FLAGS: dict[str, dict[str, Any]] = {
    "record_format": {
        "type": click.Choice(["auto", "protobuf", "json", "arrow"]),
        "help": "Wire format; auto takes Arrow for Arrow data and protobuf for rows, unless the table needs another.",
    },
    "streams": {"type": int, "help": "The number of parallel streams; rows keep their order only inside a stream."},
    "batch_rows": {"type": int, "help": "The largest number of rows in one batch."},
    "batch_bytes": {"type": int, "help": "The largest number of payload bytes in one batch."},
    "max_unacked_bytes": {"type": int, "help": "The largest number of bytes in flight on all streams together."},
    "timeout": {
        "type": _seconds_or_none,
        "metavar": "SECONDS",
        "help": "Deadline of the whole delivery; 'none' for no limit.",
    },
    "open_timeout": {"type": float, "help": "Deadline of one attempt to open a stream, in seconds."},
    "ack_timeout": {"type": float, "help": "Longest wait for an acknowledgement, in seconds."},
    "max_attempts": {
        "type": int,
        "help": "After this many streams in a row without an acknowledgement, no other is opened in their place.",
    },
    "backoff": {
        "type": float,
        "help": "Upper bound of the first pause between attempts, in seconds; the bound doubles up to 30 s.",
    },
    "max_stream_age": {"type": float, "help": "The age at which a stream is drained and replaced, in seconds."},
    "on_bad_record": {
        "type": click.Choice(["fail", "dead_letter"]),
        "help": "What to do with rows that do not fit or that the service refuses.",
    },
    "dead_letter_uri": {
        "metavar": "URI",
        "help": "File for bad rows, .jsonl or .parquet; they are set aside there, and the rest is delivered.",
    },
    "max_bad_records": {
        "type": _count_share_or_none,
        "metavar": "NUMBER",
        "help": "The limit on bad rows: a number (1000), a share of the rows read (0.01), or 'none' for no limit.",
    },
    "delivery_columns": {
        "nargs": 2,
        "metavar": "DELIVERY_ID ROW_NUMBER",
        "help": "Two columns of the table to fill with a key for each row; the key is the same in every attempt.",
    },
    "delivery_name": {
        "metavar": "TEXT",
        "help": "A part of the key in --delivery-columns; it distinguishes deliveries of equal sources.",
    },
    "metadata_columns": {
        "multiple": True,
        "metavar": "FACT=COLUMN",
        "help": "A column of the table to fill: ingested_at, file_name, file_path or row_number; repeatable.",
    },
    "epoch_unit": {
        "type": click.Choice(["s", "ms", "us", "ns"]),
        "help": "The unit of whole numbers in TIMESTAMP columns, counted from 1970. By default, they are microseconds, "
        "and numbers that look like seconds or milliseconds are refused.",
    },
    "parse_json": {"is_flag": True, "help": "Accept JSON text for VARIANT, ARRAY, MAP and STRUCT columns."},
    "write_json": {"is_flag": True, "help": "Accept objects and lists for text columns, and write them as JSON text."},
    "round_floats": {
        "is_flag": True,
        "help": "Accept floats for DECIMAL columns, and round them half up to the column's scale.",
    },
    "parse_base64": {"is_flag": True, "help": "Accept base64 text for BINARY columns."},
    "numeric_booleans": {"is_flag": True, "help": "Accept 0 and 1 for BOOLEAN columns."},
    "parse_text": {
        "is_flag": True,
        "help": "Accept text for dates, times and numbers; text of CSV files is always accepted.",
    },
    "transform": {
        "metavar": "MODULE:FUNCTION",
        "help": "A function that is given each row, and returns it changed, or None to leave it out.",
    },
    "transform_version": {"metavar": "TEXT", "help": "A version that you give to the function of --transform."},
    "select": {"multiple": True, "metavar": "COLUMN", "help": "A column of the source to deliver; repeatable."},
    "constants": {
        "multiple": True,
        "metavar": "COLUMN=VALUE",
        "help": "A column with the same text in every row; repeatable.",
    },
    "extra_columns": {
        "metavar": "error|drop|variant:COLUMN|rescue",
        "help": "What to do with fields of a row that the table lacks.",
    },
    "drop": {"multiple": True, "metavar": "COLUMN", "help": "A column of the source to leave out; repeatable."},
    "rename": {
        "multiple": True,
        "metavar": "OLD=NEW",
        "help": "Another name for a column of the source; repeatable.",
    },
    "source_version": {
        "metavar": "TEXT",
        "help": "Your name for the content of stdin, so that a retry with the same input can resume.",
    },
}


def delivery_options(command: _Command) -> _Command:
    """Add ``--checkpoint``, ``--epoch``, ``--json`` and ``--quiet`` to a command that delivers rows."""
    checkpoint = click.option(
        "--checkpoint",
        metavar="URI",
        help="File that says which rows are durable; an attempt with the same file resumes.",
    )
    epoch = click.option(
        "--epoch", metavar="TEXT", help="If this is not the checkpoint's epoch, the delivery starts from the first row."
    )
    as_json = click.option("--json", "as_json", is_flag=True, help="Print the receipt as JSON, even on a terminal.")
    quiet = click.option("-q", "--quiet", is_flag=True, help="Show no progress; warnings and errors are shown.")
    return checkpoint(epoch(as_json(quiet(command))))


def ingest_options(command: _Command) -> _Command:
    """Add a flag for each field of IngestOptions; ``ingest_options_of`` reads the values of these flags."""
    return _with_flags(command, [field.name for field in fields(IngestOptions)])


def source_options(command: _Command) -> _Command:
    """Add the flags for the options that apply to reading a source; ``source_options_of`` reads their values."""
    return _with_flags(command, _OF_SOURCES)


def options_without_format(command: _Command) -> _Command:
    """Add the flags of ``source_options``, but not ``--format``, which the command uses for something else."""
    return _with_flags(command, _OF_SOURCES, has_format=False)


def _with_flags(command: _Command, names: Collection[str], *, has_format: bool = True) -> _Command:
    for field in reversed([field for field in fields(IngestOptions) if field.name in names]):
        if field.name == "format":
            command = format_flags(command, is_named=has_format)
            continue
        flag = "--" + field.name.replace("_", "-")
        known = dict(_FLAGS[field.name])
        if not known.keys() & {"nargs", "multiple", "is_flag"} and field.default is not None:
            known["help"] += f"  [default: {field.default}]"
        # None stands for "not given": then the default of IngestOptions applies.
        command = click.option(flag, field.name, default=None, **known)(command)
    return command


def ingest_options_of(given: dict[str, Any]) -> IngestOptions:
    """Return the options that the flags of ``ingest_options`` describe, and remove these flags from ``given``.

    Raises ConfigurationError or click.BadParameter for an invalid value.
    """
    return _options_of(given, [field.name for field in fields(IngestOptions)])


def source_options_of(given: dict[str, Any]) -> IngestOptions:
    """Return the options that the flags of ``source_options`` describe, and remove these flags from ``given``.

    Raises ConfigurationError or click.BadParameter for an invalid value.
    """
    return _options_of(given, _OF_SOURCES)


def metadata_columns_of(texts: Sequence[str]) -> dict[str, str]:
    """Return the values of ``--metadata-columns``, such as ``file_name=source``, as a mapping.

    Each key is a fact about a row, such as ``file_name``. Its value is the name of the column that holds the fact.
    Raises click.BadParameter for an invalid text.
    """
    pairs = [text.partition("=") for text in texts]
    columns = {fact: name for fact, _, name in pairs}
    if len(columns) < len(pairs) or (columns and metadata_columns_problem(columns)):
        raise click.BadParameter(
            f"--metadata-columns takes FACT=COLUMN, each FACT and COLUMN once; FACT is one of {', '.join(METADATA)}"
        )
    return columns


def _options_of(given: dict[str, Any], names: Collection[str]) -> IngestOptions:
    format = format_of_flags(given)
    flags = {name: given.pop(name) for name in names if name != "format"}
    chosen: dict[str, Any] = {name: value for name, value in flags.items() if value not in (None, ())}
    if "delivery_columns" in chosen:
        chosen["delivery_columns"] = dict(zip(("delivery_id", "row_number"), chosen["delivery_columns"], strict=True))
    if "metadata_columns" in chosen:
        chosen["metadata_columns"] = metadata_columns_of(chosen["metadata_columns"])
    if "dead_letter_uri" in chosen:
        chosen.setdefault("on_bad_record", "dead_letter")  # whoever names a file for bad rows wants them there
    if "rename" in chosen:
        pairs = [text.rpartition("=") for text in chosen["rename"]]
        if not all(old and new for old, _, new in pairs):
            raise click.BadParameter(
                "--rename takes OLD=NEW: the name in the source, and the name of the table's column"
            )
        chosen["rename"] = {old: new for old, _, new in pairs}
    if "constants" in chosen:
        parts = [text.partition("=") for text in chosen["constants"]]
        if not all(name and sign for name, sign, _ in parts):
            raise click.BadParameter("--constants takes COLUMN=VALUE: the name of a column, and its value in all rows")
        chosen["constants"] = {name: value for name, _, value in parts}
    for name in ("timeout", "max_bad_records"):
        if chosen.get(name) == _NO_LIMIT:
            chosen[name] = None
    return IngestOptions(**chosen, format=format)
