"""``zerobus-ingest dead-letters``, which shows the rows of a dead-letter file, or sends them again."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import click

from ..storage.uris import shown_uri
from ..wording import plural
from .checkpoint import checkpoint_store
from .frame import connection_options, framed, workspace_of
from .interruption import Interruption
from .options import delivery_options, ingest_options, ingest_options_of
from .progress import shown_progress
from .receipts import print_receipt

__all__ = ["dead_letters"]

_LIMIT = 10
_MOST_REASONS = 20


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at the rows of a dead-letter file, and send them again."""


@dead_letters.command("show")
@click.argument("uri")
@click.option("-t", "--table", metavar="NAME", help="Show only the dead letters of this table.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=_LIMIT,
    show_default=True,
    help="The largest number of rows to print.",
)
@click.option("--values", is_flag=True, help="Print the values of the rows; by default, only their types are shown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@framed
def show(uri: str, table: str | None, limit: int, values: bool, as_json: bool) -> None:
    """Print a summary of the dead-letter file at URI: its first rows, and the number of rows per table and reason."""
    from ..bad_rows import letters_of

    found = letters_of(uri, table)
    summary: dict[str, Any] = {
        "file": shown_uri(uri),
        "letters": len(found),
        "reasons": [
            {"table": name, "reason": reason, "rows": rows}
            for (name, reason), rows in Counter((str(each["table"]), _reason(each)) for each in found).most_common()
        ],
        "rows": [_row(letter, values=values) for letter in found[:limit]],
    }
    click.echo(json.dumps(summary, indent=2) if as_json else _text(summary, values=values))


@dead_letters.command("replay")
@click.argument("uri")
@click.option("-t", "--table", metavar="NAME", help="Needed if the file holds dead letters of several tables.")
@delivery_options
@connection_options
@ingest_options
@framed
def replay(
    uri: str, table: str | None, checkpoint: str | None, epoch: str | None, as_json: bool, quiet: bool, **given: Any
) -> None:
    """Send the rows of the dead-letter file at URI to the table recorded in the file, and print the receipt.

    The file is not changed. If rows still do not fit, the command fails. With --dead-letter-uri, these rows are written
    to another file instead. The exit code is 0 only if every row is durable, or in that other file.
    """
    options = ingest_options_of(given)
    workspace, store = workspace_of(given), checkpoint_store(checkpoint, epoch)
    interruption = Interruption()
    with interruption.catching_signals(), shown_progress(quiet=quiet) as progress:
        from ..replaying import replay as replayed

        receipt = replayed(
            workspace, uri, table=table, options=options, checkpoint=store, on_progress=progress, stop=interruption
        )
    print_receipt(receipt, as_json=as_json)


def _reason(letter: Mapping[str, Any]) -> str:
    """Return why a row became a dead letter.

    Indexes of list items are replaced by ``[…]``, so that reasons that differ only in an index are counted together.
    """
    return re.sub(r"\[\d+\]", "[…]", _one_line(letter.get("error", "")))


def _one_line(text: Any) -> str:
    return " ".join(str(text).split())


def _row(letter: Mapping[str, Any], *, values: bool) -> dict[str, Any]:
    from ..bad_rows import LETTER_KEY, from_letter

    record = letter["record"]
    return {
        "table": letter["table"],
        "position": letter["source_position"],
        "error": _one_line(letter.get("error", "")),
        "time": letter["time"],
        "record": record if values else _types(from_letter(record, letter[LETTER_KEY])),
    }


def _types(value: Any) -> Any:
    """Return ``value`` with each scalar replaced by the name of its type; None stays None."""
    if isinstance(value, dict):
        return {name: _types(item) for name, item in value.items()}
    if isinstance(value, list | tuple):  # a map's entry is a tuple
        return [_types(item) for item in value]
    name = "str" if isinstance(value, str) else type(value).__name__
    return None if value is None else f"<{name}>"


def _text(summary: Mapping[str, Any], *, values: bool) -> str:
    count = summary["letters"]
    lines = [f"{summary['file']}: {count:,} {plural(count, 'dead letter')}"]
    table = None
    for reason in summary["reasons"][:_MOST_REASONS]:
        if reason["table"] != table:
            table = reason["table"]
            lines.append(f"{table}:")
        lines.append(f"{reason['rows']:>9,}  {reason['reason']}")
    if (more := len(summary["reasons"]) - _MOST_REASONS) > 0:
        lines.append(f"           and {more:,} more {plural(more, 'reason')}, which --json lists")
    if summary["rows"]:
        how = "" if values else "; values are hidden, --values shows them"
        lines += ["", f"The first {len(summary['rows']):,} of {count:,} {plural(count, 'row')}{how}:"]
    for row in summary["rows"]:
        lines += [f"{row['position']}: {row['error']}", f"    {json.dumps(row['record'])}"]
    return "\n".join(lines)
