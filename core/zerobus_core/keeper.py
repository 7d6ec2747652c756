"""Keeps the checkpoint of a running delivery: what to skip at its start, and what is durable from then on."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .checkpoint import Checkpoint, CheckpointStore, Resumption, resume

if TYPE_CHECKING:
    from .errors import Counts
    from .ranges import RowRanges
    from .schema import TableSchema

__all__ = ["CheckpointKeeper"]

_log = logging.getLogger("zerobus_core")


class CheckpointKeeper:
    """Reads the store once, when built, and says in the log why a delivery starts at the first row, where it does.

    Without a store it skips nothing and keeps nothing.  Used from the thread that called ``ingest``.
    """

    def __init__(self, store: CheckpointStore | None, schema: TableSchema, *, source_fingerprint: str | None) -> None:
        self.source_fingerprint = source_fingerprint
        self._store = store
        self._schema = schema
        resumption = self._resume()
        self.skip = resumption.skip
        """The rows that are durable from an earlier try."""
        self.resumed_from = resumption.checkpoint.written_at if resumption.checkpoint else None

    def _resume(self) -> Resumption:
        if self._store is None:
            return Resumption()
        resumption = resume(
            self._store,
            table=self._schema.table,
            schema_fingerprint=self._schema.fingerprint,
            source_fingerprint=self.source_fingerprint,
        )
        if resumption.reason:
            _log.warning("%s: starting at the first row: %s", self._schema.table, resumption.reason)
        elif resumption.checkpoint:
            _log.info("%s: resuming, %d rows are durable from before", self._schema.table, resumption.skip.rows)
        elif self.source_fingerprint is None:
            _log.info("%s: the source has no fingerprint, so a retry will start at row 0", self._schema.table)
        return resumption

    def save(self, durable: RowRanges, counts: Counts) -> None:
        """Keep that ``durable`` rows were acknowledged in this try.

        A store that fails costs the next try some duplicates, never this one its success: it is logged.
        """
        if self._store is None:
            return
        everything = self.skip.copy()
        for start, stop in durable:
            everything.add(start, stop)
        checkpoint = Checkpoint(
            table=self._schema.table,
            schema_fingerprint=self._schema.fingerprint,
            source_fingerprint=self.source_fingerprint,
            epoch=self._store.epoch,
            durable=everything,
            counts=counts,
            written_at=datetime.now(UTC).isoformat(),
        )
        try:
            self._store.save(checkpoint)
        except Exception as error:  # noqa: BLE001 - any store, any failure: the rows are durable all the same
            _log.warning("The checkpoint was not saved, a retry may send rows again: %s", error)
