"""Shards of a slice: one task splits the slice, several tasks deliver the shards, and a last task finishes the slice.

The rules:

1. ``split`` freezes a new slice, or takes over the open one, and records in the state how the slice was split.  From
   then on, every run delivers the slice in these shards only.  Each shard has its own checkpoint next to the state.  If
   rows of the slice were sent before the split, the whole slice becomes one shard.
2. Delivering a shard reads the state, but never writes it.  A shard belongs to the run that called ``split``.  If
   another run has taken over the slice since then, the delivery raises HandoffBusyError before a row is sent.
3. The lease that ``split`` takes belongs to a run, not to a process.  It ends 3,600 s after the split, or 3,600 s after
   one of the slice's checkpoints was last saved, whichever is later.  Nobody can know whether a shard still waits in a
   queue, so a lease can end while its run is alive.  Then another run can take over the slice, with the same shards and
   checkpoints.  That run skips durable rows; its ``rows_resent`` counts the rows that may be sent a second time.  If a
   process of the earlier run is still delivering a shard, this delivery stops when it finds a newer attempt in the
   shard's checkpoint (DeliverySupersededError).
4. ``finish_shards`` advances the state only if every shard has a receipt that accounts for all rows of the shard.
   Otherwise it raises ShardsMissingError, which lists the missing shards.  A second call with the same receipts changes
   nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, HandoffBusyError, ShardsMissingError, SliceForgottenError
from ..receipt import Receipt
from ..sources.shards.form import MARK, VERSION, fingerprint_of
from .parts import Parts, count_of, facts_with, list_of_parts, parts_of
from .source import SplittableSource, bounds_of
from .state import OpenSlice, PastSlice, State, short_hash

if TYPE_CHECKING:
    from ..options import IngestOptions
    from .keeper import StateKeeper
    from .lease import Owner
    from .source import Bounds

__all__ = [
    "check_none_missing",
    "check_source",
    "checked",
    "delivered_slice",
    "describe",
    "held_slice",
    "notes_of",
    "open_part",
    "shard_facts",
    "share",
    "wanted_slice",
]

_MOST_SHARDS = 1_000
_NOTES = "_notes"
_FIELDS = {MARK, "kind", "handoff", "slice", "again", "run", "index", "of", "size", "fingerprint"}


def check_source(keeper: StateKeeper, n: Any) -> None:
    """Raise ConfigurationError if the source cannot be split, or if ``n`` is not a valid number of shards."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= _MOST_SHARDS:
        raise ConfigurationError(f"n must be a whole number of shards from 1 to {_MOST_SHARDS:,}, not {n!r}")
    if not isinstance(keeper.source, SplittableSource):
        raise ConfigurationError(
            f"a source of {keeper.source.kind} cannot be split, because its records come from one function in one "
            "order; deliver it with hand_over in one task"
        )


def share(keeper: StateKeeper, opened: OpenSlice, n: int, notes: Mapping[str, Any]) -> OpenSlice:
    """Update the state to record that the open slice is delivered in shards; return the updated slice.

    A slice that was already split keeps its shards; any other slice is split into at most ``n`` shards.
    Raises HandoffBusyError if another run has taken over the slice.
    ``notes`` are the source's notes, which are kept for the receipt of the task that finishes the slice.
    """
    # Only new facts: the state's own can be newer than those of `opened`, if a person has released a file since then.
    facts = {} if parts_of(opened) else {**facts_with(_split(keeper, opened, n)), _NOTES: dict(notes)}

    def shared(state: State) -> State:
        _check_held(keeper, state, opened.id, short_hash(keeper.owner.key))
        return state.share(opened.id, facts, owner=keeper.owner, now=keeper.now())

    _, state = keeper.update(shared)
    assert state.open is not None
    return state.open


def notes_of(past: PastSlice, owner: Owner) -> dict[str, Any]:
    """Return the notes for the receipt: the source's notes from when the slice was frozen, and ``remaining``.

    ``remaining`` says whether there is more to deliver. If the slice was frozen by a run other than the owner's,
    ``remaining`` is always True, because more may have become new after the slice was frozen.
    """
    notes = {"remaining": False, **past.facts.get(_NOTES, {})}
    return notes if past.opened_by == owner.key else {**notes, "remaining": True}


