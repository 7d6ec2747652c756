"""The state of a handoff: what was delivered, which slice is open, and who holds it.  Uses no clock and no storage.

The rules are below.  They do not apply to explicit slices, which ``Handoff.deliver_between`` sends; explicit slices are
not in the state.

1. A slice is in the state before its first row is sent, and it keeps its bounds until it is done.  Only ``release``
   makes it smaller, and records which file was removed.
2. Each new slice begins at ``done``.  So, unless a person rewinds, two slices never overlap, and nothing lies between
   the end of a slice and the start of the next one.
3. At most one slice is open, and one owner holds it.  Another run takes the slice over only if the holder's lease has
   expired or was ended, or if the holder's attempt has ended.
4. ``done`` moves to the end of the open slice when every row of it is durable (``finish``), or when a person gives the
   slice up (``skip``).  It moves back only when a person asks for that (``rewind``).  Nothing else moves it:
   ``release`` only adds an excluded file to it, and ``moved`` only replaces it with another form of the same position.
5. Finishing a slice twice changes nothing the second time.
6. No two slices have the same id.
7. After the slice that a run opened has been delivered or skipped, the run never gets a different slice.  If its slice
   is no longer in the history, the run gets an error.  (The state remembers the last 1,000 runs whose slices were
   dropped from the history.)
8. If a slice was split, every run delivers it in the same shards: see the module ``shards``.

Positions (``done``, ``start``, ``end``) are JSON values that only the source can interpret.
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
"""A JSON value that only the source can interpret; None is the position before everything."""

Outcome: TypeAlias = Literal["delivered", "skipped", "abandoned", "released", "rewound"]

MAX_HISTORY = 20
# How many owners of slices that were dropped from the history are stored, as 16 characters each.
MAX_FORMER = 1_000
# How many redeliveries of one slice are stored.
MAX_REDELIVERIES = 20
# The outcomes of a slice that is finished.
_ENDED = {"delivered", "skipped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSlice:
    """The slice that is frozen and not yet finished."""

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
    """One repeated delivery of a finished slice. A person asked for this delivery."""

    chain: str
    rows: int
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PastSlice:
    """An entry of the history: a slice that has ended, or another event, such as a rewind or a release."""

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
    """The state of a handoff; the module's docstring has the rules.

    The object is immutable: methods that change the state return the next State, or this one if nothing changes.
    ``now`` is a datetime with a time zone.
    """

    name: str
    table: str
    kind: str
    source: Mapping[str, Any]
    """The identity of the source. Contains no connections, no SQL text and no secrets."""
    revision: int = 0
    opened: int = 0
    """The number of slices opened so far."""
    done: Position = None
    open: OpenSlice | None = None
    history: tuple[PastSlice, ...] = ()
    former: tuple[str, ...] = ()
    """Short hashes of the keys of the last 1,000 runs whose finished slices were dropped from the history."""
    written_at: str = ""

    def check_use(self, *, name: str, table: str, kind: str, source: Mapping[str, Any]) -> None:
        """Raise ConfigurationError if the state does not belong to the given handoff, table and source."""
        for what, mine, given in (("handoff", self.name, name), ("table", self.table, table)):
            if mine != given:
                raise ConfigurationError(
                    f"the state belongs to {what} {mine!r}, not {given!r}; give each handoff its own state"
                )
        if self.kind != kind:
            raise ConfigurationError(
                f"the state belongs to a source of {self.kind}, but this is a source of {kind}; give this source its "
                "own state"
            )
        different = sorted(key for key in {*self.source, *source} if self.source.get(key) != source.get(key))
        if different:
            was = {key: self.source.get(key) for key in different}
            now = {key: source.get(key) for key in different}
            raise ConfigurationError(
                f"the state belongs to another source of {kind}: {was}, not {now}; give this source its own state"
            )

    # who may deliver

    def slice_of(self, owner: Owner) -> OpenSlice | PastSlice | None:
        """Return the open, delivered or skipped slice that the owner's run opened; None if there is no such slice.

        Raises SliceForgottenError if the run's slice was delivered or skipped, and was later dropped from the history.
        """
        if self.open is not None and self.open.opened_by == owner.key:
            return self.open
        for past in reversed(self.history):
            if past.opened_by == owner.key and past.outcome in _ENDED:
                return past
        if short_hash(owner.key) in self.former:
            raise SliceForgottenError(
                f"handoff {self.name!r}: the slice of {owner.key} is older than the last {MAX_HISTORY} slices, so "
                "its bounds are no longer known; to send old rows again without changing the state, use "
                "`zerobus-ingest handoff run` with --from and --to"
            )
        return None

    def holder_in_the_way(
        self, owner: Owner, *, now: datetime, renewed_at: datetime | None, is_alive: bool | None
    ) -> Lease | None:
        """Return the lease that forbids ``owner`` to deliver the open slice; None if ``owner`` may deliver it.

        ``renewed_at`` is the time when a checkpoint of the slice was last saved; None if no checkpoint was saved.
        ``is_alive`` says whether the holder's attempt is still running; None if that is unknown.
        """
        assert self.open is not None
        lease = self.open.lease
        if lease.owner.key == owner.key or is_alive is False:
            return None
        return lease if now < lease.ends_at(renewed_at) else None

    def has_ended(self, slice_id: str) -> bool:
        """Return whether the slice is in the history as delivered or skipped."""
        return any(past.id == slice_id and past.outcome in _ENDED for past in self.history)

    # changes, each of which returns the next State

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
        """Give the lease on the open slice to ``owner``."""
        opened = self._open_one(slice_id)
        return self._next(now, open=replace(opened, lease=Lease(owner=owner, taken_at=now.isoformat())))

    def share(self, slice_id: str, facts: Mapping[str, Any], *, owner: Owner, now: datetime) -> State:
        """Record that ``owner`` delivers the open slice in shards.

        ``facts`` describes the split, and is added to the slice's facts; it is empty if the slice was already split.
        """
        opened = self._open_one(slice_id)
        lease = Lease(owner=replace(owner, host="", process_start=""), taken_at=now.isoformat())
        return self._next(now, open=replace(opened, facts={**opened.facts, **facts}, lease=lease))

    def let_go(self, slice_id: str, *, owner: Owner, now: datetime) -> State:
        """End the lease of ``owner`` on an unfinished slice, so that another run can take over the slice at once.

        Changes nothing if ``owner`` does not hold the slice.
        """
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
        """Advance ``done`` and move the slice to the history, because all of its rows are durable.

        The argument ``done`` is the position after the slice, at which the next slice begins. ``facts`` is added to
        the slice's facts. Changes nothing if the slice is already finished.
        """
        if self.has_ended(slice_id):
            return self  # another run took the slice over and finished it first
        opened = self._open_one(slice_id)
        past = _past(opened, "delivered", owner=owner, now=now, counts=counts)
        return self._settle(replace(past, facts={**past.facts, **(facts or {})}), now, done=done)

    def skip(self, slice_id: str, *, done: Position, counts: Mapping[str, int], owner: Owner, now: datetime) -> State:
        """Give up the open slice, because a person decided not to deliver its missing rows."""
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
        """Record that a person released a file; ``what`` is the name of the file.

        ``done`` replaces the present position, and lists the released version of the file, so that no later slice
        contains this version. If the file is in the open slice, ``facts`` describes the slice without the file, and is
        added to the slice's facts. Otherwise, ``facts`` is None.
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
        """Make everything after ``to`` new again; an open slice is abandoned."""
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
        """Record that a finished slice was sent again by the chain of attempts ``chain``; ``done`` does not change.

        Changes nothing if this redelivery is already recorded, or if the slice is no longer in the history.
        """
        redelivery = Redelivery(chain=chain, rows=rows, at=now.isoformat())
        history = tuple(
            replace(past, redeliveries=(*past.redeliveries, redelivery)[-MAX_REDELIVERIES:])
            if past.id == slice_id and chain not in {known.chain for known in past.redeliveries}
            else past
            for past in self.history
        )
        return self if history == self.history else self._next(now, history=history)

    def moved(self, done: Position, *, now: datetime) -> State:
        """Replace ``done`` with another form of the same position."""
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
                f"handoff {self.name!r}: slice {slice_id} is no longer open (open now: {opened}): it was skipped, or "
                "the state was rewound"
            )
        return self.open

    def _expect(self, is_so: bool, event: str) -> None:
        if not is_so:
            raise AssertionError(f"cannot {event}: {self!r}")


def short_hash(text: str) -> str:
    """Return an 8-byte hash of ``text`` as 16 hexadecimal digits."""
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
