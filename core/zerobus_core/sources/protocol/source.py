"""The protocol of sources: what a delivery asks of anything that yields rows."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ...batch import Origin
from ...column_options import SHAPED

if TYPE_CHECKING:
    from ...batch import Chunk
    from ...ranges import RemovedRows, RowRanges
    from ...schema import TableSchema

__all__ = [
    "ChangedSource",
    "Shaping",
    "Source",
    "SourceLike",
    "combined_fingerprint",
    "is_source_like",
    "origins_of",
    "source_from",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaping:
    """What options changed in the rows of a source that were read so far."""

    rows_filtered: int = 0
    """Rows that ``transform`` left out."""
    columns_dropped: tuple[str, ...] = ()
    """Fields that the table lacks and ``extra_columns`` left out, by name (bounded)."""
    notes: tuple[str, ...] = ()
    """What the options say that no row has shown, in sentences."""

    def __add__(self, other: Shaping) -> Shaping:
        return Shaping(
            rows_filtered=self.rows_filtered + other.rows_filtered,
            columns_dropped=tuple(dict.fromkeys(self.columns_dropped + other.columns_dropped)),
            notes=tuple(dict.fromkeys(self.notes + other.notes)),
        )


def combined_fingerprint(inner: str | None, shape: Mapping[str, Any]) -> str | None:
    """The fingerprint of a source whose rows are changed as ``shape`` says, in JSON types."""
    if inner is None:
        return None
    source, _, before = inner.partition(SHAPED)
    text = json.dumps([before, shape], sort_keys=True, default=repr)
    return f"{source}{SHAPED}{hashlib.sha256(text.encode()).hexdigest()[:32]}"


@runtime_checkable
class SourceLike(Protocol):
    """What an object needs to be accepted as ``records``.

    It yields rows in an order that it can repeat: read twice, it yields the same rows at the same positions if its
    fingerprint is the same.
    """

    @property
    def fingerprint(self) -> str | None:
        """Identifies content and order; None if nothing is known, and then a retry cannot resume."""
        ...

    @property
    def is_arrow(self) -> bool:
        """Whether its chunks hold Arrow record batches; a source yields one kind only."""
        ...

    @property
    def total_rows(self) -> int | None:
        """How many rows there are, if that is known without reading them."""
        ...

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield every row that is not in ``skip``, in order, in bounded memory.

        Skipped rows keep their positions.  A slow source yields what it has within about a second, so that rows
        do not wait for a chunk to fill.  If that is nothing, as while it passes over skipped rows, a chunk without
        rows is yielded now and then: whoever reads the source looks at stop requests and deadlines then.
        """
        ...


class Source(ABC):
    """The whole protocol, with defaults for all that ``SourceLike`` leaves open.  The delivery uses nothing else."""

    is_arrow: bool = False
    """See ``SourceLike``."""
    is_text: bool = False
    """Whether it holds nothing but text, so that dates, times and numbers have to be parsed."""
    is_in_memory: bool = False
    """Whether all rows are there already, so that reading them waits for nothing."""
    start_delay: float = 0.0
    """Seconds to wait before the first row is read: the shards of a source do not all open streams at one moment."""
    has_files: bool = False
    """Whether ``origins`` names the file of each row."""
    why_empty: str | None = None
    """Why it has no rows, if it is known to have none; for the receipt's notes."""

    @property
    def is_content_known(self) -> bool:
        """Whether the fingerprint is one of the content (a hash of it, or the versions of files).

        Then durable rows are skipped unread; otherwise they are read again and compared.
        """
        return False

    @property
    def can_read_again(self) -> bool:
        """Whether ``chunks`` can be called once more, for the rows as they are then."""
        return True

    @property
    def shaping(self) -> Shaping:
        """What options changed in the rows that the last call of ``chunks`` has given so far."""
        return Shaping()

    @cached_property
    def fingerprint(self) -> str | None:
        """See ``SourceLike``; computed when it is first asked for, since that can cost a look at all rows."""
        return self._find_fingerprint()

    @cached_property
    def total_rows(self) -> int | None:
        """See ``SourceLike``; computed when it is first asked for."""
        return self._count_rows()

    @abstractmethod
    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """See ``SourceLike``."""

    def read_for(self, schema: TableSchema) -> None:  # noqa: B027 - most sources read the same for every table
        """Read from now on for a table of ``schema``, which distinguishes what the source alone cannot."""

    def give_tuples(self) -> None:  # noqa: B027 - most sources have no tuples
        """Chunks can hold ``TupleRows`` from now on: whoever reads them takes these as well as lists."""

    def would_hold(self, uri: str) -> bool:
        """Whether a file at ``uri`` is part of the source, or would be at the next attempt."""
        return False

    def removed_since(self, fingerprint: str, reached: int) -> Iterator[RemovedRows | None]:
        """The rows before ``reached`` that were taken out of the source with this fingerprint to make this one.

        In order.  Yields None while it reads; yields nothing if it is not known that this is that source without some
        rows.  The rows after the last RemovedRows that is not exact are not compared.
        """
        return iter(())

    def locate(self, row: int) -> str:
        """Where the row at position ``row`` is in the source, in words; for dead letters."""
        return f"row {row}"

    def place(self, row: int) -> str:
        """Where the row at position ``row`` is in a text file, such as "line 3"; empty if that is not known."""
        return ""

    def origins(self, first_row: int, stop_row: int) -> Iterator[Origin]:
        """Where the rows of the last chunk come from that are at these positions; in order, all of them."""
        yield Origin(None, first_row, stop_row - first_row)

    def on_durable(self) -> None:  # noqa: B027 - most sources have nothing to do then
        """Called by the delivery once all of the rows are durable."""

    def _find_fingerprint(self) -> str | None:
        return None

    def _count_rows(self) -> int | None:
        return None