def _split(keeper: StateKeeper, opened: OpenSlice, n: int) -> Parts:
    if keeper.is_begun(opened):  # rows may have been sent before the split
        return Parts(sizes=[{}], ends=[None], is_whole=True)
    assert isinstance(keeper.source, SplittableSource)
    context = keeper.context()
    parts = keeper.source.split(bounds_of(opened), n, context)
    if parts.files is not None:
        assert context.side_files is not None  # NewFiles.prepare has checked this
        context.side_files.write(list_of_parts(opened.id), parts.files)
    return parts


def describe(keeper: StateKeeper, one: OpenSlice | PastSlice, *, again: str = "") -> list[dict[str, Any]]:
    """Return the shards of a slice as dicts of JSON-compatible values.

    If the slice was delivered before, ``again`` is the name of the chain of attempts that sends the slice once more;
    otherwise ``again`` is empty.
    """
    parts = parts_of(one)
    sizes = [{}] if parts is None else parts.sizes
    head = {
        MARK: VERSION,
        "kind": "slice",
        "handoff": keeper.name,
        "slice": one.id,
        "again": again,
        "run": short_hash(keeper.owner.key),
        "of": len(sizes),
    }
    shards = [{**head, "index": index, "size": dict(size)} for index, size in enumerate(sizes)]
    return [{**shard, "fingerprint": _fingerprint(shard)} for shard in shards]


def _fingerprint(shard: Mapping[str, Any]) -> str:
    facts = (shard[name] for name in ("handoff", "slice", "again", "run"))
    return fingerprint_of(shard["index"], shard["of"], *facts)


def checked(keeper: StateKeeper, shard: Any) -> dict[str, Any]:
    """Return a copy of ``shard``; raise ConfigurationError if it was changed or is not a shard of this handoff."""
    if not isinstance(shard, Mapping) or shard.get("kind") != "slice" or set(shard) != _FIELDS:
        raise ConfigurationError(
            f"shard must be one of the dicts that Handoff.split returns, and this {type(shard).__name__} is not; "
            "split again"
        )
    plain = dict(shard)
    if plain[MARK] != VERSION or plain["fingerprint"] != _fingerprint(plain):
        raise ConfigurationError("the shard was changed after Handoff.split had returned it; split again")
    if plain["handoff"] != keeper.name:
        raise ConfigurationError(f"the shard belongs to handoff {plain['handoff']!r}, not {keeper.name!r}")
    return plain


def held_slice(keeper: StateKeeper, shard: Mapping[str, Any]) -> OpenSlice | PastSlice:
    """Return the slice to which a shard belongs: the open slice, or a PastSlice if it was delivered or skipped.

    Raises HandoffBusyError if another run has taken over the slice, SliceForgottenError if the slice was abandoned or
    is no longer in the state, and ConfigurationError if the slice has more or fewer shards than ``shard`` says.
    """
    _, state = keeper.load()
    past = _past(state, shard["slice"])
    if past is not None:
        return past
    _check_held(keeper, state, shard["slice"], shard["run"])
    assert state.open is not None
    if count_of(state.open) != shard["of"]:
        raise ConfigurationError(f"slice {state.open.id} was not split into {shard['of']} shards; split again")
    return state.open


def _check_held(keeper: StateKeeper, state: State, slice_id: str, run: str) -> None:
    if state.open is None or state.open.id != slice_id:
        raise SliceForgottenError(
            f"handoff {keeper.name!r}: slice {slice_id} is no longer open: it was skipped, or the state was rewound"
        )
    holder = state.open.lease.owner
    if short_hash(holder.key) != run:
        raise HandoffBusyError(
            f"handoff {keeper.name!r}: {holder.key} took over slice {slice_id} after the earlier lease had expired, "
            "and delivers all shards of the slice. This task sent nothing, and you do not have to do anything"
        )


def _past(state: State, slice_id: str) -> PastSlice | None:
    return next((past for past in reversed(state.history) if past.id == slice_id and past.is_done), None)


