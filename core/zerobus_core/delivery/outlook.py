"""Texts for a failed attempt: which rows the next attempt sends, and notes for exceptions that other code raised."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import ZerobusIngestError
from ..wording import plural

if TYPE_CHECKING:
    from ..checkpoint import CheckpointKeeper
    from ..errors import Counts

__all__ = ["next_attempt", "note_for", "noting_that_nothing_was_sent"]


def next_attempt(counts: Counts, keeper: CheckpointKeeper) -> str:
    """Return a clause that says which rows the next attempt sends.

    The clause is empty if no row is durable, because the next attempt then sends every row.
    """
    durable = counts.rows_acked + counts.rows_skipped
    if not durable:
        return ""
    if keeper.is_active and keeper.source.fingerprint is not None:
        return "another attempt with the same checkpoint sends only what is not durable"
    again = f"another attempt sends every row again, even the {durable:,} that {plural(durable, 'is', 'are')} durable"
    if keeper.is_active:
        return f"{again}: the source has no fingerprint; set source_version to a name for its content"
    return f"{again}: no checkpoint was given"


def note_for(table: str, counts: Counts, following: str) -> str:
    """Return a note with ``counts``, for an exception that does not carry the counts itself.

    ``following`` is the clause from ``next_attempt``.
    """
    durable = counts.rows_acked + counts.rows_skipped
    dead = (
        f", {counts.rows_dead_lettered:,} {plural(counts.rows_dead_lettered, 'is', 'are')} in the dead-letter file"
        if counts.rows_dead_lettered
        else ""
    )
    filtered = (
        f", {counts.rows_filtered:,} {plural(counts.rows_filtered, 'was', 'were')} filtered"
        if counts.rows_filtered
        else ""
    )
    after = f"; {following}" if following else ""
    return (
        f"{table}: of the {counts.rows_read:,} {plural(counts.rows_read, 'row')} read {durable:,} "
        f"{plural(durable, 'is', 'are')} durable{dead}{filtered} and {counts.rows_not_durable:,} "
        f"{plural(counts.rows_not_durable, 'is', 'are')} not durable{after}"
    )


@contextmanager
def noting_that_nothing_was_sent(table: str) -> Generator[None]:
    """Add the note "no row was sent" to an exception raised in the ``with`` block, unless it is a ZerobusIngestError.

    The ``with`` block runs before a delivery exists. For example, a source may fail to yield its first row.
    """
    try:
        yield
    except ZerobusIngestError:
        raise
    except BaseException as error:
        error.add_note(f"{table}: no row was sent")
        raise