class ChangedSource(Source):
    """A source of the rows of another one, which a subclass changes; all else is the other's."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.is_arrow = source.is_arrow
        self.is_text = source.is_text
        self.is_in_memory = source.is_in_memory
        self.start_delay = source.start_delay
        self.has_files = source.has_files
        self.why_empty = source.why_empty

    @property
    def is_content_known(self) -> bool:
        """See ``Source``."""
        return self._source.is_content_known

    @property
    def can_read_again(self) -> bool:
        """See ``Source``."""
        return self._source.can_read_again

    @property
    def shaping(self) -> Shaping:
        """See ``Source``."""
        return self._source.shaping

    def read_for(self, schema: TableSchema) -> None:
        """See ``Source``."""
        self._source.read_for(schema)

    def would_hold(self, uri: str) -> bool:
        """See ``Source``."""
        return self._source.would_hold(uri)

    def locate(self, row: int) -> str:
        """See ``Source``."""
        return self._source.locate(row)

    def place(self, row: int) -> str:
        """See ``Source``."""
        return self._source.place(row)

    def origins(self, first_row: int, stop_row: int) -> Iterator[Origin]:
        """See ``Source``."""
        return self._source.origins(first_row, stop_row)

    def on_durable(self) -> None:
        """See ``Source``."""
        self._source.on_durable()

    def _find_fingerprint(self) -> str | None:
        return self._source.fingerprint

    def _count_rows(self) -> int | None:
        return self._source.total_rows


def origins_of(
    first_row: int, stop_row: int, starts: Sequence[int], files: Sequence[tuple[str, int]]
) -> Iterator[Origin]:
    """Where rows come from that are read from files in turn.

    ``starts`` are the positions of the first rows of the files that were begun, ``files`` the path of each, and the
    number in it of the first row that is read.
    """
    index = bisect_right(starts, first_row) - 1
    while first_row < stop_row:
        path, before = files[index]
        stop = min(stop_row, starts[index + 1]) if index + 1 < len(starts) else stop_row
        if first_row < stop:
            yield Origin(path, first_row - starts[index] + before, stop - first_row)
        first_row, index = max(first_row, stop), index + 1


def is_source_like(value: object) -> bool:
    """Whether ``value`` has the SourceLike protocol; its properties are not called, since some cost work."""
    kind = type(value)
    return callable(getattr(kind, "chunks", None)) and all(
        hasattr(kind, name) or name in getattr(value, "__dict__", {})
        for name in ("fingerprint", "is_arrow", "total_rows")
    )


def source_from(given: SourceLike) -> Source:
    """``given`` as a Source, wrapped if it is not one."""
    return given if isinstance(given, Source) else _WrappedSource(given)


class _WrappedSource(Source):
    """A user's source; other members of ``Source`` are used if it has them."""

    def __init__(self, given: SourceLike) -> None:
        self._given = given
        self.is_arrow = given.is_arrow
        self.is_text = bool(getattr(given, "is_text", False))
        self.is_in_memory = bool(getattr(given, "is_in_memory", False))
        for name in ("read_for", "would_hold", "locate", "place", "on_durable"):
            if callable(method := getattr(given, name, None)):
                setattr(self, name, method)

    @property
    def is_content_known(self) -> bool:
        """See ``Source``; False if the given source does not say so."""
        return bool(getattr(self._given, "is_content_known", False))

    @property
    def can_read_again(self) -> bool:
        """See ``Source``; True if the given source does not deny it."""
        return bool(getattr(self._given, "can_read_again", True))

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """The given source's own."""
        return self._given.chunks(skip)

    def _find_fingerprint(self) -> str | None:
        return self._given.fingerprint

    def _count_rows(self) -> int | None:
        return self._given.total_rows
