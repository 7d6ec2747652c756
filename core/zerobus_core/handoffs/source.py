"""The interface of a handoff's source: the source finds what is new, and reads the same slice in every attempt."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ..options import IngestOptions
    from .parts import Parts
    from .state import OpenSlice, PastSlice, Position
    from .store import SideFiles

__all__ = ["Bounds", "Context", "HandoffSource", "IntervalSource", "Plan", "SplittableSource", "bounds_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Things that the methods of a source can use: the options, the files next to the state, and the present time."""

    options: IngestOptions
    side_files: SideFiles | None
    now: datetime
    shown: str
    """The location of the state, for messages."""
    uri: str | None = None
    """The path (with ``~`` expanded) or URI of the state's file; None if the state is not a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The description of a slice for its source: the id, the start, the end, and the facts that the state stores."""

    id: str
    start: Position
    end: Position
    facts: Mapping[str, Any]
    is_delivered: bool = False
    """Whether the slice was already delivered. It is sent again only if a person asks for that."""


def bounds_of(one: OpenSlice | PastSlice) -> Bounds:
    """Return the Bounds of an open or past slice."""
    is_delivered = getattr(one, "outcome", None) == "delivered"
    return Bounds(id=one.id, start=one.start, end=one.end, facts=one.facts, is_delivered=is_delivered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The next slice, before it is written to the state."""

    end: Position
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """JSON values that are stored with the slice. People see those whose names do not begin with ``_``."""
    files: bytes | None = None
    """The list of the slice's files as JSON, which is stored next to the state; None for a source without files."""
    remaining: bool = False
    """Whether the source limited the slice, so that the next run has more to deliver."""


@runtime_checkable
class HandoffSource(Protocol):
    """A source that finds what is new after a position.

    The methods can block. They raise the core's errors, and pass on what the user's functions raise.
    """

    kind: str

    def identity(self) -> dict[str, Any]:
        """Return JSON-compatible values that distinguish this source from others."""
        ...

    def prepare(self, context: Context) -> None:
        """Raise ConfigurationError if the source cannot be used with the state store of ``context``."""

    def plan(self, done: Position, last: PastSlice | None, context: Context) -> tuple[Plan | None, dict[str, Any]]:
        """Return the next slice after ``done`` (None if nothing is new), and notes for the receipt.

        ``last`` is the last entry of the history if it is a delivered slice, otherwise None. With it, the source can
        check whether rows were added to the range of that slice after the slice was delivered.
        """
        ...

    def open(self, bounds: Bounds, options: IngestOptions, context: Context) -> AbstractContextManager[Any]:
        """Open the records of a slice for ``ingest``; every attempt opens the same slice."""
        ...

    def options(self, bounds: Bounds, options: IngestOptions) -> IngestOptions:
        """Return ``options`` with the changes that the delivery of this slice needs."""
        ...

    def settled(self, bounds: Bounds, context: Context) -> Position:
        """Return the position after a slice. Called when its rows are durable, or when a person skips it."""
        ...

    def after_finish(self, done: Position) -> Position | None:
        """Do the work that follows after the state has advanced to ``done``, such as calling the user's ``commit``.

        Returns the position to write instead of ``done``, or None if ``done`` stays as it is. Before a run opens a new
        slice, it calls this method again, because the run that finished the last slice may have ended before the call.
        """

    def remove_unused(self, before: Position, done: Position, context: Context) -> None:
        """Remove the side files to which the position ``before`` refers, except those to which ``done`` also refers."""

    def forget(self, past: PastSlice, context: Context) -> None:
        """Remove the side files of a slice that was dropped from the history."""

    def position_before(
        self, past: PastSlice, later: tuple[PastSlice, ...], done: Position, context: Context
    ) -> Position:
        """Return the position to rewind to, so that the slice ``past`` and all later slices are new again.

        ``later`` contains the delivered and skipped slices that follow ``past`` in the history. ``done`` is the
        position before the rewind.
        """
        ...

    def rewind_to(self, value: Any) -> Position:
        """Return ``value``, the target of a rewind, as a position; ``value`` can be text from the command line."""
        ...

    def parsed(self, value: Any) -> Position:
        """Return ``value`` as the start or end of an explicit slice; raise ConfigurationError if it is invalid.

        ``value`` can be text from the command line.
        """
        ...

    def between(self, start: Position, end: Position, context: Context) -> Plan:
        """Return the slice with the given bounds: everything after ``start``, up to and including ``end``.

        Raises ConfigurationError if ``end`` is None. NewFiles also raises it if there is no file in this range.
        """
        ...

    def shown(self, position: Position, *, values: bool = True) -> Any:
        """Return a position as a JSON-compatible value for people; text is masked unless ``values`` is set."""
        ...

    def nothing_new(self, done: Position) -> str:
        """Return a sentence that says that nothing is new after ``done``.

        The sentence contains no secrets; text in the position is masked.
        """
        ...


@runtime_checkable
class SplittableSource(Protocol):
    """A HandoffSource whose slices can be split into parts that several workers deliver."""

    def split(self, bounds: Bounds, n: int, context: Context) -> Parts:
        """Divide the slice into at most ``n`` parts of about equal size; each row is in exactly one part. Blocks."""
        ...

    def open_part(
        self, bounds: Bounds, index: int, options: IngestOptions, context: Context
    ) -> AbstractContextManager[Any]:
        """Open the records of one part; every attempt opens the same part."""
        ...


class IntervalSource:
    """The base class of sources whose slices are intervals of positions; such a source needs no side files."""

    __slots__ = ()

    def remove_unused(self, before: Position, done: Position, context: Context) -> None:
        """See HandoffSource."""

    def forget(self, past: PastSlice, context: Context) -> None:
        """See HandoffSource."""

    def position_before(
        self,
        past: PastSlice,
        later: tuple[PastSlice, ...],
        done: Position,
        context: Context,
    ) -> Position:
        """See HandoffSource."""
        return past.start

    def rewind_to(self, value: Any) -> Position:
        """See HandoffSource."""
        return None if value in (None, "start") else self.parsed(value)

    def parsed(self, value: Any) -> Position:
        """See HandoffSource."""
        raise NotImplementedError
