"""Freezes the next slice: the source plans it, and the state records it before its first row is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..errors import HandoffStateError
from ..ranges import END
from .keeper import COUNTS
from .store import StateConflict

if TYPE_CHECKING:
    from .keeper import StateKeeper
    from .source import Context, Plan
    from .state import OpenSlice, PastSlice, State
    from .store import SideFiles

__all__ = ["Opened", "look", "open_slice"]


@dataclass(frozen=True, slots=True)
class Opened:
    """The result of ``open_slice``: the new slice (None if nothing is new), and notes for the receipt."""

    slice: OpenSlice | None
    notes: dict[str, Any]


def open_slice(keeper: StateKeeper, text: str | None, state: State) -> Opened:
    """Freeze the next slice; raise StateConflict if another run has written the state since ``text`` was read."""
    text, state = _settle_done(keeper, text, state)
    plan, notes = _planned(keeper, text, state)
    if plan is None:
        return Opened(None, notes)
    slice_id = f"{state.opened + 1:06d}-{uuid4().hex[:8]}"
    context = keeper.context()
    if plan.files is not None:
        text, state = _begun(keeper, text, state)
        _side_files(context).write(f"{slice_id}.files.json", plan.files)
    frozen = state.freeze(slice_id, plan.end, plan.facts, owner=keeper.owner, now=keeper.now())
    _check_room(keeper, frozen)
    try:
        keeper.save(frozen, replaces=text)
    except StateConflict:
        if plan.files is not None:
            _side_files(context).delete(f"{slice_id}.files.json")
        raise
    return Opened(frozen.open, {**notes, "remaining": plan.remaining})


def _check_room(keeper: StateKeeper, frozen: State) -> None:
    """Check that the store can hold the state with the new slice, and the state after the slice is finished.

    ``frozen`` is the state with the new slice. The state after the slice is finished can be larger. Both states are
    checked before the delivery, because a later error would come too late: the rows would already be in the table.
    """
    assert frozen.open is not None
    keeper.check_room(frozen)
    counts: dict[str, int] = dict.fromkeys(COUNTS, END)
    keeper.check_room(
        frozen.finish(frozen.open.id, done=frozen.open.end, counts=counts, owner=keeper.owner, now=keeper.now())
    )


def look(keeper: StateKeeper) -> dict[str, Any]:
    """Return a dict that says whether there is something to deliver now; does not change the state.

    ``is_new`` is True if a slice is open (even if another run is delivering it), or if a new slice could be frozen.
    """
    _, state = keeper.load()
    start, notes = keeper.source.shown(state.done), dict[str, Any]()
    if state.open is not None:
        end, is_new = keeper.source.shown(state.open.end), True
    else:
        plan, notes = keeper.source.plan(state.done, _last_delivered(state), keeper.context())
        end, is_new = (None, False) if plan is None else (keeper.source.shown(plan.end), True)
    return {"name": keeper.name, "revision": state.revision, "is_new": is_new, "from": start, "to": end, **notes}


def _last_delivered(state: State) -> PastSlice | None:
    """Return the last entry of the history if it is a delivered slice; otherwise None, for example after a rewind."""
    if not state.history or state.history[-1].outcome != "delivered":
        return None
    return state.history[-1]


def _settle_done(keeper: StateKeeper, text: str | None, state: State) -> tuple[str | None, State]:
    """Call the source's ``after_finish`` for the last slice, and save the position that it returns.

    This is needed if the run that finished the slice ended before it called ``after_finish``, or if that call failed.
    """
    instead = keeper.source.after_finish(state.done)
    if instead is None:
        return text, state
    moved = state.moved(instead, now=keeper.now())
    return keeper.save(moved, replaces=text), moved


def _planned(keeper: StateKeeper, text: str | None, state: State) -> tuple[Plan | None, dict[str, Any]]:
    try:
        return keeper.source.plan(state.done, _last_delivered(state), keeper.context())
    except HandoffStateError:
        if keeper.store.load() != text:  # another run has changed the state, and removed files that plan() reads
            raise StateConflict(keeper.store.shown) from None
        raise


def _begun(keeper: StateKeeper, text: str | None, state: State) -> tuple[str | None, State]:
    """If no state is stored yet, save the first one; return the stored text and its State.

    The state must be saved before files are stored next to it, because files without a state are treated as a sign
    that the state was lost.
    """
    if text is not None:
        return text, state
    begun = state.moved(state.done, now=keeper.now())
    return keeper.save(begun, replaces=None), begun


def _side_files(context: Context) -> SideFiles:
    assert context.side_files is not None  # NewFiles.prepare has checked this
    return context.side_files
