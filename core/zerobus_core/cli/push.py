"""``zerobus-ingest push``, which delivers all rows of a source or, after a failure, the rows that are still missing."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ConfigurationError, TableNotFoundError
from .checkpoint import checkpoint_store
from .frame import connection_options, framed, workspace_of
from .interruption import Interruption
from .options import delivery_options, ingest_options, ingest_options_of
from .progress import shown_progress
from .receipts import print_receipt

if TYPE_CHECKING:
    from ..checkpoint import CheckpointStore
    from ..options import IngestOptions
    from ..receipt import Receipt
    from ..workspace import Workspace

__all__ = ["push"]


@click.command()
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option("-t", "--table", metavar="NAME", help="catalog.schema.table")
@delivery_options
@connection_options
@ingest_options
@framed
def push(
    sources: tuple[str, ...],
    table: str | None,
    checkpoint: str | None,
    epoch: str | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Push all SOURCEs into a table, as one delivery, and print its receipt (as JSON unless stdout is a terminal).

    SOURCE is a path or URI of Parquet, CSV, JSON Lines, Arrow IPC, Avro or Excel files, a directory or glob of them,
    a dead-letter file, or - for JSON Lines on standard input.

    The exit code is 0 only if every row is durable, or in the dead-letter file that you asked for.
    """
    sources, table = _named(sources, table)
    options = ingest_options_of(given)
    if options.format is not None and "-" in sources:
        raise ConfigurationError("standard input is read as JSON Lines; use --format and its options for files only")
    store = checkpoint_store(checkpoint, epoch)
    receipt = _push(workspace_of(given), sources, table, options, store, quiet=quiet)
    print_receipt(receipt, as_json=as_json)


def _named(sources: tuple[str, ...], table: str | None) -> tuple[tuple[str, ...], str]:
    """Return the sources and the table.

    Without ``-t``, the last of several arguments is the table if it has the form of a table's name and does not look
    like a file.
    """
    if table is None and len(sources) > 1 and _is_table_name(sources[-1]):
        sources, table = sources[:-1], sources[-1]
    if table is None:
        raise click.UsageError("pass the table with -t: zerobus-ingest push SOURCE... -t catalog.schema.table")
    if not sources:
        raise click.UsageError("pass the source to push: zerobus-ingest push SOURCE... -t catalog.schema.table")
    if "-" in sources and len(sources) > 1:
        raise click.UsageError("- is standard input, which cannot be pushed together with other sources")
    return sources, table


def _is_table_name(text: str) -> bool:
    from ..schema.table import check_table_name
    from ..sources.files.finding.found import EXTENSIONS

    try:
        check_table_name(text)
    except ConfigurationError:
        return False
    return not Path(text).exists() and Path(text).suffix.lower() not in {*EXTENSIONS, ".txt"}


def _push(
    workspace: Workspace,
    sources: tuple[str, ...],
    table: str,
    options: IngestOptions,
    store: CheckpointStore | None,
    *,
    quiet: bool,
) -> Receipt:
    interruption = Interruption()
    with interruption.catching_signals():
        # These modules are slow to import, and signals are already caught here.
        from ..push import ingest
        from .stdin import JsonLinesPipe

        records: Any = sources[0] if len(sources) == 1 else list(sources)
        if records == "-":
            records = JsonLinesPipe(options)
        with shown_progress(quiet=quiet) as show:
            try:
                return ingest(
                    workspace, table, records, options=options, checkpoint=store, on_progress=show, stop=interruption
                )
            except TableNotFoundError as error:
                error.message += (
                    f"; to create it: zerobus-ingest create-table {shlex.quote(sources[0])} --table {table}"
                )
                raise
