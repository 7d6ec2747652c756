"""Changes that only a person makes: rewind a handoff, skip a slice, end a lease, release a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, SliceForgottenError
from .source import bounds_of

if TYPE_CHECKING:
    from .keeper import StateKeeper
    from .state import OpenSlice, State

__all__ = ["end_lease", "release", "rewind", "skip"]

_WHILE_HELD = (
    "nothing was changed, because the state could not record what that run sends afterwards. Wait; or, if you know "
    "that the run's processes have ended, end the lease first (handoff release --lease, Handoff.end_lease)"
)


def rewind(keeper: StateKeeper, to: Any) -> None:
    """See ``Handoff.rewind``."""
    source, context = keeper.source, keeper.context()

    def rewound(state: State) -> State:
        if state.open is not None:
            keeper.check_holder(state, _WHILE_HELD)
        ids = [past.id for past in state.history]
        if isinstance(to, str) and to in ids:
            at = ids.index(to)
            later = tuple(past for past in state.history[at + 1 :] if past.outcome in {"delivered", "skipped"})
            position = source.position_before(state.history[at], later, state.done, context)
        else:
            position = source.rewind_to(to)
        return state.rewind(position, owner=keeper.owner, now=keeper.now())

    before, state = keeper.update(rewound)
    keeper.clean(before, state)


def skip(keeper: StateKeeper, slice_id: str) -> None:
    """See ``Handoff.skip``."""
    context = keeper.context()

    def skipped(state: State) -> State:
        opened = _check_open(state, slice_id)
        keeper.check_holder(state, _WHILE_HELD)
        done = keeper.source.settled(bounds_of(opened), context)
        counts = keeper.counts_of(opened)
        return state.skip(slice_id, done=done, counts=counts, owner=keeper.owner, now=keeper.now())

    before, state = keeper.update(skipped)
    keeper.clean(before, state)


def end_lease(keeper: StateKeeper, slice_id: str | None) -> None:
    """See ``Handoff.end_lease``."""

    def ended(state: State) -> State:
        opened = state.open if slice_id is None else _check_open(state, slice_id)
        if opened is None:
            raise SliceForgottenError(f"handoff {keeper.name!r}: no slice is open, so there is no lease to end")
        return state.let_go(opened.id, owner=opened.lease.owner, now=keeper.now())

    keeper.update(ended)


def release(keeper: StateKeeper, file: str, *, slice_id: str | None = None) -> None:
    """See ``Handoff.release``."""
    release_file = getattr(keeper.source, "release", None)
    if release_file is None:
        raise ConfigurationError(
            f"a source of {keeper.source.kind} has no files to release; to give up its slice, use skip"
        )
    context = keeper.context()

    def released(state: State) -> State:
        if slice_id is not None:
            _check_open(state, slice_id)
        bounds = None if state.open is None else bounds_of(state.open)
        done, facts = release_file(file, bounds, state.done, context)
        if slice_id is not None and facts is None:
            raise ConfigurationError(
                f"{file!r} is not in slice {slice_id}; the file was already released, or was never in the slice"
            )
        return state.release(what=file, done=done, facts=facts, owner=keeper.owner, now=keeper.now())

    keeper.update(released)


def _check_open(state: State, slice_id: str) -> OpenSlice:
    if state.open is None or state.open.id != slice_id:
        now_open = "none" if state.open is None else state.open.id
        raise SliceForgottenError(f"slice {slice_id} is not open (open now: {now_open})")
    return state.open
