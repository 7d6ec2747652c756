"""Sends slices and their shards, each with its own checkpoint next to the state."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import ZerobusIngestError
from ..merging import merge_receipts
from ..push import ingest
from ..sources import Source
from . import shards
from .parts import count_of, part_id, parts_of
from .source import Bounds, bounds_of
from .state import OpenSlice, short_hash
from .store import EXPLICIT
from .views import NothingToSend, public

if TYPE_CHECKING:
    from ..receipt import Progress, Receipt
    from ..workspace import Workspace
    from .keeper import StateKeeper

__all__ = ["SliceSender"]


@contextmanager
def _naming_slice(redelivered: str | None) -> Generator[None]:
    """Set ``redelivered_slice`` to ``redelivered`` in each ZerobusIngestError that the ``with`` block raises.

    ``redelivered`` is the id of the slice that is being sent again, or None for a first delivery. If a redelivery
    fails, some rows of the slice can be in the table twice, although no receipt reports them.
    """
    try:
        yield
    except ZerobusIngestError as error:
        error.redelivered_slice = redelivered
        raise


@dataclass(frozen=True, slots=True)
class SliceSender:
    """Delivers rows to the handoff's table. Writes checkpoints and side files, but never the state. Methods block."""

    workspace: Workspace
    keeper: StateKeeper
    on_progress: Callable[[Progress], None] | None
    stop: threading.Event | None

    def send(self, bounds: Bounds, *, again: str = "", index: int | None = None, delay: float = 0.0) -> Receipt:
        """Send a slice, or only its shard ``index``; skip the rows that are durable according to the checkpoint.

        For a redelivery, which has its own checkpoint, ``again`` is the name of the redelivery. For any other delivery,
        ``again`` is empty. ``delay`` is the number of seconds to wait before the first row is read.
        """
        kept = self.keeper
        part = bounds.id if index is None else part_id(bounds, index)
        options = kept.source.options(replace(bounds, id=part), kept.options)
        options = replace(options, delivery_name=kept.epoch_of(part))
        is_again = bool(again) or bounds.id.startswith(EXPLICIT)
        with _naming_slice(bounds.id if is_again else None), shards.open_part(kept, bounds, index, options) as records:
            if isinstance(records, Source):
                records.start_delay = delay
            return ingest(
                self.workspace,
                kept.table,
                records,
                options=options,
                checkpoint=kept.checkpoint_of(part, again=again),
                on_progress=self.on_progress,
                stop=self.stop,
            )

    def send_open(self, opened: OpenSlice) -> Receipt:
        """Send an open slice: as a whole, or shard by shard if it was split."""
        bounds = bounds_of(opened)
        if parts_of(opened) is None:
            return self.send(bounds)
        return merge_receipts([self.send(bounds, index=index) for index in range(count_of(opened))])

    def send_between(self, start: Any, end: Any) -> Receipt:
        """Send everything after ``start``, up to and including ``end``; see ``Handoff.deliver_between``."""
        context, source = self.keeper.context(), self.keeper.source
        first, last = source.parsed(start), source.parsed(end)
        plan = source.between(first, last, context)
        slice_id = f"{EXPLICIT}{short_hash(json.dumps([first, last]))}"
        if plan.files is not None and context.side_files is not None:
            context.side_files.write(f"{slice_id}.files.json", plan.files)
        receipt = self.send(Bounds(id=slice_id, start=first, end=last, facts=plan.facts))
        self.keeper.store.forget(slice_id)
        if plan.files is not None and context.side_files is not None:
            context.side_files.delete(f"{slice_id}.files.json")
        facts = {
            "name": self.keeper.name,
            "slice": slice_id,
            "from": source.shown(first),
            "to": source.shown(last),
            **public(plan.facts),
            "remaining": False,
        }
        return replace(receipt, rows_redelivered=receipt.rows_read, handoff=facts)

    def send_nothing(self, why: str) -> Receipt:
        """Return a receipt without rows; ``why`` is its note, which says why there are no rows."""
        kept = self.keeper
        return ingest(self.workspace, kept.table, NothingToSend(why), options=kept.options, stop=self.stop)
