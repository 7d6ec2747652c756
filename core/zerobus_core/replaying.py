"""Replays dead letters: sends the rows of a dead-letter file to their table once the cause is fixed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .bad_rows import lines_of_letters, tables_of_letters
from .delivery.arguments import options_argument
from .errors import ConfigurationError
from .push import ingest
from .sources.files.letters import LettersSource
from .storage.uris import shown_uri

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from .checkpoint import CheckpointStore
    from .options import IngestOptions
    from .receipt import Progress, Receipt
    from .sources import Source
    from .workspace import Workspace

__all__ = ["letters_source", "replay", "replay_options"]


def replay(  # noqa: PLR0913 - as ingest, with everything by name
    workspace: Workspace,
    dead_letter_uri: str,
    *,
    table: str | None = None,
    options: IngestOptions | Mapping[str, Any] | None = None,
    checkpoint: CheckpointStore | str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Receipt:
    """Send the rows that the dead-letter file at ``dead_letter_uri`` holds now, and return the receipt.

    Only dead letters for ``table`` are sent. If ``table`` is None, the file must hold dead letters for a single table.
    The file is not changed: another call sends the rows again, unless both calls have the same ``checkpoint``. If
    ``options`` has a ``dead_letter_uri``, which must be another file, rows that still do not fit are written there;
    otherwise they make the call fail. The whole file is held in memory.

    Raises ConfigurationError if the file is missing or is not a dead-letter file. Also raises all errors that
    ``ingest`` raises.
    """
    chosen = replay_options(options_argument(options), dead_letter_uri)
    if table is None:
        tables = tables_of_letters(dead_letter_uri)
        if not tables:
            raise ConfigurationError(f"{shown_uri(dead_letter_uri)} is empty: there are no dead letters to replay")
        if len(tables) > 1:
            raise ConfigurationError(
                f"{shown_uri(dead_letter_uri)} holds dead letters for {len(tables)} tables ({', '.join(tables)}); "
                "pass one of them as table"
            )
        table = tables[0]
    records = letters_source(dead_letter_uri, table, chosen)
    return ingest(workspace, table, records, options=chosen, checkpoint=checkpoint, on_progress=on_progress, stop=stop)


def letters_source(dead_letter_uri: str, table: str, options: IngestOptions) -> Source:
    """Return the rows of the dead letters for ``table``, in the order of the file, as a source for ``ingest``.

    Raises ConfigurationError if the file is missing or is not a dead-letter file, and TransportError if the storage
    fails.
    """
    return LettersSource(lines_of_letters(dead_letter_uri, table), options)


def replay_options(options: IngestOptions, dead_letter_uri: str) -> IngestOptions:
    """Return the options for a replay of dead letters, given those of the delivery.

    ``parse_text`` is set, because dead letters hold dates as text. The options that change which columns and rows of
    the source are delivered are removed, because dead letters hold the rows as these options have left them.

    Raises ConfigurationError if the options would write new dead letters to the file at ``dead_letter_uri``.
    """
    if options.dead_letter_uri is not None and options.dead_letter_uri == dead_letter_uri:
        raise ConfigurationError(
            f"the dead letters at {shown_uri(dead_letter_uri)} are being replayed; name another file for rows that "
            "still do not fit"
        )
    return replace(
        options,
        parse_text=True,
        transform=None,
        transform_version=None,
        select=(),
        drop=(),
        rename=None,
        constants=None,
    )
