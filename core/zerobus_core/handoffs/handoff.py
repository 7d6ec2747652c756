"""A handoff: what is new in a source since the last run, delivered to a table, slice by slice."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..checkpoint import InvalidCheckpointError
from ..delivery.arguments import (
    hook_argument,
    options_argument,
    stop_argument,
    table_argument,
    workspace_argument,
)
from ..errors import (
    ConfigurationError,
    HandoffBusyError,
    HandoffStateError,
    SliceForgottenError,
    ZerobusIngestError,
    naming_table,
)
from ..process.signals import is_of_signal
from ..push import ingest
from .document import from_json, to_json
from .owner import activate, deactivate, is_alive, process_owner, with_process
from .source import Bounds, Context, HandoffSource, Plan
from .state import Lease, OpenSlice, Owner, PastSlice, Position, State, short_hash
from .store import EXPLICIT, FileStateStore, SideFiles, StateConflict, StateStore, state_store_of

if TYPE_CHECKING:
    from ..checkpoint import CheckpointStore
    from ..options import IngestOptions
    from ..receipt import Progress, Receipt
    from ..workspace import Workspace

__all__ = ["Handoff"]

_log = logging.getLogger("zerobus_core")

# Runs that write the state at the same moment try again so often.
_MOST_CONFLICTS = 20
# How far the clocks of two machines may be apart.
_MAX_SKEW = timedelta(seconds=300)
_COUNTS = ("rows_read", "rows_acked", "rows_skipped", "rows_dead_lettered", "rows_resent")


class Handoff:
    """Delivers to ``table`` what is new in ``source``, and keeps in ``state`` how far that has come.

    ``state`` is the path or URI of a file, or a StateStore; ``name`` names the handoff, and is the name of the state's
    file if not given.  ``owner`` says who delivers: hosts give one that is the same in every attempt of a run.

    ``run`` does everything.  To do it step by step: ``freeze`` the slice, ``deliver`` it, ``finish`` it.  All methods
    are called from one thread, and block.
    """

    def __init__(  # noqa: PLR0913 - what a delivery needs, everything by name
        self,
        workspace: Workspace,
        table: str,
        source: HandoffSource,
        *,
        state: Any,
        name: str | None = None,
        options: IngestOptions | Mapping[str, Any] | None = None,
        owner: Owner | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._workspace = workspace_argument(workspace)
        self._table = table_argument(table)
        self._source = _checked_source(source)
        self._store = state_store_of(state)
        self._given_name = name
        self._options = _checked_options(options)
        self._owner = process_owner() if owner is None else with_process(owner)
        self._on_progress = hook_argument("on_progress", on_progress)
        self._stop = None if stop is None else stop_argument(stop)
        self._clock = clock
        self._slice: OpenSlice | None = None
        self._past: PastSlice | None = None
        self._receipt: Receipt | None = None
        self._notes: dict[str, Any] = {}
        self.name = _checked_name(name, self._store)

    def __repr__(self) -> str:
        return f"Handoff({self.name!r}, {self._source.kind} -> {self._table}, state at {self._store.shown})"

    # what a run does

    @property
    def is_own(self) -> bool:
        """Whether the slice in hand was opened by this run, and not taken over from another one."""
        if self._past is not None:
            return True
        return self._slice is not None and self._slice.opened_by == self._owner.key

    def freeze(self) -> Bounds | None:
        """Take up the slice that is to be delivered, or open a new one; None if nothing is new.

        The slice is in the state when this returns.  Raises HandoffBusyError if another run holds the open slice.
        """
        with naming_table(self._table):
            for _ in range(_MOST_CONFLICTS):
                with suppress(StateConflict):
                    return self._freeze()
            raise HandoffBusyError(
                f"handoff {self.name!r}: other runs write the state at {self._store.shown} all the time; try again"
            )

    def _freeze(self) -> Bounds | None:
        text, state = self._load()
        self._forget_work()
        own = state.slice_of(self._owner)
        if isinstance(own, PastSlice):
            self._past = own
            return _bounds(own)
        if state.open is not None:
            self._check_holder(state)
            taken = state.take_up(state.open.id, owner=self._owner, now=self._now())
            self._save(taken, replaces=text)
            self._slice = taken.open
        else:
            opened = self._open(text, state)
            if opened is None:
                return None
            self._slice = opened
        activate(self._owner.attempt)
        assert self._slice is not None
        return _bounds(self._slice)

    def _open(self, text: str | None, state: State) -> OpenSlice | None:
        text, state = self._settle_done(text, state)
        context = self._context()
        plan, notes = self._planned(text, state)
        self._notes = notes
        if plan is None:
            return None
        slice_id = f"{state.opened + 1:06d}-{uuid4().hex[:8]}"
        if plan.files is not None:
            text, state = self._begun(text, state)
            _side_files(context).write(f"{slice_id}.files.json", plan.files)
        frozen = state.freeze(slice_id, plan.end, plan.facts, owner=self._owner, now=self._now())
        try:
            self._save(frozen, replaces=text)
        except StateConflict:
            if plan.files is not None:
                _side_files(context).delete(f"{slice_id}.files.json")
            raise
        self._notes = {**notes, "remaining": plan.remaining}
        return frozen.open

    def _planned(self, text: str | None, state: State) -> tuple[Plan | None, dict[str, Any]]:
        try:
            return self._source.plan(state.done, _last_delivered(state), self._context())
        except HandoffStateError:
            if self._store.load() != text:  # another run has moved on, and removed what this state names
                raise StateConflict(self._store.shown) from None
            raise

    def _begun(self, text: str | None, state: State) -> tuple[str | None, State]:
        """Write the first state before anything lies next to it: without a state, that would look like a lost one."""
        if text is not None:
            return text, state
        begun = state.moved(state.done, now=self._now())
        return self._save(begun, replaces=None), begun

    def _settle_done(self, text: str | None, state: State) -> tuple[str | None, State]:
        """Repeat what may not have happened after the last slice was finished."""
        instead = self._source.after_finish(state.done)
        if instead is None:
            return text, state
        moved = state.moved(instead, now=self._now())
        return self._save(moved, replaces=text), moved

    def deliver(self) -> Receipt:
        """Send the rows of the slice that ``freeze`` returned, and return when every one of them is durable.

        Of a slice that this run has delivered before, nothing is sent; only if a person cleared the run, its rows are
        sent again.
        """
        with naming_table(self._table):
            if self._past is not None:
                self._receipt = self._redeliver(self._past)
            elif self._slice is not None:
                self._receipt = self._deliver_open(self._slice)
            else:
                self._receipt = self._send(None)
            return self._receipt

    def _deliver_open(self, opened: OpenSlice) -> Receipt:
        try:
            return self._send(_bounds(opened))
        except Exception as error:
            deactivate(self._owner.attempt)
            if not is_of_signal(error):
                self._let_go(opened)
            raise
        except BaseException:
            deactivate(self._owner.attempt)
            raise

    def _redeliver(self, past: PastSlice) -> Receipt:
        is_known = self._owner.chain in {past.chain, *(again.chain for again in past.redeliveries)}
        if is_known or past.outcome == "skipped":
            _log.info(
                "%s: slice %s was %s by %s, and nothing is left to send", self._table, past.id, past.outcome,
                past.finished_by,
            )  # fmt: skip
            return self._send(None)
        _log.warning("%s: slice %s was delivered before, and is sent again on request", self._table, past.id)
        receipt = self._send(_bounds(past), again=short_hash(self._owner.chain))
        return replace(receipt, rows_redelivered=receipt.rows_read)

    def _send(self, bounds: Bounds | None, *, again: str = "") -> Receipt:
        context = self._context()
        if bounds is None:
            return ingest(self._workspace, self._table, [], options=self._options, stop=self._stop)
        epoch = json.dumps([self.name, bounds.id])
        kept = f"{bounds.id}.again-{again}" if again else bounds.id
        options = replace(self._source.options(bounds, self._options), delivery_name=epoch)
        with self._source.open(bounds, options, context) as records:
            return ingest(
                self._workspace,
                self._table,
                records,
                options=options,
                checkpoint=self._store.checkpoint(kept, epoch),
                on_progress=self._on_progress,
                stop=self._stop,
            )

    def finish(self) -> Receipt:
        """Move the state on to the end of the delivered slice; return the receipt with what was handed over."""
        with naming_table(self._table):
            receipt = self._receipt
            if receipt is None:
                raise ConfigurationError("nothing was delivered: call deliver() before finish()")
            if self._slice is not None:
                past = self._finish_slice(self._slice, receipt)
                facts = self._facts_of(past)
            elif self._past is not None:
                facts = self._finish_again(self._past, receipt)
            else:
                facts = self._no_facts()
            self._forget_work()
            return replace(receipt, handoff=facts)

    def _finish_slice(self, opened: OpenSlice, receipt: Receipt) -> PastSlice:
        done = self._settled(opened)
        counts = {name: int(getattr(receipt, name)) for name in _COUNTS}
        before, state = self._update(
            lambda state: state.finish(opened.id, done=done, counts=counts, owner=self._owner, now=self._now())
        )
        deactivate(self._owner.attempt)
        self._clean(before, state, mine=done)
        self._after_finish(state)
        past = next((past for past in state.history if past.id == opened.id), None)
        if past is None:
            raise SliceForgottenError(f"slice {opened.id} has left the history while it was delivered")
        return past

    def _settled(self, opened: OpenSlice) -> Position:
        try:
            return self._source.settled(_bounds(opened), self._context())
        except HandoffStateError:
            _, state = self._load()
            if state.has_ended(opened.id):  # by another run, which has removed what the slice began with
                return None
            raise

    def _after_finish(self, state: State) -> None:
        """The rows are durable and the state says so: nothing may fail the run any more."""
        try:
            instead = self._source.after_finish(state.done)
            if instead is not None:
                self._update(
                    lambda now: now.moved(instead, now=self._now()) if now.done == state.done and not now.open else now
                )
        except Exception as error:  # of the user's commit, or of any store
            if is_of_signal(error):
                raise
            _log.warning("%s: commit failed, the next run repeats it: %s", self._table, error)

    def _finish_again(self, past: PastSlice, receipt: Receipt) -> dict[str, Any]:
        facts = self._facts_of(past)
        if receipt.rows_redelivered or receipt.rows_read:
            chain, rows = self._owner.chain, receipt.rows_read
            self._update(lambda state: state.redelivered(past.id, chain=chain, rows=rows, now=self._now()))
            return {**facts, "redelivered": True}
        return {**facts, "delivered_by": past.finished_by}

    def run(self, *, on_busy: str = "fail") -> Receipt:
        """Deliver the slice that another run left, if there is one, and then what is new.

        ``on_busy`` says what to do while another run holds the open slice: ``fail`` (HandoffBusyError), ``skip`` (a
        receipt of no rows that says so) or ``wait``.
        """
        from .busy import frozen
        from .summary import combined

        receipts: list[Receipt] = []
        while True:
            holder = frozen(self, on_busy, stop=self._stop, timeout=self._options.timeout)
            if holder is not None:
                return replace(self._send(None), handoff={**self._no_facts(), "busy": holder})
            is_last = self.is_own or (self._slice is None and self._past is None)
            if is_last and receipts and self._slice is None:
                return combined(receipts, self._notes)
            self.deliver()
            receipts.append(self.finish())
            if is_last:
                return combined(receipts, {})

    def look(self) -> dict[str, Any]:
        """Whether there is something to deliver now, as JSON types; freezes and writes nothing."""
        with naming_table(self._table):
            _, state = self._load()
            start, notes = self._source.shown(state.done), dict[str, Any]()
            if state.open is not None:
                end, is_new = self._source.shown(state.open.end), True
            else:
                plan, notes = self._source.plan(state.done, _last_delivered(state), self._context())
                end, is_new = (None, False) if plan is None else (self._source.shown(plan.end), True)
            return {"name": self.name, "revision": state.revision, "is_new": is_new, "from": start, "to": end, **notes}

    # what people do

    def show(self, *, values: bool = False) -> dict[str, Any]:
        """The state as JSON types: what is delivered, what is open and by whom, and the last slices.

        Text in watermarks is masked unless ``values`` is set.  Reads only.
        """
        _, state = self._load()
        opened = state.open
        plain: dict[str, Any] = {
            "name": state.name,
            "table": state.table,
            "kind": state.kind,
            "revision": state.revision,
            "done": self._source.shown(state.done, values=values),
            "written_at": state.written_at,
            "open": None,
            "history": [self._shown_past(past, values=values) for past in state.history],
        }
        if opened is not None:
            plain["open"] = {
                "slice": opened.id,
                "from": self._source.shown(opened.start, values=values),
                "to": self._source.shown(opened.end, values=values),
                "opened_at": opened.opened_at,
                "opened_by": opened.opened_by,
                "held_by": opened.lease.owner.key,
                "is_held": self._holder(state, Owner(key="")) is not None,
                **self._public(opened.facts),
            }
        return plain

    def rewind(self, to: Any = None) -> None:
        """Make everything after ``to`` new again: a position, or the id of a slice in the history, which is included.

        None is the beginning.  The rows are sent once more; Zerobus does not take the old ones out of the table.
        """
        context = self._context()

        def rewound(state: State) -> State:
            ids = [past.id for past in state.history]
            if isinstance(to, str) and to in ids:
                at = ids.index(to)
                later = tuple(p for p in state.history[at + 1 :] if p.outcome in {"delivered", "skipped"})
                position = self._source.position_before(state.history[at], later, state.done, context)
            else:
                position = self._source.rewind_to(to)
            return state.rewind(position, owner=self._owner, now=self._now())

        before, state = self._update(rewound)
        self._clean(before, state, mine=None)

    def skip(self, slice_id: str) -> None:
        """Give up the open slice: its missing rows are not delivered by this handoff.  It stays in the history."""
        context = self._context()

        def skipped(state: State) -> State:
            opened = state.open
            if opened is None or opened.id != slice_id:
                now_open = "none" if opened is None else opened.id
                raise SliceForgottenError(f"slice {slice_id} is not open; the open slice is {now_open}")
            done = self._source.settled(_bounds(opened), context)
            return state.skip(slice_id, done=done, counts=self._counts_of(slice_id), owner=self._owner, now=self._now())

        before, state = self._update(skipped)
        self._clean(before, state, mine=None)

    def release(self, file: str) -> None:
        """Leave out one file, in the version that it has: out of the open slice, and for good.

        For a damaged file that would fail the slice for ever, and for a delivered file that has changed.  A later
        version of the file is new.  Raises ConfigurationError for a source that has no files.
        """
        release = getattr(self._source, "release", None)
        if release is None:
            raise ConfigurationError(f"a source of {self._source.kind} has no files to release; see skip")
        context = self._context()

        def released(state: State) -> State:
            opened = state.open
            done, facts = release(file, None if opened is None else _bounds(opened), state.done, context)
            return state.release(what=file, done=done, facts=facts, owner=self._owner, now=self._now())

        self._update(released)

    def deliver_between(self, start: Any, end: Any) -> Receipt:
        """Deliver what lies after ``start``, up to and including ``end``; the state stays as it is.

        Calling it again takes up where it was interrupted.  All rows count as redelivered.
        """
        with naming_table(self._table):
            context = self._context()
            source = self._source
            first, last = source.parsed(start), source.parsed(end)
            plan = source.between(first, last, context)
            slice_id = f"{EXPLICIT}{short_hash(json.dumps([first, last]))}"
            if plan.files is not None and context.side_files is not None:
                context.side_files.write(f"{slice_id}.files.json", plan.files)
            bounds = Bounds(id=slice_id, start=first, end=last, facts=plan.facts)
            receipt = self._send(bounds)
            self._store.forget(slice_id)
            if plan.files is not None and context.side_files is not None:
                context.side_files.delete(f"{slice_id}.files.json")
            facts = {
                "name": self.name,
                "slice": slice_id,
                "from": source.shown(first),
                "to": source.shown(last),
                **self._public(plan.facts),
                "remaining": False,
            }
            return replace(receipt, rows_redelivered=receipt.rows_read, handoff=facts)

    # the state

    def _load(self) -> tuple[str | None, State]:
        """What the store holds, and the state in it; a new state only if the store holds nothing of a handoff."""
        identity = self._source.identity()
        self._source.prepare(self._context())
        text = self._store.load()
        now = self._now()
        if text is None:
            if self._store.has_traces():
                raise HandoffStateError(
                    f"the state of handoff {self.name!r} is not at {self._store.shown}, but files of its slices are: "
                    "it was lost. Nothing was delivered, because that would send everything again. Restore the state "
                    "from a backup; or, to begin anew on purpose, remove those files"
                )
            return None, State(
                name=self.name, table=self._table, kind=self._source.kind, source=identity, written_at=now.isoformat()
            )
        state = from_json(text, self._store.shown)
        state.check_use(name=self.name, table=self._table, kind=self._source.kind, source=identity)
        if datetime.fromisoformat(state.written_at) > now + _MAX_SKEW:
            raise HandoffStateError(
                f"the state at {self._store.shown} was written at {state.written_at}, which is in the future of this "
                f"machine's clock ({now.isoformat()}); set the clocks right"
            )
        return text, state

    def _save(self, state: State, *, replaces: str | None) -> str:
        text = to_json(state)
        self._store.save(text, replaces=replaces)
        return text

    def _update(self, change: Callable[[State], State]) -> tuple[State, State]:
        """Change the state, whoever else writes it; returns what it was and what it is."""
        for _ in range(_MOST_CONFLICTS):
            text, state = self._load()
            changed = change(state)
            if changed == state:
                return state, state
            with suppress(StateConflict):
                self._save(changed, replaces=text)
                return state, changed
        raise HandoffBusyError(f"handoff {self.name!r}: other runs write the state all the time; try again")

    def _clean(self, before: State, state: State, *, mine: Position) -> None:
        """Remove what nothing refers to any more; what fails here is left over, and costs space only."""
        context = self._context()
        try:
            self._source.remove_unused(before.done, state.done, context)
            self._source.remove_unused(mine, state.done, context)
            kept = {past.id for past in state.history}
            for past in before.history:
                if past.id not in kept and past.opened_by:
                    self._source.forget(past, context)
                    self._store.forget(past.id)
        except ZerobusIngestError as error:
            _log.warning("%s: files next to the state could not be removed: %s", self._table, error)

    def _check_holder(self, state: State) -> None:
        holder = self._holder(state, self._owner)
        if holder is not None:
            assert state.open is not None
            raise HandoffBusyError(
                f"handoff {self.name!r}: slice {state.open.id} is being delivered by {holder.owner.key} "
                f"(process {holder.owner.pid} on {holder.owner.host}) since {holder.taken_at}; try again later, "
                'or say what to do with on_busy="skip" or "wait"'
            )

    def _holder(self, state: State, owner: Owner) -> Lease | None:
        assert state.open is not None
        return state.holder_in_the_way(
            owner,
            now=self._now(),
            renewed_at=self._renewed_at(state.open),
            is_alive=is_alive(state.open.lease.owner),
        )

    def _renewed_at(self, opened: OpenSlice) -> datetime | None:
        checkpoint = self._checkpoint_of(opened.id)
        try:
            kept = checkpoint.load()
        except InvalidCheckpointError:
            return None
        return None if kept is None else datetime.fromisoformat(kept.written_at)

    def _checkpoint_of(self, slice_id: str) -> CheckpointStore:
        return self._store.checkpoint(slice_id, json.dumps([self.name, slice_id]))

    def _counts_of(self, slice_id: str) -> dict[str, int]:
        try:
            kept = self._checkpoint_of(slice_id).load()
        except InvalidCheckpointError:
            kept = None
        return {} if kept is None else {name: int(getattr(kept.counts, name)) for name in _COUNTS}

    def _let_go(self, opened: OpenSlice) -> None:
        """Let another run take the slice up at once.  Whatever fails here only makes that run wait for the lease."""
        try:
            self._update(lambda state: state.let_go(opened.id, owner=self._owner, now=self._now()))
        except Exception as error:  # any store; the error that ended the delivery is the one to raise
            if is_of_signal(error):
                raise
            _log.warning("%s: the lease on slice %s was not ended: %s", self._table, opened.id, error)

    def _forget_work(self) -> None:
        deactivate(self._owner.attempt)
        self._slice = self._past = self._receipt = None
        self._notes = {}

    def _now(self) -> datetime:
        return self._clock()

    def _context(self) -> Context:
        return Context(
            options=self._options,
            side_files=self._store.side_files,
            now=self._now(),
            shown=self._store.shown,
            uri=getattr(self._store, "uri", None),
        )

    # what is told

    def _facts_of(self, past: PastSlice) -> dict[str, Any]:
        return {
            "name": self.name,
            "slice": past.id,
            "from": self._source.shown(past.start),
            "to": self._source.shown(past.end),
            **self._public(past.facts),
            "remaining": False,
            **self._notes,
        }

    def _no_facts(self) -> dict[str, Any]:
        _, state = self._load()
        done = self._source.shown(state.done)
        return {"name": self.name, "slice": None, "from": done, "to": done, "remaining": False, **self._notes}

    def _shown_past(self, past: PastSlice, *, values: bool) -> dict[str, Any]:
        return {
            "slice": past.id,
            "outcome": past.outcome,
            "from": self._source.shown(past.start, values=values),
            "to": self._source.shown(past.end, values=values),
            "opened_by": past.opened_by,
            "finished_by": past.finished_by,
            "finished_at": past.finished_at,
            **past.counts,
            **self._public(past.facts),
            "rows_redelivered": sum(again.rows for again in past.redeliveries),
        }

    @staticmethod
    def _public(facts: Mapping[str, Any]) -> dict[str, Any]:
        """The facts for people; those whose names begin with ``_`` are the source's own."""
        return {name: value for name, value in facts.items() if not name.startswith("_")}


