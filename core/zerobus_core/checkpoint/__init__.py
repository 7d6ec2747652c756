"""Defines, loads and saves checkpoints. A checkpoint records which rows the next attempt can skip."""

from .checkpoint import AttemptMark, Checkpoint, InvalidCheckpointError, RowsDigest, bounded
from .digest import DigestForm, RowDigests, Segment
from .keeper import CheckpointKeeper, RowsKept
from .store import CheckpointStore, FileCheckpointStore, MemoryCheckpointStore, Resumption, SourceFacts, resume

__all__ = [
    "AttemptMark",
    "Checkpoint",
    "CheckpointKeeper",
    "CheckpointStore",
    "DigestForm",
    "FileCheckpointStore",
    "InvalidCheckpointError",
    "MemoryCheckpointStore",
    "Resumption",
    "RowDigests",
    "RowsDigest",
    "RowsKept",
    "Segment",
    "SourceFacts",
    "bounded",
    "resume",
]
