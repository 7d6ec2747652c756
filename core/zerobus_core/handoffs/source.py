"""The interface of a handoff's source, which finds what is new and reads a slice again."""

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
    """What a source may use: the store for data that is too large for the state, the clock, and the options."""

    options: IngestOptions
    side_files: SideFiles | None
    now: datetime
    shown: str
    """The location of the state, for messages."""
    uri: str | None = None
    """The location as the user passed it, if the state is a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A slice in the form that its source uses."""

    id: str
    start: Position
    end: Position
    facts: Mapping[str, Any]
    is_delivered: bool = False
    """Whether the slice was delivered before, and is sent again because a person asked for it."""


def bounds_of(one: OpenSlice | PastSlice) -> Bounds:
    """Convert a slice of the state to the form that its source uses."""
    is_delivered = getattr(one, "outcome", None) == "delivered"
    return Bounds(id=one.id, start=one.start, end=one.end, facts=one.facts, is_delivered=is_delivered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The next slice of new rows or files, before it is written to the state."""

    end: Position
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """JSON values that are stored with the slice and shown to people."""
    files: bytes | None = None
    """The frozen list of files, stored next to the state."""
    remaining: bool = False
    """Whether more could be delivered now."""


@runtime_checkable
class HandoffSource(Protocol):
    """A source that can find what is new in it. All methods block and raise the core's errors."""

    kind: str

    def identity(self) -> dict[str, Any]:
        """Return what distinguishes this source from others, as JSON.

        Raises ConfigurationError for invalid parameters.
        """
        ...

    def prepare(self, context: Context) -> None:
        """Raise ConfigurationError if the source cannot be used with the state store of ``context``."""

    def plan(self, done: Position, last: PastSlice | None, context: Context) -> tuple[Plan | None, dict[str, Any]]:
        """Return the next slice after ``done``, or None if nothing is new; and notes for the receipt.

        ``last`` is the slice before, whose range can be checked again.
        """
        ...

    def open(self, bounds: Bounds, options: IngestOptions, context: Context) -> AbstractContextManager[Any]:
        """Open the records of a slice for ``ingest``; they are the same in every attempt."""
        ...

    def options(self, bounds: Bounds, options: IngestOptions) -> IngestOptions:
        """Return the options for delivering the records of a slice."""
        ...

    def settled(self, bounds: Bounds, context: Context) -> Position:
        """Return the position after the slice, all of whose rows are durable or given up."""
        ...

    def after_finish(self, done: Position) -> Position | None:
        """Do the steps that must follow once the state says ``done``.

        Returns a new position to write, or None if it does not change. The next run calls this method again, in case it
        was not called.
        """

    def remove_unused(self, before: Position, done: Position, context: Context) -> None:
        """Remove the files that ``before`` refers to and ``done`` does not."""

    def forget(self, past: PastSlice, context: Context) -> None:
        """Remove the stored data of a slice that was dropped from the history."""

    def position_before(
        self, past: PastSlice, later: tuple[PastSlice, ...], done: Position, context: Context
    ) -> Position:
        """Return the position where ``past`` began, so that it and the ``later`` slices are new again."""
        ...

    def rewind_to(self, value: Any) -> Position:
        """Return the position that a person asked to rewind to; ``value`` can be text from the command line."""
        ...

    def parsed(self, value: Any) -> Position:
        """Return a bound of an explicit slice, given as for ``rewind_to``; raise ConfigurationError."""
        ...

    def between(self, start: Position, end: Position, context: Context) -> Plan:
        """Return an explicit slice; raise ConfigurationError if the source has nothing between the bounds."""
        ...

    def shown(self, position: Position, *, values: bool = True) -> Any:
        """Return a position for people, as JSON; without ``values``, text is masked."""
        ...

    def nothing_new(self, done: Position) -> str:
        """Return a sentence that says that nothing is new after ``done``, without secrets and values of rows."""
        ...


@runtime_checkable
class SplittableSource(Protocol):
    """A HandoffSource whose slices can be split into parts that several workers deliver."""

    def split(self, bounds: Bounds, n: int, context: Context) -> Parts:
        """Divide the slice into at most ``n`` disjoint parts of about equal size that cover it. Blocks."""
        ...

    def open_part(
        self, bounds: Bounds, index: int, options: IngestOptions, context: Context
    ) -> AbstractContextManager[Any]:
        """Open the records of one part; they are the same in every attempt."""
        ...


class IntervalSource:
    """Base of sources whose slices are intervals; such a source stores nothing next to the state."""

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
