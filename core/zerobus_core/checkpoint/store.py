"""Where checkpoints are kept, and whether the next try may skip by what it finds there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..errors import ConfigurationError
from ..ranges import RowRanges
from ..storage.atomic_file import KeptFile
from ..storage.uris import shown_uri
from .checkpoint import Checkpoint, InvalidCheckpointError

if TYPE_CHECKING:
    from ..schema import TableSchema

__all__ = ["CheckpointStore", "FileCheckpointStore", "MemoryCheckpointStore", "Resumption", "resume"]


@runtime_checkable
class CheckpointStore(Protocol):
    """Keeps the checkpoint of one delivery: one file, one task instance, one asset partition.

    Called from the thread that called ``ingest``.  ``epoch`` changes when a host clears the delivery, so that the
    next try starts from the first row.

    A store may say in ``save_interval`` how many seconds shall lie between two saves while a delivery runs; 1.0 where
    it does not.  It is asked after each save.  What was acknowledged since the last save is sent again after a crash.
    """

    @property
    def epoch(self) -> str | None:
        """Which run of the delivery this is; a checkpoint of another epoch is not resumed."""

    def load(self) -> Checkpoint | None:
        """The checkpoint saved last, or None; raises InvalidCheckpointError for what is none."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace what is kept, all or nothing; what was saved survives a crash right after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """What a delivery starts with: the checkpoint that it takes up, and the reason where it starts at the first row.

    With both, the rows that were durable are sent again, and the checkpoint tells only which those may be.
    """

    checkpoint: Checkpoint | None = None
    reason: str | None = None

    @property
    def resumed_from(self) -> str | None:
        """When the checkpoint was written that rows are skipped by."""
        return self.checkpoint.written_at if self.checkpoint and not self.reason else None

    @property
    def skip(self) -> RowRanges:
        """The rows that need not be sent; an own copy."""
        return self.checkpoint.durable.copy() if self.checkpoint and not self.reason else RowRanges()


def resume(store: CheckpointStore, schema: TableSchema, *, source_fingerprint: str | None) -> Resumption:
    """Load what ``store`` keeps, and decide whether this delivery may skip by it.

    Both are None in the answer where nothing is kept.  Errors of the storage itself pass through.
    """
    try:
        checkpoint = store.load()
    except InvalidCheckpointError as error:
        return Resumption(reason=f"the checkpoint is refused: {error}")
    if checkpoint is None:
        return Resumption()
    if reason := checkpoint.why_other(schema, source_fingerprint=source_fingerprint, epoch=store.epoch):
        return Resumption(reason=reason)
    if checkpoint.schema_fingerprint != schema.fingerprint:
        was, now = checkpoint.schema_fingerprint, schema.fingerprint
        changed = f"the table's schema has changed: its fingerprint was {was}, now {now}"
        return Resumption(checkpoint=checkpoint, reason=changed)
    return Resumption(checkpoint=checkpoint)


class MemoryCheckpointStore:
    """Keeps the checkpoint in this object, as the text that a file would hold; for tries in one process."""

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

    A local file is replaced atomically and synced to disk.  An object store replaces an object as a whole; elsewhere
    a write that breaks off leaves a file that is refused, and all rows are sent again.  Raises TransportError where the
    storage fails, and ConfigurationError where it does not let us.
    """

    def __init__(self, uri: str | os.PathLike[str], epoch: str | None = None) -> None:
        if epoch is not None and not (isinstance(epoch, str) and epoch):
            raise ConfigurationError(f"the epoch of a checkpoint must be text, or None, not {epoch!r}")
        self.uri = os.fspath(uri)
        self.epoch = epoch
        self._file = KeptFile(uri, "checkpoint")

    @property
    def save_interval(self) -> float:
        """See CheckpointStore: a local file takes milliseconds, an object store a request that is paid for."""
        return 0.02 if self._file.is_local else 1.0

    def __repr__(self) -> str:
        return f"FileCheckpointStore({shown_uri(self.uri)!r}, epoch={self.epoch!r})"

    def is_at(self, uri: str) -> bool:
        """Whether this is the file that ``uri`` names."""
        return self._file.is_at(uri)

    def load(self) -> Checkpoint | None:
        """See CheckpointStore."""
        data = self._file.read()
        return None if data is None else Checkpoint.from_json(data)

    def save(self, checkpoint: Checkpoint) -> None:
        """See CheckpointStore."""
        self._file.replace(checkpoint.to_json().encode())
