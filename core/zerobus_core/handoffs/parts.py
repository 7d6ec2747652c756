"""How a slice was split into parts, as stored in ``facts`` of the slice.  No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Parts", "count_of", "facts_with", "list_of_parts", "part_id", "part_ids", "parts_of"]

_FACT = "_shards"


class AnySlice(Protocol):
    """A slice, whether it is open, past, or only its bounds."""

    @property
    def id(self) -> str:
        """Names the slice in the state."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the state keeps of the slice, as JSON types."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a slice.  A slice of which something was sent before it was split is one part, the whole."""

    sizes: Sequence[Mapping[str, int]]
    """About how much each part holds: rows, or files and bytes."""
    ends: Sequence[Mapping[str, Any] | None] = ()
    """Of rows: where each part ends; None is the end of the slice."""
    files: bytes | None = None
    """Of files: the list of each part's files, kept next to the state."""
    is_whole: bool = False
    """Whether there is one part, which is delivered as the slice itself."""


def facts_with(parts: Parts) -> dict[str, Any]:
    """What the state keeps of the parts."""
    kept = {"whole": parts.is_whole, "sizes": list(parts.sizes), "ends": list(parts.ends)}
    return {_FACT: kept, "shards": len(parts.sizes)}


def parts_of(one: AnySlice) -> Parts | None:
    """The parts of a slice; None if it was not split."""
    kept = one.facts.get(_FACT)
    return None if kept is None else Parts(sizes=kept["sizes"], ends=kept["ends"], is_whole=kept["whole"])


def part_id(one: AnySlice, index: int) -> str:
    """Names the delivery of one part, whoever delivers it: its checkpoint, and its rows in ``delivery_columns``."""
    parts = parts_of(one)
    if parts is None or parts.is_whole:
        return one.id
    return f"{one.id}.shard-{index:04d}-of-{len(parts.sizes):04d}"


def part_ids(one: AnySlice) -> list[str]:
    """The names of all deliveries of a slice: one, or one for each part."""
    return [part_id(one, index) for index in range(count_of(one))]


def count_of(one: AnySlice) -> int:
    """How many deliveries a slice has."""
    parts = parts_of(one)
    return 1 if parts is None else len(parts.sizes)


def list_of_parts(slice_id: str) -> str:
    """The file next to the state that lists the files of each part."""
    return f"{slice_id}.shards.json"
