"""The protocol of sources: the attributes and methods that a delivery needs from an object that yields rows."""

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
    """The changes that the options have made in the rows of a source, up to the last row that was read."""

    rows_filtered: int = 0
    """The number of rows that ``transform`` left out."""
    columns_dropped: tuple[str, ...] = ()
    """The names of columns that ``extra_columns`` dropped because the table lacks them; at most 100 names."""
    notes: tuple[str, ...] = ()
    """Sentences about options that might be wrong, such as a name in ``select`` that no row has."""

    def __add__(self, other: Shaping) -> Shaping:
        return Shaping(
            rows_filtered=self.rows_filtered + other.rows_filtered,
            columns_dropped=tuple(dict.fromkeys(self.columns_dropped + other.columns_dropped)),
            notes=tuple(dict.fromkeys(self.notes + other.notes)),
        )


def combined_fingerprint(inner: str | None, shape: Mapping[str, Any]) -> str | None:
    """Return the fingerprint of a source that changes the rows of another source.

    ``inner`` is the fingerprint of the other source; if it is None, the result is None. ``shape`` describes the
    changes as JSON-compatible values.
    """
    if inner is None:
        return None
    source, _, before = inner.partition(SHAPED)
    text = json.dumps([before, shape], sort_keys=True, default=repr)
    return f"{source}{SHAPED}{hashlib.sha256(text.encode()).hexdigest()[:32]}"


@runtime_checkable
class SourceLike(Protocol):
    """The members that an object of the user's own class must have to be used as a source.

    The object must yield rows in a repeatable order: if it is read twice with the same fingerprint, both readings yield
    the same rows at the same positions.
    """

    @property
    def fingerprint(self) -> str | None:
        """A string that identifies the rows and their order. If it is None, a retry cannot resume the delivery."""
        ...

    @property
    def is_arrow(self) -> bool:
        """Whether the chunks hold Arrow record batches. The answer is the same for all chunks that have rows."""
        ...

    @property
    def total_rows(self) -> int | None:
        """The number of rows, if it is known without reading them; None otherwise."""
        ...

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield every row that is not in ``skip``, in order, in bounded memory.

        The positions of rows do not depend on ``skip``. A slow source that is filling a chunk must not hold a row back
        for more than about a second. While a source has no rows to yield, for example while it skips rows, it must
        yield a chunk without rows from time to time, so that the reader can check stop requests and deadlines.
        """
        ...


class Source(ABC):
    """Everything that a delivery uses of a source: the members of ``SourceLike``, and further members with defaults."""

    is_arrow: bool = False
    """See ``SourceLike``."""
    is_text: bool = False
    """Whether all values are text, so that dates, times and numbers have to be parsed."""
    is_in_memory: bool = False
    """Whether all rows are in memory, so that reading them never waits."""
    start_delay: float = 0.0
    """Seconds to wait before the first row is read, so that the shards of a source do not all open streams at once."""
    has_files: bool = False
    """Whether ``origins`` yields the path of each row's file."""
    why_empty: str | None = None
    """Why the source has no rows, for the receipt's notes; None if the reason is unknown or the source has rows."""

    @property
    def is_content_known(self) -> bool:
        """Whether the fingerprint always changes when the content changes.

        True if the fingerprint is made from the content or from the versions of files: durable rows are then skipped
        without a comparison. If False, durable rows are read again and compared with the rows that were delivered.
        """
        return False

    @property
    def can_read_again(self) -> bool:
        """Whether ``chunks`` can be called again. Each call yields the rows that the source has at that time."""
        return True

    @property
    def shaping(self) -> Shaping:
        """The changes that the options have made in the rows read since the last call of ``chunks``."""
        return Shaping()

    @cached_property
    def fingerprint(self) -> str | None:
        """See ``SourceLike``; computed on first use, because the computation can require reading all rows."""
        return self._find_fingerprint()

    @cached_property
    def total_rows(self) -> int | None:
        """See ``SourceLike``; computed on first use."""
        return self._count_rows()

    @abstractmethod
    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """See ``SourceLike``."""

    def read_for(self, schema: TableSchema) -> None:  # noqa: B027 - most sources read the same for every table
        """Prepare to read rows for the table that has ``schema``.

        The types of the table's columns can affect how values are read.
        """

    def give_tuples(self) -> None:  # noqa: B027 - most sources have no tuples
        """Allow ``chunks`` to yield ``TupleRows`` in place of lists. Call this only if the reader accepts TupleRows."""

    def would_hold(self, uri: str) -> bool:
        """Return whether a file at ``uri`` is part of the source, or would become part of the source if written."""
        return False

    def removed_since(self, fingerprint: str, reached: int) -> Iterator[RemovedRows | None]:
        """Yield, in order, the runs of rows that were removed since this source had the fingerprint ``fingerprint``.

        The positions in a run are the positions that the rows had before the removal. The caller needs only rows
        before position ``reached``. A run is yielded only if it is certain that its rows were removed and that nothing
        else has changed. After a run that is not exact (``RemovedRows.is_exact``), no more runs are yielded. While the
        source reads rows to find the runs, it yields None from time to time.
        """
        return iter(())

    def locate(self, row: int) -> str:
        """Return a string that says where in the source the row at position ``row`` is; dead letters contain it."""
        return f"row {row}"

    def place(self, row: int) -> str:
        """Return where the row at position ``row`` is in a text file, such as "line 3"; "" if that is unknown."""
        return ""

    def origins(self, first_row: int, stop_row: int) -> Iterator[Origin]:
        """Yield the origins of the rows from ``first_row`` up to, but not including, ``stop_row``.

        These rows must be in the chunk that was yielded last.
        """
        yield Origin(None, first_row, stop_row - first_row)

    def on_durable(self) -> None:  # noqa: B027 - most sources have nothing to do then
        """Do what the source has to do after the delivery; the delivery calls this when all rows are durable."""

    def _find_fingerprint(self) -> str | None:
        return None

    def _count_rows(self) -> int | None:
        return None


