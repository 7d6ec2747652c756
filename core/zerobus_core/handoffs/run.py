"""``hand_over``, which delivers everything that is new in a source."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .handoff import Handoff

if TYPE_CHECKING:
    from ..options import IngestOptions
    from ..receipt import Progress, Receipt
    from ..workspace import Workspace
    from .busy import OnBusy
    from .source import HandoffSource

__all__ = ["hand_over"]


def hand_over(  # noqa: PLR0913 - the one call that users make, with everything by name
    workspace: Workspace,
    table: str,
    source: HandoffSource,
    *,
    state: Any,
    name: str | None = None,
    options: IngestOptions | Mapping[str, Any] | None = None,
    on_busy: OnBusy = "fail",
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Receipt:
    """Deliver everything that is new in ``source`` to ``table``; ``state`` remembers what was delivered.

    ``source`` is NewFiles, NewRows or NewItems. ``state`` is the path or URI of a small file that is kept between runs,
    or a StateStore. ``name`` is the handoff's name. It defaults to the name of the state's file, from which the ending
    ``.json`` or ``.handoff`` is removed. For a store that is not a file, ``name`` is required. A slice that an earlier
    run left unfinished is delivered first. ``on_busy`` says what to do while another run delivers: ``fail`` raises
    HandoffBusyError, ``skip`` returns a receipt without rows, and ``wait`` waits for the other run, but raises
    HandoffBusyError after ``options.timeout`` seconds.

    Blocks until every row is durable and the state has been saved. In the receipt, ``handoff`` contains the handoff's
    name and the slice's bounds, and says whether more rows wait for the next run. If the delivery fails, an error is
    raised (a ZerobusIngestError, unless one of the user's functions raised it), and the next run continues with the
    same slice. ``on_progress`` and ``stop`` work as in ``ingest``.
    """
    handoff = Handoff(
        workspace, table, source, state=state, name=name, options=options, on_progress=on_progress, stop=stop
    )
    return handoff.run(on_busy=on_busy)
