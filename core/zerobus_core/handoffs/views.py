"""Describes a handoff in JSON-compatible values, for people and receipts. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..sources import Source
from ..wording import plural

if TYPE_CHECKING:
    from ..batch import Chunk
    from ..ranges import RowRanges
    from .source import HandoffSource
    from .state import PastSlice, Position, State

__all__ = ["NothingToSend", "facts_of", "no_facts", "nothing_new", "public", "shown_state"]

# Notes that count what a source does not deliver, and the words for them.
_WAITING = {
    "waiting_rows": ("row waits", "rows wait"),
    "unsettled": ("file is not settled", "files are not settled"),
    "changed": ("delivered file has changed", "delivered files have changed"),
    "null_rows": ("row has no value in the column", "rows have no value in the column"),
    "not_finite_rows": ("row has no finite value in the column", "rows have no finite value in the column"),
}


class NothingToSend(Source):
    """A source without rows; ``why_empty`` says why it has none."""

    is_in_memory = True

    def __init__(self, why: str) -> None:
        self.why_empty = why

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """See ``Source``."""
        return iter(())

    def _count_rows(self) -> int:
        return 0


def nothing_new(source: HandoffSource, done: Position, notes: Mapping[str, Any]) -> str:
    """Return a message that says why a run found nothing to deliver, for the notes of the receipt."""
    counted = [f"{notes[name]:,} {plural(notes[name], *what)}" for name, what in _WAITING.items() if notes.get(name)]
    return "; ".join([source.nothing_new(done), *counted])


def facts_of(name: str, source: HandoffSource, past: PastSlice) -> dict[str, Any]:
    """Return the ``handoff`` facts of a receipt for a delivered or skipped slice."""
    return {
        "name": name,
        "slice": past.id,
        "from": source.shown(past.start),
        "to": source.shown(past.end),
        **public(past.facts),
        "remaining": False,
    }


def no_facts(source: HandoffSource, state: State) -> dict[str, Any]:
    """Return the ``handoff`` facts of a receipt for a run that delivered no slice."""
    done = source.shown(state.done)
    return {"name": state.name, "slice": None, "from": done, "to": done, "remaining": False}


def shown_state(
    state: State, source: HandoffSource, *, is_held: bool, lease_ends_at: str | None, values: bool
) -> dict[str, Any]:
    """Return the dict that ``Handoff.show`` returns; text in positions is masked unless ``values`` is set."""
    opened = state.open
    plain: dict[str, Any] = {
        "name": state.name,
        "table": state.table,
        "kind": state.kind,
        "revision": state.revision,
        "done": source.shown(state.done, values=values),
        "written_at": state.written_at,
        "open": None,
        "history": [_shown_past(past, source, values=values) for past in state.history],
    }
    if opened is not None:
        plain["open"] = {
            "slice": opened.id,
            "from": source.shown(opened.start, values=values),
            "to": source.shown(opened.end, values=values),
            "opened_at": opened.opened_at,
            "opened_by": opened.opened_by,
            "held_by": opened.lease.owner.key,
            "is_held": is_held,
            "lease_ends_at": lease_ends_at,
            **public(opened.facts),
        }
    return plain


def public(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that people see: those whose names do not begin with ``_``."""
    return {name: value for name, value in facts.items() if not name.startswith("_")}


def _shown_past(past: PastSlice, source: HandoffSource, *, values: bool) -> dict[str, Any]:
    return {
        "slice": past.id,
        "outcome": past.outcome,
        "from": source.shown(past.start, values=values),
        "to": source.shown(past.end, values=values),
        "opened_by": past.opened_by,
        "finished_by": past.finished_by,
        "finished_at": past.finished_at,
        **past.counts,
        **public(past.facts),
        "rows_redelivered": sum(again.rows for again in past.redeliveries),
    }
