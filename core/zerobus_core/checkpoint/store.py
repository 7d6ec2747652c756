"""Checkpoint stores, and the decision whether an attempt can skip the durable rows of a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..column_options import SHAPED
from ..errors import ConfigurationError, Counts
from ..ranges import END, RowRanges, moved_end, moved_ranges
from ..storage.uris import shown_uri
from ..wording import plural
from .checkpoint import AttemptMark, Checkpoint, InvalidCheckpointError, RowsDigest, why_other_table

if TYPE_CHECKING:
    from ..ranges import RemovedRows
    from ..schema import TableSchema
    from .digest import DigestForm

__all__ = [
    "CheckpointStore",
    "FileCheckpointStore",
    "MemoryCheckpointStore",
    "Resumption",
    "SourceFacts",
    "resume",
]


@runtime_checkable
class CheckpointStore(Protocol):
    """Keeps the checkpoint of one delivery in one place, such as a file, a task instance or an asset partition.

    Its methods are called from the thread that called ``ingest``. ``epoch`` changes when the delivery is to start over,
    for example because someone has cleared an Airflow task; the next attempt then starts from the first row.

    Two attempts at one delivery can run at the same time: for example, the orchestrator has lost contact with a task
    that still runs, and has started the retry of this task. Before each ``save``, an attempt calls ``load`` to find out
    whether a newer attempt has saved a checkpoint.

    A store can have the attribute ``save_interval``: the seconds between two regular saves while a delivery runs.
    Without this attribute, the time is 1.0 s. If saves take long, the time between them is longer. The attribute is
    read again after each save. After a crash, rows acknowledged since the last save are sent again.
    """

    @property
    def epoch(self) -> str | None:
        """Identifies the run of the delivery; a checkpoint of another epoch is not used."""

    def load(self) -> Checkpoint | None:
        """Return the checkpoint that was saved last, or None if there is none.

        Raises InvalidCheckpointError if the stored data is not a checkpoint that this release can read.
        """

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the stored checkpoint atomically; the new one must survive a crash once this method has returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """The facts about a source that are known before it is read."""

    fingerprint: str | None = None
    form: DigestForm | None = None
    """The form of the digests of the source's rows; None if no digest is needed or possible."""
    total_rows: int | None = None
    why_empty: str | None = None
    """Why the source has no rows, if that is known."""
    removed_since: Callable[[str, int], Sequence[RemovedRows]] | None = None
    """A function that returns the removed rows that ``Source.removed_since`` yields; empty if nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """The state that earlier attempts have left, and with which a delivery starts.

    If ``reason`` is set, every row is sent; ``reached`` and ``counts`` still say what may have been sent before.
    """

    skip: RowRanges = field(default_factory=RowRanges)
    """The rows that do not have to be sent."""
    digest: RowsDigest | None = None
    """The digest of the rows in ``skip``, if they have to be compared when they are read."""
    reached: int = 0
    """Rows below this position may have been sent."""
    counts: Counts = field(default_factory=Counts)
    resumed_from: str | None = None
    """When the checkpoint whose rows are skipped was written; None if no rows are skipped."""
    reason: str | None = None
    """Why the delivery starts at the first row although there is a checkpoint."""
    attempt: AttemptMark | None = None
    """The attempt that wrote the checkpoint; None if it is not known."""
    removed_from: str | None = None
    """The source's fingerprint in the checkpoint, if rows were removed from the source after that; None otherwise."""
    removed: Sequence[RemovedRows] = ()
    """The rows that were removed from the source after the checkpoint was written, as far as they are known."""

    def reached_now(self, checkpoint: Checkpoint) -> int:
        """Return the position below which the attempt that wrote ``checkpoint`` may have sent rows.

        If rows were removed from the source after that attempt, the position is corrected for the removed rows.
        """
        reached = checkpoint.reached
        return moved_end(reached, self.removed) if checkpoint.source_fingerprint == self.removed_from else reached


def resume(store: CheckpointStore, schema: TableSchema, source: SourceFacts) -> Resumption:
    """Load the checkpoint of ``store``, and decide whether this delivery can skip the checkpoint's durable rows.

    Raises the errors of ``store.load``, except InvalidCheckpointError.
    """
    try:
        checkpoint = store.load()
    except InvalidCheckpointError as error:
        return _resume_from_remains(error, schema, epoch=store.epoch)
    if checkpoint is None:
        return Resumption()
    if reason := why_other_table(checkpoint, schema, epoch=store.epoch):
        return Resumption(reason=reason, attempt=checkpoint.attempt)
    removed_from = checkpoint.source_fingerprint
    removed = _removed_since(checkpoint, source)
    if removed:
        checkpoint = replace(
            checkpoint,
            source_fingerprint=source.fingerprint,
            durable=moved_ranges(checkpoint.durable, removed),
            reached=moved_end(_reached(checkpoint), removed),
        )
    reason = _why_not(checkpoint, schema, source)
    return Resumption(
        skip=RowRanges() if reason else checkpoint.durable.copy(),
        digest=None if reason or source.form is None else checkpoint.digest,
        reached=_reached(checkpoint),
        counts=checkpoint.counts,
        resumed_from=None if reason else checkpoint.written_at,
        reason=reason,
        attempt=checkpoint.attempt,
        removed_from=removed_from if removed else None,
        removed=removed,
    )


def _reached(checkpoint: Checkpoint) -> int:
    return max(checkpoint.reached, *(stop for _, stop in checkpoint.durable), 0)


