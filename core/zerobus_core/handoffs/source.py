"""What each kind of source can do for a handoff: find what is new, and read a slice again."""

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
    """Where a source keeps what is too large for the state, what the clock says, and the options of the delivery."""

    options: IngestOptions
    side_files: SideFiles | None
    now: datetime
    shown: str
    """Where the state is, for messages."""
    uri: str | None = None
    """The same as it was given, if the state is a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A slice as its source sees it."""

    id: str
    start: Position
    end: Position
    facts: Mapping[str, Any]
    is_delivered: bool = False
    """Whether it was delivered before, and is read to be sent again on request."""


def bounds_of(one: OpenSlice | PastSlice) -> Bounds:
    """A slice of the state as its source sees it."""
    is_delivered = getattr(one, "outcome", None) == "delivered"
    return Bounds(id=one.id, start=one.start, end=one.end, facts=one.facts, is_delivered=is_delivered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is new: the next slice, not yet written to the state."""

    end: Position
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """JSON values that are kept with the slice and shown to people."""
    files: bytes | None = None
    """The frozen list of files, kept next to the state."""
    remaining: bool = False
    """Whether there is more that could be delivered now."""


@runtime_checkable
class HandoffSource(Protocol):
    """A source that knows what is new in it.  All methods block; errors are those of the core."""

    kind: str

    def identity(self) -> dict[str, Any]:
        """What distinguishes this source from others, as JSON; raises ConfigurationError for bad parameters."""
        ...

    def prepare(self, context: Context) -> None:
        """Raise ConfigurationError if the source cannot be used with the state store of ``context``."""

    def plan(self, done: Position, last: PastSlice | None, context: Context) -> tuple[Plan | None, dict[str, Any]]:
        """The next slice after ``done``, None if nothing is new; and notes for the receipt.

        ``last`` is the slice before, whose range can be looked at again.
        """
        ...

    def open(self, bounds: Bounds, options: IngestOptions, context: Context) -> AbstractContextManager[Any]:
        """The records of a slice, for ``ingest``, the same at every attempt."""
        ...

    def options(self, bounds: Bounds, options: IngestOptions) -> IngestOptions:
        """The options with which the records of a slice are delivered."""
        ...

    def settled(self, bounds: Bounds, context: Context) -> Position:
        """The position after the slice, every row of which is durable (or given up)."""
        ...

    def after_finish(self, done: Position) -> Position | None:
        """Do what comes once the state says ``done``; returns the position to write then, None if that is the same.

        The next run calls it again, in case it did not happen.
        """

    def remove_unused(self, before: Position, done: Position, context: Context) -> None:
        """Remove files that ``before`` names and ``done`` does not."""

    def forget(self, past: PastSlice, context: Context) -> None:
        """Remove what is kept of a slice that has left the history."""

    def position_before(
        self, past: PastSlice, later: tuple[PastSlice, ...], done: Position, context: Context
    ) -> Position:
        """Where ``past`` began, so that it and the ``later`` slices are new again."""
        ...

    def rewind_to(self, value: Any) -> Position:
        """The position that a person asks to go back to: text of the command line, or a value."""
        ...

    def parsed(self, value: Any) -> Position:
        """A bound of an explicit slice, as for ``rewind_to``; raises ConfigurationError."""
        ...

    def between(self, start: Position, end: Position, context: Context) -> Plan:
        """An explicit slice; raises ConfigurationError if there is nothing like it."""
        ...

    def shown(self, position: Position, *, values: bool = True) -> Any:
        """A position for people, as JSON; without ``values``, text is masked."""
        ...

    def nothing_new(self, done: Position) -> str:
        """A sentence that says that nothing is new after ``done``, without secrets and without values of rows."""
        ...


@runtime_checkable
class SplittableSource(Protocol):
    """A HandoffSource whose slices can be split into parts that several workers deliver."""

    def split(self, bounds: Bounds, n: int, context: Context) -> Parts:
        """At most ``n`` parts of about equal size: disjoint, and together the slice.  Blocks."""
        ...

    def open_part(
        self, bounds: Bounds, index: int, options: IngestOptions, context: Context
    ) -> AbstractContextManager[Any]:
        """The records of one part, the same at every attempt."""
        ...


class IntervalSource:
    """Shared by sources whose slices are intervals: such a source keeps nothing next to the state."""

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