class ChangedSource(Source):
    """Base of sources that change the rows of another source. Most members return the other source's value."""

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
    """Yield the origins of the rows from ``first_row`` up to, but not including, ``stop_row``.

    The source reads files in pieces; a piece is often a whole file. ``starts`` contains the position of the first row
    of each piece that the source has begun to read. ``files`` contains a pair for each piece, in the same order: the
    path of the file, and the number of rows of the file before the piece. ``files`` can also contain later pieces.
    """
    index = bisect_right(starts, first_row) - 1
    while first_row < stop_row:
        path, before = files[index]
        stop = min(stop_row, starts[index + 1]) if index + 1 < len(starts) else stop_row
        if first_row < stop:
            yield Origin(path, first_row - starts[index] + before, stop - first_row)
        first_row, index = max(first_row, stop), index + 1


def is_source_like(value: object) -> bool:
    """Return whether ``value`` has all members of SourceLike. Does not compute properties, because that can be slow."""
    kind = type(value)
    return callable(getattr(kind, "chunks", None)) and all(
        hasattr(kind, name) or name in getattr(value, "__dict__", {})
        for name in ("fingerprint", "is_arrow", "total_rows")
    )


def source_from(given: SourceLike) -> Source:
    """Return ``given`` itself if it is a Source, otherwise a Source that wraps it."""
    return given if isinstance(given, Source) else _WrappedSource(given)


class _WrappedSource(Source):
    """Wraps a user's source that is not a Source.

    The members of ``SourceLike`` and some further members are those of the user's source, if it has them. All other
    members have the defaults of ``Source``.
    """

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
        """See ``Source``; False if the user's source does not define ``is_content_known``."""
        return bool(getattr(self._given, "is_content_known", False))

    @property
    def can_read_again(self) -> bool:
        """See ``Source``; True if the user's source does not define ``can_read_again``."""
        return bool(getattr(self._given, "can_read_again", True))

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the chunks of the user's source."""
        return self._given.chunks(skip)

    def _find_fingerprint(self) -> str | None:
        return self._given.fingerprint

    def _count_rows(self) -> int | None:
        return self._given.total_rows
