"""The command ``zerobus-ingest checkpoint show``, and the function that builds the store for ``--checkpoint``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..errors import ConfigurationError
from ..wording import plural
from .frame import framed

if TYPE_CHECKING:
    from ..checkpoint import CheckpointStore

__all__ = ["checkpoint", "checkpoint_store"]

_MOST_SHOWN = 20


@click.group()
def checkpoint() -> None:
    """Look at the checkpoint that a delivery has left for its next attempt."""


@checkpoint.command()
@click.argument("uri")
@framed
def show(uri: str) -> None:
    """Print the content of the checkpoint at URI: table, source, time of writing and durable rows."""
    from ..checkpoint import FileCheckpointStore, InvalidCheckpointError
    from ..ranges import END
    from ..storage.uris import shown_uri

    try:
        found = FileCheckpointStore(uri).load()
    except InvalidCheckpointError as error:
        raise ConfigurationError(f"the checkpoint at {shown_uri(uri)} cannot be used: {error}") from error
    if found is None:
        raise ConfigurationError(f"there is no checkpoint at {shown_uri(uri)}")
    spans = list(found.durable)
    more = (
        f", and {len(spans) - _MOST_SHOWN} more {plural(len(spans) - _MOST_SHOWN, 'range')}"
        if len(spans) > _MOST_SHOWN
        else ""
    )
    rows = ", ".join(f"{start} to {stop - 1}" for start, stop in spans[:_MOST_SHOWN]) + more
    compared = "by the source's fingerprint" if found.digest is None else "by a digest of the rows"
    lines = {
        "table": f"{found.table} (id {found.table_identity})",
        "source": found.source_fingerprint or "without a fingerprint, so no row is skipped",
        "epoch": found.epoch or "none",
        "written": f"{found.written_at}, by attempt {found.attempt.number if found.attempt else '(not numbered)'}",
        "durable": f"{found.durable.rows} {plural(found.durable.rows, 'row')}" + (f": {rows}" if rows else ""),
        "skipped rows checked": compared,
        "may have been sent": "any row" if found.reached == END else f"rows before {found.reached}",
        "rows resent so far": str(found.counts.rows_resent),
    }
    for name, text in lines.items():
        click.echo(f"{name + ':':<22}{text}")


def checkpoint_store(uri: str | None, epoch: str | None) -> CheckpointStore | None:
    """Return the store that ``--checkpoint`` and ``--epoch`` describe, or None if neither is given.

    Raises ConfigurationError if only an epoch is given.
    """
    if uri is None:
        if epoch is not None:
            raise ConfigurationError("--epoch needs --checkpoint, because the epoch is stored in the checkpoint")
        return None
    from ..checkpoint import FileCheckpointStore

    return FileCheckpointStore(uri, epoch=epoch)