def _removed_since(checkpoint: Checkpoint, source: SourceFacts) -> Sequence[RemovedRows]:
    """Return the rows removed from the source since the checkpoint was written; empty if these rows are not known."""
    before, now = checkpoint.source_fingerprint, source.fingerprint
    if before is None or now is None or before == now or source.removed_since is None:
        return ()
    # A digest covers blocks of fixed positions, and a removal changes the positions of rows.
    return () if source.form or checkpoint.digest else source.removed_since(before, _reached(checkpoint))


def _resume_from_remains(error: InvalidCheckpointError, schema: TableSchema, *, epoch: str | None) -> Resumption:
    reason = f"the checkpoint is refused: {error}"
    if (remains := error.remains) is None:
        # There was an attempt, and nothing says which rows it may have sent.
        return Resumption(reason=reason, reached=END)
    if why_other_table(remains, schema, epoch=epoch):
        return Resumption(reason=reason, attempt=remains.attempt)
    return Resumption(reason=reason, reached=remains.reached, counts=remains.counts, attempt=remains.attempt)


def _why_not(checkpoint: Checkpoint, schema: TableSchema, source: SourceFacts) -> str | None:
    """Return why the rows of the checkpoint cannot be skipped; None if they can."""
    if source.fingerprint is None:
        return "the source has no fingerprint, so nothing says that its rows are the same (see source_version)"
    if checkpoint.source_fingerprint != source.fingerprint:
        if _unshaped(checkpoint.source_fingerprint) == _unshaped(source.fingerprint):
            return (
                "the options that change the source's rows have other values now (select, drop, rename, constants, "
                "extra_columns, transform_version)"
            )
        return f"the source has changed: its fingerprint was {checkpoint.source_fingerprint}, now {source.fingerprint}"
    return _why_not_these_rows(checkpoint, schema, source)


def _unshaped(fingerprint: str | None) -> str | None:
    """Return ``fingerprint`` without the part that depends on options such as ``select`` and ``rename``."""
    return None if fingerprint is None else fingerprint.partition(SHAPED)[0]


def _why_not_these_rows(checkpoint: Checkpoint, schema: TableSchema, source: SourceFacts) -> str | None:
    if checkpoint.schema_fingerprint != schema.fingerprint:
        was, now = checkpoint.schema_fingerprint, schema.fingerprint
        return f"the table's schema has changed: its fingerprint was {was}, now {now}"
    last = max((stop for _, stop in checkpoint.durable), default=0)
    if source.total_rows is not None and last > source.total_rows:
        return (
            f"the checkpoint is refused: it says that row {last - 1} is durable, but the source has only "
            f"{source.total_rows} {plural(source.total_rows, 'row')}"
        )
    if not checkpoint.durable:
        return "no row is durable in the checkpoint"
    return None if source.form is None else _why_not_comparable(checkpoint, source.form)


def _why_not_comparable(checkpoint: Checkpoint, form: DigestForm) -> str | None:
    if checkpoint.digest is None:
        return "the checkpoint does not say what its rows held, nor does the fingerprint of the source"
    return checkpoint.digest.form.why_other(form)


class MemoryCheckpointStore:
    """Keeps the checkpoint in this object, as the text that a file would hold; for attempts in the same process."""

    save_interval = 0.02

    def __init__(self, epoch: str | None = None) -> None:
        self.epoch = epoch
        self.text: str | None = None

    def load(self) -> Checkpoint | None:
        """See CheckpointStore."""
        return None if self.text is None else Checkpoint.from_json(self.text)

    def save(self, checkpoint: Checkpoint) -> None:
        """See CheckpointStore."""
        self.text = checkpoint.to_json()


class FileCheckpointStore:
    """Keeps the checkpoint in one file: a local path, or any fsspec URI.

    A local file is replaced atomically and synced to disk. An object store replaces whole objects. On other storages an
    interrupted write can leave a damaged file; the next attempt then refuses the file and sends all rows again. Raises
    TransportError if the storage fails, and ConfigurationError if retrying cannot help, for example because access is
    denied.
    """

    def __init__(self, uri: str | os.PathLike[str], epoch: str | None = None) -> None:
        if epoch is not None and not (isinstance(epoch, str) and epoch):
            raise ConfigurationError(f"the epoch of a checkpoint must be None or non-empty text, not {epoch!r}")
        if not isinstance(uri, str | os.PathLike) or not isinstance(os.fspath(uri), str):
            raise ConfigurationError(f"the file of a checkpoint must be a path or URI, not {type(uri).__name__}")
        self.uri = os.fspath(uri)
        self.epoch = epoch
        from ..storage.atomic_file import KeptFile

        self._file = KeptFile(uri, "checkpoint")

    @property
    def save_interval(self) -> float:
        """See CheckpointStore.

        A save to a local file takes milliseconds. A save to an object store is a request that costs money.
        """
        return 0.02 if self._file.is_local else 1.0

    def __repr__(self) -> str:
        return f"FileCheckpointStore({shown_uri(self.uri)!r}, epoch={self.epoch!r})"

    def is_at(self, uri: str) -> bool:
        """Return whether ``uri`` refers to the file in which this store keeps the checkpoint."""
        return self._file.is_at(uri)

    def load(self) -> Checkpoint | None:
        """See CheckpointStore."""
        data = self._file.read()
        return None if data is None else Checkpoint.from_json(data)

    def save(self, checkpoint: Checkpoint) -> None:
        """See CheckpointStore."""
        self._file.replace(checkpoint.to_json().encode())
