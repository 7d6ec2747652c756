"""``ingest``, which delivers a whole source: the function that adapters, the command line and most users call."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .checkpoint import CheckpointKeeper, DigestForm, FileCheckpointStore, SourceFacts
from .delivery import Controls, Delivery, Destination, fetch_schema, removed_in_time, source_in_time
from .delivery.arguments import (
    checkpoint_argument,
    hook_argument,
    options_argument,
    stop_argument,
    table_argument,
    workspace_argument,
)
from .delivery.outlook import noting_that_nothing_was_sent
from .errors import ConfigurationError, SourceChangedError, naming_table
from .sources import options_for
from .sources.protocol.chunking import delayed
from .sources.shards.form import shard_facts
from .storage.uris import shown_uri

if TYPE_CHECKING:
    from .checkpoint import CheckpointStore
    from .options import IngestOptions
    from .receipt import Progress, Receipt
    from .sources import Source
    from .workspace import Workspace

__all__ = ["ingest"]


def ingest(  # noqa: PLR0913 - the one call that users make, with everything by name
    workspace: Workspace,
    table: str,
    records: Any,
    *,
    options: IngestOptions | Mapping[str, Any] | None = None,
    checkpoint: CheckpointStore | str | os.PathLike[str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Receipt:
    """Deliver all of ``records`` to ``table`` ("catalog.schema.table") and return once every row is durable.

    ``records`` can have any form that docs/sources.md lists. ``options`` can also be a mapping from the names of
    options to their values, and ``checkpoint`` can also be the path or URI of a file.

    A checkpoint belongs to one delivery. A later call with the same checkpoint sends only the missing rows, provided
    that the table, schema, source and epoch are the same, and that the delivered rows have not changed in the
    source. If they have changed, a source that can be read again is sent from its first row; for any other source,
    SourceChangedError is raised, and the next call starts over.

    ``on_progress`` is called in this thread, at most every 0.5 s, and once more if the delivery succeeds. If any thread
    sets ``stop``, the call raises IngestInterruptedError within a second. If a signal handler raises an exception, the
    call passes it on within a second. In the main thread (not on Windows), ``stop``, signals and ``timeout`` can also
    interrupt a source that waits for its rows; in other threads they take effect when the source yields its next row.

    Blocks, but never inside a native call of the SDK. Returns a receipt only if each row is durable in the table, was
    written to the dead-letter file, or was filtered by ``transform``. Otherwise, raises a ZerobusIngestError that has
    the table and the counts. Exceptions that the source or a signal handler raises are passed on.
    """
    workspace, table, options = workspace_argument(workspace), table_argument(table), options_argument(options)
    controls = Controls(stop=stop_argument(stop), on_progress=hook_argument("on_progress", on_progress))
    with naming_table(table):
        with noting_that_nothing_was_sent(table):
            checkpoint = checkpoint_argument(checkpoint)
            schema = fetch_schema(workspace, table, options, stop=controls.stop, refresh=checkpoint is not None)
            source = source_in_time(records, options, schema, controls)
            options = options_for(source, options)
            _check_place(checkpoint, source, options)
            fingerprint = source.fingerprint if _needs_fingerprint(options, checkpoint) else None
            destination = Destination.of(
                workspace, schema, options, controls, is_arrow=source.is_arrow, version=fingerprint
            )
            if destination.takes_tuples:
                source.give_tuples()
            facts = replace(
                _facts_of(source, fingerprint, None if checkpoint is None else destination.digest_form),
                removed_since=removed_in_time(source, options, controls),
            )
            keeper = CheckpointKeeper(checkpoint, schema, facts)

        def deliver() -> Receipt:
            delivery = Delivery(destination, options, keeper=keeper, controls=controls, locate=source.locate)
            delivery.follow(source)
            with delivery.running():
                delivery.poll()
                chunks = delayed(source.chunks(delivery.skip), source.start_delay)
                delivery.send_all(chunks, are_in_memory=source.is_in_memory)
                return replace(delivery.finish(), shard=shard_facts(records))

        try:
            receipt = deliver()
        except SourceChangedError as error:
            if not source.can_read_again:
                raise
            keeper.start_over(error.message)
            source.start_delay = 0.0
            receipt = deliver()
        source.on_durable()
        return receipt


def _facts_of(source: Source, fingerprint: str | None, form: DigestForm | None) -> SourceFacts:
    """Return the facts about ``source`` that decide whether its durable rows can be skipped.

    ``form`` is the form of the rows' digests. Computing digests takes time, so ``form`` is left out if there is no
    ``fingerprint``, or if the fingerprint covers the content of the rows.
    """
    is_known = fingerprint is None or source.is_content_known
    return SourceFacts(
        fingerprint=fingerprint,
        form=None if is_known else form,
        total_rows=source.total_rows,
        why_empty=source.why_empty,
    )


def _check_place(checkpoint: CheckpointStore | None, source: Source, options: IngestOptions) -> None:
    """Raise ConfigurationError if the checkpoint is also the dead-letter file, or would be read as a source file."""
    if not isinstance(checkpoint, FileCheckpointStore):
        return
    where = f"the checkpoint at {shown_uri(checkpoint.uri)}"
    if options.dead_letter_uri is not None and checkpoint.is_at(options.dead_letter_uri):
        raise ConfigurationError(f"{where} is also the dead-letter file; choose another file")
    if source.would_hold(checkpoint.uri):
        raise ConfigurationError(
            f"{where} is, or will be, one of the files to deliver, and would be read as rows; choose another file"
        )


def _needs_fingerprint(options: IngestOptions, checkpoint: CheckpointStore | None) -> bool:
    # Fingerprinting lists and Arrow data hashes every value, so only do it when it is used.
    return checkpoint is not None or options.delivery_columns is not None or options.dead_letter_uri is not None
