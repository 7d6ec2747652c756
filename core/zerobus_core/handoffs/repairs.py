"""What only a person may do to a handoff: go back, give a slice up, leave a file out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, SliceForgottenError
from .source import bounds_of

if TYPE_CHECKING:
    from .keeper import StateKeeper
    from .state import State

__all__ = ["release", "rewind", "skip"]


def rewind(keeper: StateKeeper, to: Any) -> None:
    """See ``Handoff.rewind``."""
    source, context = keeper.source, keeper.context()

    def rewound(state: State) -> State:
        ids = [past.id for past in state.history]
        if isinstance(to, str) and to in ids:
            at = ids.index(to)
            later = tuple(past for past in state.history[at + 1 :] if past.outcome in {"delivered", "skipped"})
            position = source.position_before(state.history[at], later, state.done, context)
        else:
            position = source.rewind_to(to)
        return state.rewind(position, owner=keeper.owner, now=keeper.now())

    before, state = keeper.update(rewound)
    keeper.clean(before, state, mine=None)


def skip(keeper: StateKeeper, slice_id: str) -> None:
    """See ``Handoff.skip``."""
    context = keeper.context()

    def skipped(state: State) -> State:
        opened = state.open
        if opened is None or opened.id != slice_id:
            now_open = "none" if opened is None else opened.id
            raise SliceForgottenError(f"slice {slice_id} is not open; the open slice is {now_open}")
        done = keeper.source.settled(bounds_of(opened), context)
        counts = keeper.counts_of(slice_id)
        return state.skip(slice_id, done=done, counts=counts, owner=keeper.owner, now=keeper.now())

    before, state = keeper.update(skipped)
    keeper.clean(before, state, mine=None)


def release(keeper: StateKeeper, file: str) -> None:
    """See ``Handoff.release``."""
    release_file = getattr(keeper.source, "release", None)
    if release_file is None:
        raise ConfigurationError(f"a source of {keeper.source.kind} has no files to release; see skip")
    context = keeper.context()

    def released(state: State) -> State:
        bounds = None if state.open is None else bounds_of(state.open)
        done, facts = release_file(file, bounds, state.done, context)
        return state.release(what=file, done=done, facts=facts, owner=keeper.owner, now=keeper.now())

    keeper.update(released)