def wanted_slice(keeper: StateKeeper, receipts: Iterable[Receipt | Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the ``handoff`` facts of the first receipt, such as its slice's id; None if there are no receipts.

    Raises ConfigurationError if the receipts are for different slices, for different deliveries of one slice, or for
    another handoff, or if one of them is not the receipt of a shard.
    """
    every = [_facts_of(one) for one in receipts]
    if not every:
        return None
    for name in ("name", "slice", "again"):
        if len({one[name] for one in every}) > 1:
            raise ConfigurationError(
                f"receipts are for several slices or deliveries: {sorted({one['slice'] for one in every})}"
            )
    if every[0]["name"] != keeper.name:
        raise ConfigurationError(f"receipts are for handoff {every[0]['name']!r}, not {keeper.name!r}")
    return every[0]


def _facts_of(one: Any) -> dict[str, Any]:
    facts = one.handoff if isinstance(one, Receipt) else one.get("handoff") if isinstance(one, Mapping) else None
    if not isinstance(facts, dict) or not {"name", "slice", "again", "shard", "of"} <= set(facts):
        raise ConfigurationError("receipts must be those that Handoff.deliver_shard returned, one for each shard")
    return dict(facts)


def delivered_slice(
    keeper: StateKeeper, slice_id: str, receipts: list[Receipt | Mapping[str, Any]]
) -> OpenSlice | PastSlice:
    """Return the slice if the receipts show that all its shards are durable; raise ShardsMissingError otherwise.

    Raises ConfigurationError if a shard has two complete receipts, or if a receipt belongs to another split. Raises
    SliceForgottenError if the state no longer contains the slice.
    """
    _, state = keeper.load()
    one = _past(state, slice_id) or state.open
    if one is None or one.id != slice_id:
        raise SliceForgottenError(f"slice {slice_id} is not open, and it is not one of the last slices in the state")
    of = count_of(one)
    facts = [_facts_of(receipt) for receipt in receipts]
    durable = [each["shard"] for each, receipt in zip(facts, receipts, strict=True) if _is_durable(receipt)]
    if len(set(durable)) < len(durable) or any(each["of"] != of for each in facts):
        raise ConfigurationError(
            f"each of the {of} shards of slice {slice_id} needs exactly one receipt, but there are two receipts for "
            "one shard, or receipts of another split"
        )
    missing = sorted(set(range(of)) - set(durable))
    if missing:
        raise _missing_error(keeper, one, missing)
    return one


def check_none_missing(keeper: StateKeeper) -> None:
    """Raise ShardsMissingError if this run has an open slice; used if ``finish_shards`` was given no receipts.

    If another run has taken over that slice, raise HandoffBusyError instead.
    """
    _, state = keeper.load()
    opened, run = state.open, keeper.owner.key
    if opened is not None and run in {opened.opened_by, opened.lease.owner.key}:
        _check_held(keeper, state, opened.id, short_hash(run))
        raise _missing_error(keeper, opened, range(count_of(opened)))


def _missing_error(keeper: StateKeeper, one: OpenSlice | PastSlice, missing: Collection[int]) -> ShardsMissingError:
    return ShardsMissingError(
        f"handoff {keeper.name!r}: {len(missing)} of {count_of(one)} shards of slice {one.id} have no receipt that "
        f"accounts for all their rows: {', '.join(map(str, missing))}. The state did not advance; deliver these "
        "shards again, and then finish"
    )


def _is_durable(receipt: Receipt | Mapping[str, Any]) -> bool:
    plain = receipt.as_dict() if isinstance(receipt, Receipt) else receipt
    parts = ("rows_acked", "rows_skipped", "rows_dead_lettered", "rows_filtered")
    return bool(plain["rows_read"] == sum(plain.get(name, 0) for name in parts))


def shard_facts(shard: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``handoff`` facts for the receipt of a shard."""
    return {
        "name": shard["handoff"],
        "slice": shard["slice"],
        "again": shard["again"],
        "shard": shard["index"],
        "of": shard["of"],
    }


@contextmanager
def open_part(keeper: StateKeeper, bounds: Bounds, index: int | None, options: IngestOptions) -> Generator[Any]:
    """Open the records of one part of a slice, or of the whole slice if ``index`` is None or the slice is unsplit."""
    source, parts = keeper.source, parts_of(bounds)
    if index is None or parts is None or parts.is_whole:
        opened = source.open(bounds, options, keeper.context())
    else:
        assert isinstance(source, SplittableSource)
        opened = source.open_part(bounds, index, options, keeper.context())
    with opened as records:
        yield records
