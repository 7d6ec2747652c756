"""Reads, checks and changes the state of one handoff; other runs can write this state at the same time."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ..checkpoint import InvalidCheckpointError
from ..delivery.arguments import options_argument
from ..errors import ConfigurationError, HandoffBusyError, HandoffStateError, ZerobusIngestError
from ..process.signals import is_of_signal
from .document import from_json, to_json
from .owner import is_alive
from .parts import part_ids
from .source import Context, HandoffSource
from .state import OpenSlice, PastSlice, Position, State
from .store import FileStateStore, StateConflict, StateStore, state_store_of

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint, CheckpointStore
    from ..options import IngestOptions
    from .lease import Lease, Owner

__all__ = ["COUNTS", "MOST_CONFLICTS", "StateKeeper"]

_log = logging.getLogger("zerobus_core")

# How many times a run tries to write the state while other runs keep writing it.
MOST_CONFLICTS = 20
# How far the clocks of two machines may be apart.
_MAX_SKEW = timedelta(seconds=300)
COUNTS = ("rows_read", "rows_acked", "rows_skipped", "rows_dead_lettered", "rows_filtered", "rows_resent")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateKeeper:
    """Reads and changes the state of one handoff for one owner.

    The methods pass on errors of the store, unless a method's docstring says that errors are only logged.
    """

    name: str
    table: str
    source: HandoffSource
    store: StateStore
    options: IngestOptions
    owner: Owner
    now: Callable[[], datetime]

    @classmethod
    def of(  # noqa: PLR0913 - what a user says of a handoff
        cls,
        *,
        table: str,
        source: Any,
        state: Any,
        name: str | None,
        options: Any,
        owner: Owner,
        now: Callable[[], datetime],
    ) -> StateKeeper:
        """Check the user's arguments and build the keeper; raise ConfigurationError for an invalid argument."""
        store = state_store_of(state)
        return cls(
            name=_checked_name(name, store),
            table=table,
            source=_checked_source(source),
            store=store,
            options=_checked_options(options),
            owner=owner,
            now=now,
        )

    def load(self) -> tuple[str | None, State]:
        """Return the stored text and the State in it; if nothing is stored, return None and a new State.

        Raises HandoffStateError if the state is damaged, if it is missing although the store has other data of the
        handoff, or if the time at which it was written is more than 300 s ahead of this machine's clock. Raises
        ConfigurationError if the state belongs to another handoff, table or source, or if the source cannot be used
        with the store.
        """
        identity = self.source.identity()
        self.source.prepare(self.context())
        text = self.store.load()
        now = self.now()
        if text is None:
            if self.store.has_traces():
                raise HandoffStateError(
                    f"there is no state of handoff {self.name!r} at {self.store.shown}, although files of its slices "
                    "are there: the state was lost. Nothing was delivered, because without the state everything would "
                    "be sent again. Restore the state from a backup; or remove the files of the slices to start over"
                )
            return None, State(
                name=self.name, table=self.table, kind=self.source.kind, source=identity, written_at=now.isoformat()
            )
        state = from_json(text, self.store.shown)
        state.check_use(name=self.name, table=self.table, kind=self.source.kind, source=identity)
        if datetime.fromisoformat(state.written_at) > now + _MAX_SKEW:
            raise HandoffStateError(
                f"the state at {self.store.shown} was written at {state.written_at}, which is later than this "
                f"machine's clock ({now.isoformat()}); correct the clocks"
            )
        return text, state

    def save(self, state: State, *, replaces: str | None) -> str:
        """Write ``state`` and return its text; raise StateConflict if the stored text differs from ``replaces``."""
        text = to_json(state)
        self.store.save(text, replaces=replaces)
        return text

    def check_room(self, state: State) -> None:
        """Raise ConfigurationError if ``state`` is larger than the store's ``most_bytes``; does not write ``state``.

        A store without the attribute ``most_bytes`` has no limit.
        """
        most = getattr(self.store, "most_bytes", None)
        if most is None or len(text := to_json(state)) <= most:
            return
        raise ConfigurationError(
            f"the state of handoff {self.name!r} would have {len(text):,} bytes, and {self.store.shown} can hold at "
            f"most {most:,}; nothing was frozen or sent. Pass the path or URI of a file as state (state_uri in "
            "Airflow). With a new state, the handoff begins at `initial`: set it to the end of the last delivered slice"
        )

    def update(self, change: Callable[[State], State]) -> tuple[State, State]:
        """Replace the stored state with the result of ``change(state)``; return the old and the new state.

        If another run has written the state since it was read, or if ``change`` raises StateConflict, the state is read
        again and ``change`` is called again. Raises HandoffBusyError after 20 such conflicts.
        """
        for _ in range(MOST_CONFLICTS):
            text, state = self.load()
            with suppress(StateConflict):
                changed = change(state)
                if changed == state:
                    return state, state
                self.save(changed, replaces=text)
                return state, changed
        raise HandoffBusyError(f"handoff {self.name!r}: other runs keep changing the state; try again")

    def clean(self, before: State, state: State, *, mine: Sequence[Position] = ()) -> None:
        """Remove the side files and checkpoints that ``state`` no longer needs.

        ``before`` is the state that ``state`` replaced. The files and checkpoints of slices that are in the history of
        ``before``, but not in the history of ``state``, are removed. The side files of the position ``before.done``,
        and of the positions ``mine``, for which this run has written files, are removed unless ``state.done`` refers
        to them. A ZerobusIngestError is only logged, because unused files only take up space.
        """
        context = self.context()
        try:
            for position in (before.done, *mine):
                self.source.remove_unused(position, state.done, context)
            kept = {past.id for past in state.history}
            for past in before.history:
                if past.id not in kept and past.opened_by:
                    self.source.forget(past, context)
                    for part in part_ids(past):
                        self.store.forget(part)
        except ZerobusIngestError as error:
            _log.warning("%s: files next to the state could not be removed: %s", self.table, error)

    def check_holder(self, state: State, advice: str) -> None:
        """Raise HandoffBusyError if another run holds the open slice; the message ends with ``advice``."""
        holder, ends_at = self.holder(state, self.owner)
        if holder is not None:
            assert state.open is not None
            where = "its shards" if holder.is_of_shards else f"process {holder.owner.pid} on {holder.owner.host}"
            raise HandoffBusyError(
                f"handoff {self.name!r}: slice {state.open.id} is being delivered by {holder.owner.key} "
                f"({where}), which has held the slice since {holder.taken_at}; its lease lasts until {ends_at}, or "
                f"longer if the delivery goes on; {advice}"
            )

    def holder(self, state: State, owner: Owner) -> tuple[Lease | None, str]:
        """Return the lease that forbids ``owner`` to deliver the open slice, and the time when the slice's lease ends.

        The first value is None if ``owner`` may deliver the slice. The time is ISO 8601 text in UTC, and is returned in
        both cases. To find this time, the slice's checkpoints are read, because the lease is extended whenever one of
        them is saved.
        """
        assert state.open is not None
        lease, renewed_at = state.open.lease, self._renewed_at(state.open)
        holder = state.holder_in_the_way(owner, now=self.now(), renewed_at=renewed_at, is_alive=is_alive(lease.owner))
        return holder, lease.ends_at(renewed_at).isoformat(timespec="seconds")

    def _renewed_at(self, opened: OpenSlice) -> datetime | None:
        times = [datetime.fromisoformat(kept.written_at) for kept in self._checkpoints_of(opened)]
        return max(times, default=None)

    def _checkpoints_of(self, one: OpenSlice | PastSlice) -> Iterator[Checkpoint]:
        """Yield the saved checkpoints of a slice: at most one, or at most one for each shard if the slice was split.

        Invalid checkpoints are left out.
        """
        for part in part_ids(one):
            with suppress(InvalidCheckpointError):
                kept = self.checkpoint_of(part).load()
                if kept is not None:
                    yield kept

    def checkpoint_of(self, slice_id: str, *, again: str = "") -> CheckpointStore:
        """Return the checkpoint store of the slice or shard that is called ``slice_id``.

        For a redelivery, which has its own checkpoint store, ``again`` is the name of the redelivery. For any other
        delivery, ``again`` is empty.
        """
        kept = f"{slice_id}.again-{again}" if again else slice_id
        return self.store.checkpoint(kept, self.epoch_of(slice_id))

    def is_begun(self, opened: OpenSlice) -> bool:
        """Return whether rows of the slice may have been sent before it was split.

        Rows may have been sent if the slice as a whole has a checkpoint, even an invalid one.
        """
        try:
            return self.checkpoint_of(opened.id).load() is not None
        except InvalidCheckpointError:
            return True

    def forget_checkpoint(self, kept: str) -> None:
        """Remove a checkpoint that no delivery will resume from; a failure is only logged."""
        try:
            self.store.forget(kept)
        except ZerobusIngestError as error:
            _log.warning("%s: the checkpoint %s could not be removed: %s", self.table, kept, error)

    def epoch_of(self, slice_id: str) -> str:
        """Return the text that a slice or shard uses as its ``delivery_name`` and as the epoch of its checkpoints."""
        return json.dumps([self.name, slice_id])

    def counts_of(self, opened: OpenSlice) -> dict[str, int]:
        """Return the sums of the row counts in an unfinished slice's checkpoints; empty if it has no checkpoints."""
        every = list(self._checkpoints_of(opened))
        return {name: sum(int(getattr(kept.counts, name)) for kept in every) for name in COUNTS} if every else {}

    def let_go(self, opened: OpenSlice) -> None:
        """End this run's lease on an unfinished slice, so that another run can take over the slice at once.

        A failure is only logged: the other run then has to wait until the lease expires.
        """
        try:
            self.update(lambda state: state.let_go(opened.id, owner=self.owner, now=self.now()))
        except Exception as error:  # any store; the error that ended the delivery is the one to raise
            if is_of_signal(error):
                raise
            _log.warning("%s: the lease on slice %s was not ended: %s", self.table, opened.id, error)

    def context(self) -> Context:
        """Return the Context to pass to the source's methods."""
        return Context(
            options=self.options,
            side_files=self.store.side_files,
            now=self.now(),
            shown=self.store.shown,
            uri=getattr(self.store, "uri", None),
        )


def _checked_source(source: Any) -> HandoffSource:
    if isinstance(source, HandoffSource):
        return source
    raise ConfigurationError(
        f"source is of type {type(source).__name__}; pass NewFiles, NewRows or NewItems, which can find what is new"
    )


def _checked_options(options: Any) -> IngestOptions:
    checked = options_argument(options)
    if checked.delivery_name is not None or checked.source_version is not None:
        raise ConfigurationError("a handoff sets delivery_name and source_version itself: leave both options out")
    return checked


def _checked_name(name: Any, store: StateStore) -> str:
    if name is None and isinstance(store, FileStateStore):
        stem = PurePosixPath(store.shown.partition("?")[0]).name
        for ending in (".json", ".handoff"):
            stem = stem.removesuffix(ending)
        name = stem
    if not isinstance(name, str) or not name or len(name) > 500 or not name.isprintable():  # noqa: PLR2004
        raise ConfigurationError(
            f"name must be text of 1 to 500 printable characters (the handoff's name), not {name!r}"
        )
    return name
