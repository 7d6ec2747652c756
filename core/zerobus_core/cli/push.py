"""``zerobus-ingest push``: all of a source into a table, or a way to send the rest."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import click

from ..errors import ConfigurationError
from .frame import connection_options, framed, workspace_of
from .interruption import Interruption
from .options import ingest_options, ingest_options_of
from .progress import shown_progress

if TYPE_CHECKING:
    from ..checkpoint import CheckpointStore
    from ..options import IngestOptions
    from ..receipt import Receipt
    from ..workspace import Workspace

__all__ = ["push"]

_log = logging.getLogger("zerobus_core")


@click.command()
@click.argument("source")
@click.option("--table", required=True, metavar="NAME", help="catalog.schema.table")
@click.option("--checkpoint", metavar="URI", help="File that keeps what is durable; the next try with it resumes.")
@click.option("--epoch", metavar="TEXT", help="Another epoch than the checkpoint's starts from the first row.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@connection_options
@ingest_options
@framed
def push(source: str, table: str, checkpoint: str | None, epoch: str | None, quiet: bool, **given: Any) -> None:
    """Push SOURCE into a table and print the receipt as JSON.

    SOURCE is a path or URI of Parquet, CSV, JSON Lines, Arrow IPC or Avro files, a directory or glob of them, a
    dead-letter file, or - for JSON Lines on standard input.

    The exit code is 0 only if every row is durable (or in the dead-letter file that you asked for).
    """
    options = ingest_options_of(given)
    if epoch is not None and checkpoint is None:
        raise ConfigurationError("--epoch is the epoch of a checkpoint; give --checkpoint with it")
    if options.format is not None and source == "-":
        raise ConfigurationError("standard input is JSON Lines; give --format and its options with files only")
    receipt = _push(workspace_of(given), source, table, options, _store(checkpoint, epoch), quiet=quiet)
    try:
        click.echo(json.dumps(receipt.as_dict(), indent=2))
    except OSError as error:
        # Every row is durable: that nobody reads the receipt makes it no failure.
        _log.warning("the receipt cannot be written to stdout: %s", error)


def _push(
    workspace: Workspace,
    source: str,
    table: str,
    options: IngestOptions,
    store: CheckpointStore | None,
    *,
    quiet: bool,
) -> Receipt:
    interruption = Interruption()
    with interruption.catching_signals():
        # Slow to import, and signals should be ours by then.
        from ..push import ingest
        from .stdin import JsonLinesPipe

        records: Any = JsonLinesPipe(options) if source == "-" else source
        with shown_progress(quiet=quiet) as show:
            return ingest(
                workspace, table, records, options=options, checkpoint=store, on_progress=show, stop=interruption
            )


def _store(uri: str | None, epoch: str | None) -> CheckpointStore | None:
    if uri is None:
        return None
    from ..checkpoint import FileCheckpointStore

    return FileCheckpointStore(uri, epoch=epoch)
