"""The parts of a slice that was split, as stored in the ``facts`` of the slice. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Parts", "count_of", "facts_with", "list_of_parts", "part_id", "part_ids", "parts_of"]

_FACT = "_shards"


class AnySlice(Protocol):
    """A slice in any form: an OpenSlice, a PastSlice or Bounds."""

    @property
    def id(self) -> str:
        """The slice's name in the state."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts that the state stores about the slice, as JSON-compatible values."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a slice. If rows may have been sent before the split, the whole slice is one part."""

    sizes: Sequence[Mapping[str, int]]
    """The approximate size of each part: rows, or files and bytes; empty if it is not known."""
    ends: Sequence[Mapping[str, Any] | None] = ()
    """For parts of rows: where each part ends; None is the end of the slice."""
    files: bytes | None = None
    """For parts of files that are not stored yet: the list of each part's files, as JSON; otherwise None."""
    is_whole: bool = False
    """Whether the only part is the whole slice, with the checkpoint that the slice had before the split."""


def facts_with(parts: Parts) -> dict[str, Any]:
    """Return the facts that the state stores about ``parts``."""
    kept = {"whole": parts.is_whole, "sizes": list(parts.sizes), "ends": list(parts.ends)}
    return {_FACT: kept, "shards": len(parts.sizes)}


def parts_of(one: AnySlice) -> Parts | None:
    """Return the parts of a slice; None if it was not split."""
    kept = one.facts.get(_FACT)
    return None if kept is None else Parts(sizes=kept["sizes"], ends=kept["ends"], is_whole=kept["whole"])


def part_id(one: AnySlice, index: int) -> str:
    """Return the name of one part; the part's checkpoint and ``delivery_columns`` use this name.

    The name does not depend on who delivers the part. It is the slice's id if the slice was not split, or if the part
    is the whole slice (``Parts.is_whole``).
    """
    parts = parts_of(one)
    if parts is None or parts.is_whole:
        return one.id
    return f"{one.id}.shard-{index:04d}-of-{len(parts.sizes):04d}"


def part_ids(one: AnySlice) -> list[str]:
    """Return the names of all parts of a slice; a slice that was not split is treated as one part."""
    return [part_id(one, index) for index in range(count_of(one))]


def count_of(one: AnySlice) -> int:
    """Return the number of parts of a slice; 1 if it was not split."""
    parts = parts_of(one)
    return 1 if parts is None else len(parts.sizes)


def list_of_parts(slice_id: str) -> str:
    """Return the name of the side file, stored next to the state, that lists the data files of each part."""
    return f"{slice_id}.shards.json"
