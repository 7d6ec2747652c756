"""``Handoff``, which delivers everything that is new in a source to a table, slice by slice."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..delivery.arguments import hook_argument, stop_argument, table_argument, workspace_argument
from ..errors import ConfigurationError, HandoffBusyError, ZerobusIngestError, naming_table
from ..merging import merge_receipts
from ..process.signals import is_of_signal
from ..ranges import END
from ..sources.shards.form import start_delay
from . import repairs, shards
from .busy import freeze_when_free
from .finishing import finish_slice, note_redelivery
from .freezing import look, open_slice
from .keeper import MOST_CONFLICTS, StateKeeper
from .lease import Owner
from .owner import activate, deactivate, process_owner, with_process
from .sending import SliceSender
from .source import Bounds, bounds_of
from .state import OpenSlice, PastSlice, short_hash
from .store import StateConflict
from .summary import combined
from .views import facts_of, no_facts, nothing_new, shown_state

if TYPE_CHECKING:
    from ..options import IngestOptions
    from ..receipt import Progress, Receipt
    from ..workspace import Workspace
    from .source import HandoffSource

__all__ = ["Handoff"]

_log = logging.getLogger("zerobus_core")


class Handoff:
    """Delivers everything that is new in ``source`` to ``table``; ``state`` remembers what was delivered.

    ``state`` is the path or URI of a file, or a StateStore. ``name`` is the handoff's name. It defaults to the name of
    the state's file, from which the ending ``.json`` or ``.handoff`` is removed. For a store that is not a file,
    ``name`` is required. ``owner`` identifies the run that delivers; its ``key`` must be the same in every attempt of a
    run. By default, each Handoff object is treated as a separate run, so build a new object for each run.

    ``run`` does everything. To do it step by step, call ``freeze``, ``deliver`` and ``finish``. To deliver a slice in
    several processes, call ``split`` in one process, ``deliver_shard`` in many, and ``finish_shards`` in one. All
    methods block. Call all methods of one object from the same thread.
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
        workspace = workspace_argument(workspace)
        self._kept = StateKeeper.of(
            table=table_argument(table),
            source=source,
            state=state,
            name=name,
            options=options,
            owner=process_owner() if owner is None else with_process(owner),
            now=clock,
        )
        self._stop = None if stop is None else stop_argument(stop)
        self._sender = SliceSender(workspace, self._kept, hook_argument("on_progress", on_progress), self._stop)
        self._slice: OpenSlice | None = None
        self._past: PastSlice | None = None
        self._receipt: Receipt | None = None
        self._notes: dict[str, Any] = {}

    def __repr__(self) -> str:
        kept = self._kept
        return f"Handoff({self.name!r}, {kept.source.kind} -> {kept.table}, state at {kept.store.shown})"

    @property
    def name(self) -> str:
        """The name of the handoff."""
        return self._kept.name

    @property
    def is_own(self) -> bool:
        """Whether this run opened its slice itself; False if it took over another run's slice or has no slice."""
        return self._past is not None or (self._slice is not None and self._slice.opened_by == self._kept.owner.key)

    def freeze(self) -> Bounds | None:
        """Return the slice that this run must deliver; None if nothing is new.

        This is the slice that this run opened before, even if that slice is already finished; otherwise the open slice
        of another run, which this run takes over; otherwise a new slice. It is saved in the state before this method
        returns. Raises HandoffBusyError if another run still holds the open slice, and SliceForgottenError if this
        run's own slice was delivered or skipped so long ago that the state no longer contains it.
        """
        with naming_table(self._kept.table):
            for _ in range(MOST_CONFLICTS):
                with suppress(StateConflict):
                    return self._freeze()
            raise HandoffBusyError(
                f"handoff {self.name!r}: other runs keep changing the state at {self._kept.store.shown}; try again"
            )

    def _freeze(self) -> Bounds | None:
        text, state = self._kept.load()
        self._forget_work()
        own = state.slice_of(self._kept.owner)
        if isinstance(own, PastSlice):
            self._past = own
            return bounds_of(own)
        if state.open is not None:
            self._kept.check_holder(state, 'try again later, or set on_busy to "skip" or "wait"')
            taken = state.take_up(state.open.id, owner=self._kept.owner, now=self._kept.now())
            self._kept.save(taken, replaces=text)
            self._slice = taken.open
        else:
            opened = open_slice(self._kept, text, state)
            self._slice, self._notes = opened.slice, opened.notes
            if self._slice is None:
                return None
        activate(self._kept.owner.attempt)
        assert self._slice is not None
        return bounds_of(self._slice)

    def deliver(self) -> Receipt:
        """Send the rows of the slice that ``freeze`` returned, and return when all of them are durable.

        Nothing is sent if ``freeze`` returned None, or if the slice was already delivered or skipped. But if a person
        asks for the run again, by clearing its task, all rows of the run's delivered slice are sent again.
        """
        with naming_table(self._kept.table):
            if self._past is not None:
                self._receipt = self._redeliver(self._past)
            elif self._slice is not None:
                self._receipt = self._deliver_open(self._slice)
            else:
                _, state = self._kept.load()
                self._receipt = self._sender.send_nothing(nothing_new(self._kept.source, state.done, self._notes))
            return self._receipt

    def _deliver_open(self, opened: OpenSlice) -> Receipt:
        try:
            return self._sender.send_open(opened)
        except BaseException as error:
            deactivate(self._kept.owner.attempt)
            if isinstance(error, Exception) and not is_of_signal(error):
                self._kept.let_go(opened)
            raise

    def _redeliver(self, past: PastSlice) -> Receipt:
        if self._is_delivered(past):
            receipt = self._sender.send_nothing(
                f"slice {past.id} was {past.outcome} by {past.finished_by}, and nothing is left to send"
            )
            # Perhaps an earlier attempt of this run finished the slice, but ended before it could return its receipt.
            is_unsaid = past.finished_by == self._kept.owner.key
            return replace(receipt, rows_resent=past.counts.get("rows_resent", 0)) if is_unsaid else receipt
        chain = self._kept.owner.chain
        _, state = self._kept.load()
        self._kept.check_room(state.redelivered(past.id, chain=chain, rows=END, now=self._kept.now()))
        _log.warning("%s: slice %s was delivered before, and is sent again on request", self._kept.table, past.id)
        receipt = self._sender.send(bounds_of(past), again=short_hash(chain))
        return replace(receipt, rows_redelivered=receipt.rows_read)

    def _is_delivered(self, past: PastSlice) -> bool:
        """Return True if a finished slice does not have to be sent again.

        It does not have to be sent again if a person skipped it, or if this chain of attempts opened it or has already
        sent it again. A chain consists of a run's first attempt and its automatic retries. When a person asks for the
        run again, a new chain begins.
        """
        chains = {past.chain, *(again.chain for again in past.redeliveries)}
        return past.outcome == "skipped" or self._kept.owner.chain in chains

    def finish(self) -> Receipt:
        """Advance the state to the end of the delivered slice; return the receipt, with facts about the slice.

        The state does not advance if nothing was new, or if the slice was already finished. Raises ConfigurationError
        if ``deliver`` has not been called.
        """
        with naming_table(self._kept.table):
            receipt = self._receipt
            if receipt is None:
                raise ConfigurationError("nothing was delivered: call deliver() before finish()")
            if self._slice is not None:
                past = finish_slice(self._kept, self._slice, receipt)
                facts = {**facts_of(self.name, self._kept.source, past), **self._notes}
            elif self._past is not None:
                facts = self._finish_again(self._past, receipt)
            else:
                _, state = self._kept.load()
                facts = {**no_facts(self._kept.source, state), **self._notes}
            self._forget_work()
            return replace(receipt, handoff=facts)

    def _finish_again(self, past: PastSlice, receipt: Receipt) -> dict[str, Any]:
        if receipt.rows_redelivered or receipt.rows_read:
            return note_redelivery(self._kept, past, self._kept.owner.chain, receipt.rows_read)
        return {**facts_of(self.name, self._kept.source, past), "delivered_by": past.finished_by}

    def split(self, n: int) -> list[dict[str, Any]]:
        """Freeze a slice, as ``freeze`` does, and divide it into at most ``n`` shards; return the shards.

        The list is empty if nothing is new, or if no row of this run's slice has to be sent. Each shard is a dict of
        JSON-compatible values, a few hundred bytes in size. Pass it to ``deliver_shard`` in any process that builds the
        same handoff. After the split, every run delivers the slice in these shards only (docs/fan_out.md). A slice that
        was already split keeps its shards. If rows of the slice may have been sent before the split, the whole slice
        becomes a single shard. Raises ConfigurationError if the source is NewItems, or if ``n`` is not a whole number
        from 1 to 1,000. Raises HandoffBusyError if another run holds the open slice.
        """
        with naming_table(self._kept.table):
            shards.check_source(self._kept, n)
            self.freeze()
            try:
                if self._past is not None:
                    again = self._kept.owner.chain or "again"
                    is_done = self._is_delivered(self._past)
                    return [] if is_done else shards.describe(self._kept, self._past, again=again)
                if self._slice is None:
                    return []
                return shards.describe(self._kept, shards.share(self._kept, self._slice, n, self._notes))
            finally:
                self._forget_work()

    def deliver_shard(self, shard: Mapping[str, Any]) -> Receipt:
        """Send the rows of one shard that ``split`` returned, and return when all of them are durable.

        Nothing is sent if the slice is already finished, unless ``split`` was called to send a finished slice again.
        Reads the state but never writes it. Each shard has its own checkpoint next to the state; another attempt
        resumes from this checkpoint. Raises HandoffBusyError if another run has taken over the slice, and
        SliceForgottenError if the slice was abandoned or is no longer in the state.
        """
        with naming_table(self._kept.table):
            plain = shards.checked(self._kept, shard)
            one = shards.held_slice(self._kept, plain)
            if isinstance(one, PastSlice) and not plain["again"]:
                receipt = self._sender.send_nothing(
                    f"slice {one.id} was {one.outcome} by {one.finished_by}, and nothing is left to send"
                )
            else:
                delay = start_delay(plain, self._kept.options.streams)
                again = plain["again"] and short_hash(plain["again"])
                receipt = self._sender.send(bounds_of(one), again=again, index=plain["index"], delay=delay)
                if again:
                    receipt = replace(receipt, rows_redelivered=receipt.rows_read)
            return replace(receipt, handoff=shards.shard_facts(plain))

    def finish_shards(self, receipts: Iterable[Receipt | Mapping[str, Any]]) -> Receipt:
        """Check that every shard of the slice is durable, and advance the state; return one receipt for all shards.

        The state does not advance if the slice was already finished. ``receipts`` contains one item for each shard: the
        receipt that ``deliver_shard`` returned, or its ``as_dict()``. Raises ShardsMissingError if a shard has no
        receipt, or if its receipt does not account for all of its rows; the error lists these shards. Raises
        ConfigurationError if an item is not the receipt of one of these shards, or if a shard has two complete
        receipts. Without receipts, the result says that nothing was new, unless this run has an open slice.
        """
        with naming_table(self._kept.table):
            every = list(receipts)
            wanted = shards.wanted_slice(self._kept, every)
            self._forget_work()
            if wanted is None:
                shards.check_none_missing(self._kept)
                self.deliver()
                return self.finish()
            one = shards.delivered_slice(self._kept, wanted["slice"], every)
            receipt = merge_receipts(every)
            if isinstance(one, OpenSlice):
                past = finish_slice(self._kept, one, receipt)
                facts = {**facts_of(self.name, self._kept.source, past), **shards.notes_of(past, self._kept.owner)}
            elif wanted["again"]:
                facts = note_redelivery(self._kept, one, wanted["again"], receipt.rows_read)
            else:
                facts = {**facts_of(self.name, self._kept.source, one), "delivered_by": one.finished_by}
            return replace(receipt, handoff=facts)

    def run(self, *, on_busy: str = "fail") -> Receipt:
        """Deliver the slice that another run left unfinished, if there is one; after that, deliver what is new.

        If this run has already opened a slice, in this or an earlier attempt, only that slice is delivered. ``on_busy``
        says what to do while another run holds the open slice: ``fail`` raises HandoffBusyError, ``skip`` returns a
        receipt without rows, and ``wait`` raises HandoffBusyError after ``options.timeout`` seconds.

        This call can deliver another run's unfinished slice, and then find that another run holds the next slice. In
        this case, ``fail`` and ``skip`` both return the receipt for the delivered slice. If this method returns a
        receipt while another run holds the open slice, ``handoff["busy"]`` in the receipt is the message of the
        HandoffBusyError.
        """
        receipts: list[Receipt] = []
        try:
            return self._run(receipts, on_busy)
        except ZerobusIngestError as error:
            if receipts:  # another run's slice was delivered, and only this error can report it
                error.delivered = combined(receipts, {}).as_dict()
            raise

    def _run(self, receipts: list[Receipt], on_busy: str) -> Receipt:
        while True:
            choice = "skip" if receipts and on_busy == "fail" else on_busy
            holder = freeze_when_free(self.freeze, choice, stop=self._stop, timeout=self._kept.options.timeout)
            if holder is not None:
                busy = {"busy": holder, "remaining": True}
                return combined(receipts, busy) if receipts else self._busy(holder, busy)
            is_last = self.is_own or self._slice is None
            if receipts and self._slice is None:
                return combined(receipts, self._notes)
            self.deliver()
            receipts.append(self.finish())
            if is_last:
                return combined(receipts, {})

    def _busy(self, holder: str, facts: dict[str, Any]) -> Receipt:
        _, state = self._kept.load()
        return replace(self._sender.send_nothing(holder), handoff={**no_facts(self._kept.source, state), **facts})

    def look(self) -> dict[str, Any]:
        """Return a dict that says whether there is something to deliver now; does not change the state.

        ``is_new`` is True if a slice is open (even if another run is delivering it), or if a new slice could be frozen.
        """
        with naming_table(self._kept.table):
            return look(self._kept)

    def show(self, *, values: bool = False) -> dict[str, Any]:
        """Return the state as a dict: what was delivered, the open slice and its owner, and the history.

        All values are JSON-compatible. Positions that hold text (watermarks, tokens, names of last files) are masked
        unless ``values`` is set. Does not change the state.
        """
        _, state = self._kept.load()
        holder, ends_at = (None, None) if state.open is None else self._kept.holder(state, Owner(key=""))
        return shown_state(state, self._kept.source, is_held=holder is not None, lease_ends_at=ends_at, values=values)

    def rewind(self, to: Any = None) -> None:
        """Make everything after the position ``to`` new again, so that the next runs send it once more.

        ``to`` can also be the id of a slice in the history: then that slice and everything after it are new again. With
        None, everything is new again (for NewRows and NewItems: everything after ``initial``). For NewFiles without
        ``names_increase``, ``to`` can only be an id or None. Rows that are already in the table stay there. An open
        slice is abandoned. Raises HandoffBusyError if another run holds the open slice.
        """
        repairs.rewind(self._kept, to)

    def skip(self, slice_id: str) -> None:
        """Give up the open slice and move it to the history; later runs do not send its missing rows.

        Raises SliceForgottenError if ``slice_id`` is not the id of the open slice, and HandoffBusyError if another run
        holds the open slice.
        """
        repairs.skip(self._kept, slice_id)

    def end_lease(self, slice_id: str | None = None) -> None:
        """End the lease of a run that has died, so that the next run takes over the open slice at once.

        Rows that the dead run may have sent are counted in the next run's ``rows_resent``. If the run is still alive,
        it loses the slice as soon as another run takes it over. Raises SliceForgottenError if no slice is open, or if
        ``slice_id`` is not the id of the open slice.
        """
        repairs.end_lease(self._kept, slice_id)

    def release(self, file: str, *, slice_id: str | None = None) -> None:
        """Exclude one version of a file from the open slice and from later ones.

        A file in the open slice is removed from it, and the version that was in it is excluded. Otherwise, the present
        version is excluded. Use this for a damaged file that would make the slice fail forever, and for a delivered
        file that has changed. The state remembers the last 1,000 released versions, unless a rewind removes them.

        With ``slice_id``, only a file in that slice can be released: SliceForgottenError is raised if the slice is no
        longer open, and ConfigurationError if the file is not in the slice. Raises ConfigurationError if the source has
        no files, or if the file is neither in the open slice nor in the storage.
        """
        repairs.release(self._kept, file, slice_id=slice_id)

    def deliver_between(self, start: Any, end: Any) -> Receipt:
        """Deliver everything after ``start``, up to and including ``end``; does not change the state.

        Releases are ignored. If the call is interrupted, another call with the same bounds continues the delivery. If
        durable rows have changed in the source, the delivery starts over. All rows count in ``rows_redelivered``.
        """
        with naming_table(self._kept.table):
            return self._sender.send_between(start, end)

    def _forget_work(self) -> None:
        deactivate(self._kept.owner.attempt)
        self._slice = self._past = self._receipt = None
        self._notes = {}
