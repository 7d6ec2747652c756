"""What the next try may skip: the form of it, where it is kept, and who keeps it up to date."""

from .checkpoint import Checkpoint, InvalidCheckpointError, bounded
from .keeper import CheckpointKeeper
from .store import CheckpointStore, FileCheckpointStore, MemoryCheckpointStore, Resumption, resume

__all__ = [
    "Checkpoint",
    "CheckpointKeeper",
    "CheckpointStore",
    "FileCheckpointStore",
    "InvalidCheckpointError",
    "MemoryCheckpointStore",
    "Resumption",
    "bounded",
    "resume",
]
