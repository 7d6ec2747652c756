"""Finishes a slice: advances the state once all rows of the slice are durable."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..errors import HandoffStateError, SliceForgottenError
from ..process.signals import is_of_signal
from .keeper import COUNTS
from .owner import deactivate
from .parts import part_ids
from .source import bounds_of
from .state import short_hash
from .store import StateConflict
from .views import facts_of

if TYPE_CHECKING:
    from ..receipt import Receipt
    from .keeper import StateKeeper
    from .state import OpenSlice, PastSlice, Position, State

__all__ = ["finish_slice", "note_redelivery"]

_log = logging.getLogger("zerobus_core")


def finish_slice(keeper: StateKeeper, opened: OpenSlice, receipt: Receipt) -> PastSlice:
    """Advance the state to the end of a slice whose rows are durable; return the slice's entry in the history.

    Also removes files that are no longer needed, and calls the source's ``after_finish``. Raises SliceForgottenError if
    the slice was abandoned or is no longer in the state.
    """
    counts = {name: int(getattr(receipt, name)) for name in COUNTS}
    written: list[Position] = []

    def finished(state: State) -> State:
        done = None
        if state.open is not None and state.open.id == opened.id:
            # Take the slice as it is in the state now: a person may have released a file of it since it was opened.
            done = _settled(keeper, state.open)
            written.append(done)
        return state.finish(opened.id, done=done, counts=counts, owner=keeper.owner, now=keeper.now())

    before, state = keeper.update(finished)
    deactivate(keeper.owner.attempt)
    keeper.clean(before, state, mine=written)
    _after_finish(keeper, state)
    past = next((past for past in state.history if past.id == opened.id), None)
    if past is None:
        raise SliceForgottenError(f"slice {opened.id} was dropped from the history while it was being delivered")
    return past


def note_redelivery(keeper: StateKeeper, past: PastSlice, chain: str, rows: int) -> dict[str, Any]:
    """Update the state to record that a finished slice was sent again; return facts for the receipt.

    ``chain`` is the chain of attempts (see Owner) that sent the slice again. Also removes the checkpoints of this
    redelivery.
    """
    keeper.update(lambda state: state.redelivered(past.id, chain=chain, rows=rows, now=keeper.now()))
    for part in {past.id, *part_ids(past)}:
        keeper.forget_checkpoint(f"{part}.again-{short_hash(chain)}")
    return {**facts_of(keeper.name, keeper.source, past), "redelivered": True}


def _settled(keeper: StateKeeper, opened: OpenSlice) -> Position:
    try:
        return keeper.source.settled(bounds_of(opened), keeper.context())
    except HandoffStateError:
        _, state = keeper.load()
        if state.has_ended(opened.id):  # another run finished it, and removed files that settled() reads
            raise StateConflict(keeper.store.shown) from None
        raise


def _after_finish(keeper: StateKeeper, state: State) -> None:
    """Call the source's ``after_finish``, and save the position that it returns.

    The position is not saved if another run has opened a slice or changed ``done`` since ``state`` was saved. An error
    is only logged, because the rows are already durable; the next run calls ``after_finish`` again.
    """
    try:
        instead = keeper.source.after_finish(state.done)
        if instead is not None:
            keeper.update(
                lambda now: now.moved(instead, now=keeper.now()) if now.done == state.done and not now.open else now
            )
    except Exception as error:  # from the user's commit, or from any store
        if is_of_signal(error):
            raise
        _log.warning("%s: commit failed, the next run repeats it: %s", keeper.table, error)
