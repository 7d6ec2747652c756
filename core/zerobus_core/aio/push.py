"""``aingest``, which delivers a whole source, sync or async, without blocking the event loop."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..delivery.arguments import stop_argument
from ..push import ingest
from .bridge import LoopBridge, run_in_thread

if TYPE_CHECKING:
    from ..checkpoint import CheckpointStore
    from ..options import IngestOptions
    from ..receipt import Progress, Receipt
    from ..workspace import Workspace

__all__ = ["aingest"]


async def aingest(  # noqa: PLR0913 - as ingest, with everything by name
    workspace: Workspace,
    table: str,
    records: Any,
    *,
    options: IngestOptions | Mapping[str, Any] | None = None,
    checkpoint: CheckpointStore | str | os.PathLike[str] | None = None,
    on_progress: Callable[[Progress], Any] | None = None,
    stop: threading.Event | None = None,
) -> Receipt:
    """Deliver all of ``records`` to ``table`` without blocking the event loop; return once every row is durable.

    ``records`` is an async iterable, or anything that ``ingest`` takes. The event loop reads an async iterable ahead of
    the delivery, but only by a bounded number of rows, and closes the iterable at the end. A synchronous iterable is
    read in the delivery's thread. ``on_progress`` and the methods of ``checkpoint`` are called on the loop's thread,
    and can be async functions. A checkpoint file is written in the delivery's thread.

    Cancelling the call stops the delivery within a second: no more rows are sent, the rows acknowledged so far are in
    the checkpoint, and CancelledError is raised. Raises the same errors as ``ingest``.
    """

    stop = None if stop is None else stop_argument(stop)

    def push(bridge: LoopBridge) -> Receipt:
        return ingest(
            workspace,
            table,
            bridge.records(records),
            options=options,
            checkpoint=bridge.store(checkpoint),
            on_progress=None if on_progress is None else bridge.on_loop(on_progress),
            stop=bridge.stop,
        )

    return await run_in_thread(push, stop=stop, daemon=not isinstance(records, AsyncIterable))
