"""The state of a handoff: what was delivered, which slice is open, and who holds it.  Uses no clock and no storage.

The rules:

1. A slice is in the state before its first row is sent, and it keeps its bounds until it is done.  Only ``release``
   makes it smaller, and records what was taken out.
2. A slice begins at ``done``.  So two slices never overlap, and there is nothing between them.
3. At most one slice is open, and one owner holds it.  Another owner takes it over only if the holder's lease has
   expired or its process has ended.
4. ``done`` moves to the end of the open slice when every row of it is durable (``finish``), or when a person gives the
   slice up (``skip``).  It moves back only when a person asks (``rewind``).  Nothing else moves it.
5. Finishing a slice twice changes nothing the second time.
6. No two slices have the same id.
7. A run that delivered a slice never gets a different one later: if its slice is not in the history, it is refused.
8. A slice that was split is delivered by its shards only, whoever delivers it: see ``shards``.

Positions (``done``, ``start``, ``end``) are JSON values that only the kind of source understands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from ..errors import ConfigurationError, SliceForgottenError
from .lease import LEASE_SECONDS, Lease, Owner

__all__ = [
    "MAX_HISTORY",
    "OpenSlice",
    "PastSlice",
    "Position",
    "Redelivery",
    "State",
]

Position: TypeAlias = Any
"""A JSON value; None is "before everything"."""

Outcome: TypeAlias = Literal["delivered", "skipped", "abandoned", "released", "rewound"]

MAX_HISTORY = 20
# Owners of slices that have left the history; 16 characters for each.
MAX_FORMER = 1_000
# Redeliveries that one slice remembers.
MAX_REDELIVERIES = 20
# What ends a slice for good.
_ENDED = {"delivered", "skipped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSlice:
    """The slice that is being delivered."""

    id: str
    start: Position
    end: Position
    facts: Mapping[str, Any]
    opened_at: str
    opened_by: str
    chain: str
    lease: Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Redelivery:
    """A record that a finished slice was sent again because a person asked for it."""

    chain: str
    rows: int
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PastSlice:
    """A slice that is finished, or another event that moved ``done``."""

    id: str
    start: Position
    end: Position
    facts: Mapping[str, Any]
    outcome: Outcome
    opened_by: str
    chain: str
    finished_by: str
    finished_at: str
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    redeliveries: tuple[Redelivery, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether the slice was delivered or skipped."""
        return self.outcome in _ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """See the module's docstring. Methods that change the state return a new one; ``now`` is an aware time."""

    name: str
    table: str
    kind: str
    source: Mapping[str, Any]
    """What identifies the source, without connections, SQL text and secrets."""
    revision: int = 0
    opened: int = 0
    """The number of slices opened so far."""
    done: Position = None
    open: OpenSlice | None = None
    history: tuple[PastSlice, ...] = ()
    former: tuple[str, ...] = ()
    """Short hashes of the runs whose slices were dropped from the history."""
    written_at: str = ""

    def check_use(self, *, name: str, table: str, kind: str, source: Mapping[str, Any]) -> None:
        """Raise ConfigurationError unless the state belongs to this handoff, table and source."""
        for what, mine, given in (("handoff", self.name, name), ("table", self.table, table)):
            if mine != given:
                raise ConfigurationError(
                    f"the state belongs to {what} {mine!r}, not {given!r}; give each handoff its own state"
                )
        if self.kind != kind:
            raise ConfigurationError(f"the state belongs to a source of {self.kind}, but this is a source of {kind}")
        different = sorted(key for key in {*self.source, *source} if self.source.get(key) != source.get(key))
        if different:
            was = {key: self.source.get(key) for key in different}
            now = {key: source.get(key) for key in different}
            raise ConfigurationError(
                f"the state belongs to another source of {kind}: {was}, not {now}; give this source its own state"
            )

    # who may deliver

    def slice_of(self, owner: Owner) -> OpenSlice | PastSlice | None:
        """Return the slice that this run opened, whether open or finished; None if it opened none.

        Raises SliceForgottenError if that slice was dropped from the history.
        """
        if self.open is not None and self.open.opened_by == owner.key:
            return self.open
        for past in reversed(self.history):
            if past.opened_by == owner.key and past.outcome in _ENDED:
                return past
        if short_hash(owner.key) in self.former:
            raise SliceForgottenError(
                f"handoff {self.name!r}: the slice of {owner.key} is older than the last {MAX_HISTORY} slices, so "
                "its bounds are no longer known; to send old rows again, use --from and --to (zerobus-ingest "
                "handoff run), which does not change the state"
            )
        return None

    def holder_in_the_way(
        self, owner: Owner, *, now: datetime, renewed_at: datetime | None, is_alive: bool | None
    ) -> Lease | None:
        """Return the lease that keeps ``owner`` from the open slice; None if ``owner`` may take it.

        ``renewed_at`` is when a checkpoint of the slice was last saved. ``is_alive`` says whether the holder's process
        is still running; None if that is unknown.
        """
        assert self.open is not None
        lease = self.open.lease
        if lease.owner.key == owner.key or is_alive is False:
            return None
        return lease if now < lease.ends_at(renewed_at) else None

    def has_ended(self, slice_id: str) -> bool:
        """Return whether the slice is in the history as delivered or skipped."""
        return any(past.id == slice_id and past.outcome in _ENDED for past in self.history)

    # what follows

    def freeze(self, slice_id: str, end: Position, facts: Mapping[str, Any], *, owner: Owner, now: datetime) -> State:
        """Open a slice from ``done`` to ``end``."""
        self._expect(self.open is None, "freeze a slice while another one is open")
        lease = Lease(owner=owner, taken_at=now.isoformat())
        opened = OpenSlice(
            id=slice_id,
            start=self.done,
            end=end,
            facts=dict(facts),
            opened_at=now.isoformat(),
            opened_by=owner.key,
            chain=owner.chain,
            lease=lease,
        )
        return self._next(now, open=opened, opened=self.opened + 1)

    def take_up(self, slice_id: str, *, owner: Owner, now: datetime) -> State:
        """Give the open slice to ``owner``."""
        opened = self._open_one(slice_id)
        return self._next(now, open=replace(opened, lease=Lease(owner=owner, taken_at=now.isoformat())))

    def share(self, slice_id: str, facts: Mapping[str, Any], *, owner: Owner, now: datetime) -> State:
        """Let shards deliver the slice that ``owner`` holds; ``facts`` describe the split."""
        opened = self._open_one(slice_id)
        lease = Lease(owner=replace(owner, host="", process_start=""), taken_at=now.isoformat())
        return self._next(now, open=replace(opened, facts={**opened.facts, **facts}, lease=lease))

    def let_go(self, slice_id: str, *, owner: Owner, now: datetime) -> State:
        """End the lease of ``owner``, which stops before the slice is finished, so that no run has to wait for it."""
        if self.open is None or self.open.id != slice_id or self.open.lease.owner != owner:
            return self
        ended = now - timedelta(seconds=2 * LEASE_SECONDS)
        lease = Lease(owner=replace(owner, pid=0), taken_at=ended.isoformat())
        return self._next(now, open=replace(self.open, lease=lease))

    def finish(
        self,
        slice_id: str,
        *,
        done: Position,
        counts: Mapping[str, int],
        owner: Owner,
        now: datetime,
        facts: Mapping[str, Any] | None = None,
    ) -> State:
        """Advance ``done`` and move the slice to the history: all of its rows are durable.

        ``done`` is the end of the slice, in the form in which the next slice begins.
        """
        if self.has_ended(slice_id):
            return self  # another run that had taken it up was faster
        opened = self._open_one(slice_id)
        past = _past(opened, "delivered", owner=owner, now=now, counts=counts)
        return self._settle(replace(past, facts={**past.facts, **(facts or {})}), now, done=done)

    def skip(self, slice_id: str, *, done: Position, counts: Mapping[str, int], owner: Owner, now: datetime) -> State:
        """Give up the open slice, because a person decided that its missing rows are not delivered."""
        opened = self._open_one(slice_id)
        return self._settle(_past(opened, "skipped", owner=owner, now=now, counts=counts), now, done=done)

    def release(
        self,
        *,
        what: str,
        done: Position,
        facts: Mapping[str, Any] | None,
        owner: Owner,
        now: datetime,
    ) -> State:
        """Take ``what`` out of the open slice and update its ``facts``; ``done`` must exclude it too.

        ``facts`` is None if no slice is open, or if it does not contain ``what``.
        """
        opened = self.open
        position = opened.start if opened is not None else self.done
        note = PastSlice(
            id=f"{self.opened:06d}-release-{self.revision}",
            start=position,
            end=position,
            facts={"released": what},
            outcome="released",
            opened_by="",
            chain="",
            finished_by=owner.key,
            finished_at=now.isoformat(),
        )
        if opened is not None and facts is not None:
            opened = replace(opened, facts={**opened.facts, **facts})
        if opened is not None:
            opened = replace(opened, start=done)
        return self._settle(note, now, done=done, open=opened)

    def rewind(self, to: Position, *, owner: Owner, now: datetime) -> State:
        """Make everything after ``to`` new again; an open slice is given up."""
        history, former = self.history, self.former
        if self.open is not None:
            abandoned = _past(self.open, "abandoned", owner=owner, now=now, counts={})
            history, former = _remember(history, former, abandoned)
        note = PastSlice(
            id=f"{self.opened:06d}-rewind-{self.revision}",
            start=self.done,
            end=to,
            facts={},
            outcome="rewound",
            opened_by="",
            chain="",
            finished_by=owner.key,
            finished_at=now.isoformat(),
        )
        history, former = _remember(history, former, note)
        return self._next(now, open=None, done=to, history=history, former=former)

    def redelivered(self, slice_id: str, *, chain: str, rows: int, now: datetime) -> State:
        """Record that a finished slice was sent again for ``chain``; ``done`` does not change."""
        redelivery = Redelivery(chain=chain, rows=rows, at=now.isoformat())
        history = tuple(
            replace(past, redeliveries=(*past.redeliveries, redelivery)[-MAX_REDELIVERIES:])
            if past.id == slice_id and chain not in {known.chain for known in past.redeliveries}
            else past
            for past in self.history
        )
        return self if history == self.history else self._next(now, history=history)

    def moved(self, done: Position, *, now: datetime) -> State:
        """Store the same position in another form; what was delivered stays the same."""
        return self._next(now, done=done)

    def _settle(self, past: PastSlice, now: datetime, *, done: Position, open: OpenSlice | None = None) -> State:
        history, former = _remember(self.history, self.former, past)
        return self._next(now, open=open, done=done, history=history, former=former)

    def _next(self, now: datetime, **changes: Any) -> State:
        return replace(self, revision=self.revision + 1, written_at=now.isoformat(), **changes)

    def _open_one(self, slice_id: str) -> OpenSlice:
        if self.open is None or self.open.id != slice_id:
            opened = "none" if self.open is None else self.open.id
            raise SliceForgottenError(
                f"handoff {self.name!r}: slice {slice_id} is no longer the open slice (that is {opened}): it was "
                "skipped, or the state was rewound"
            )
        return self.open

    def _expect(self, is_so: bool, event: str) -> None:
        if not is_so:
            raise AssertionError(f"cannot {event}: {self!r}")


def short_hash(text: str) -> str:
    """Return eight bytes of a hash as 16 hexadecimal digits."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _past(opened: OpenSlice, outcome: Outcome, *, owner: Owner, now: datetime, counts: Mapping[str, int]) -> PastSlice:
    return PastSlice(
        id=opened.id,
        start=opened.start,
        end=opened.end,
        facts=opened.facts,
        outcome=outcome,
        opened_by=opened.opened_by,
        chain=opened.chain,
        finished_by=owner.key,
        finished_at=now.isoformat(),
        counts=dict(counts),
    )


def _remember(
    history: tuple[PastSlice, ...], former: tuple[str, ...], past: PastSlice
) -> tuple[tuple[PastSlice, ...], tuple[str, ...]]:
    longer = (*history, past)
    gone = [one for one in longer[:-MAX_HISTORY] if one.opened_by and one.outcome in _ENDED]
    return longer[-MAX_HISTORY:], (*former, *(short_hash(one.opened_by) for one in gone))[-MAX_FORMER:]
