"""Checkpoints in files, for ``ZerobusResource.checkpoint_uri``: files can be written far more often than events."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from zerobus_core import Checkpoint, FileCheckpointStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from .checkpoint import ObservationCheckpointStore

__all__ = ["StepFileStore"]


class StepFileStore(FileCheckpointStore):
    """The checkpoint of one delivery of a step, in a file below ``folder``.

    The file is ``<run id>/<hash>.json``. The run is the one in which the delivery began. The hash is made from the step
    key, the table, the name of the delivery and the partition.

    ``observations`` is the store of the same delivery in the event log. If ``observations.is_evidence`` is set, the
    attempt's first checkpoint with durable rows is also saved in ``observations``. Other runs then learn from the event
    log that the table has rows of this delivery.

    ``call`` calls a function that uses Dagster. In an async step, the methods of this store run in the delivery's
    thread, and ``call`` switches to the thread of the event loop.
    """

    def __init__(self, folder: str, observations: ObservationCheckpointStore, *, call: Callable[..., None]) -> None:
        step_key = observations.attempt.step_key
        which = [step_key, observations.table, observations.delivery, observations.partition]
        name = hashlib.blake2b(json.dumps(which).encode(), digest_size=16).hexdigest()
        super().__init__(f"{folder.rstrip('/')}/{observations.epoch}/{name}.json", epoch=observations.epoch)
        self._observations = observations
        self._call = call
        self._is_found = False
        self.rows_durable = 0

    def load(self) -> Checkpoint | None:
        """See CheckpointStore."""
        found = super().load() if self._observations.resume != "never" else None
        self._call(self._observations.report_resumed, found)
        return found

    def save(self, checkpoint: Checkpoint) -> None:
        """See CheckpointStore."""
        super().save(checkpoint)
        self.rows_durable = checkpoint.durable.rows
        if self._observations.is_evidence and self.rows_durable and not self._is_found:
            self._is_found = True
            self._call(self._observations.save, checkpoint)