def _side_files(context: Context) -> SideFiles:
    assert context.side_files is not None  # a source of files has looked
    return context.side_files


def _bounds(one: OpenSlice | PastSlice) -> Bounds:
    return Bounds(id=one.id, start=one.start, end=one.end, facts=one.facts)


def _last_delivered(state: State) -> PastSlice | None:
    """The slice before, unless a rewind or the like came after it."""
    if not state.history or state.history[-1].outcome != "delivered":
        return None
    return state.history[-1]


def _checked_source(source: Any) -> HandoffSource:
    if isinstance(source, HandoffSource):
        return source
    raise ConfigurationError(
        f"source is of type {type(source).__name__}; give NewFiles, NewRows or NewItems, which know what is new"
    )


def _checked_options(options: Any) -> IngestOptions:
    checked = options_argument(options)
    if checked.delivery_name is not None or checked.source_version is not None:
        raise ConfigurationError(
            "a handoff names its deliveries itself (delivery_name, source_version): leave both options out"
        )
    return checked


def _checked_name(name: Any, store: StateStore) -> str:
    if name is None and isinstance(store, FileStateStore):
        stem = PurePosixPath(store.shown.partition("?")[0]).name
        for ending in (".json", ".handoff"):
            stem = stem.removesuffix(ending)
        name = stem
    if not isinstance(name, str) or not name or len(name) > 500 or not name.isprintable():  # noqa: PLR2004
        raise ConfigurationError(f"name must name the handoff: text of 1 to 500 printable characters, not {name!r}")
    return name
