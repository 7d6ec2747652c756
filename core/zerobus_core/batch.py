"""What flows through a delivery: chunks of rows from a source, batches of wire payloads to a stream.

A row is known by its position in the source, 0-based.  A chunk and a batch each cover one unbroken run of
positions, so that an acknowledged batch is a row range and nothing else has to be remembered about it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

    from .errors import BadField

__all__ = ["BadRow", "Batch", "Chunk", "ContentHook", "Encoder", "Origin", "RecordFormat", "RowContent"]

_FEW_ROWS = 100

RecordFormat: TypeAlias = Literal["protobuf", "json", "arrow"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where consecutive rows come from: the path or URI of a file, without secrets; None if there is none."""

    path: str | None
    first_row: int
    """The number of the first of these rows in the file, from 0."""
    rows: int

    @property
    def name(self) -> str | None:
        """The last part of the path; of a file in an archive (``zip://a.csv::b.zip``) its own."""
        return None if self.path is None else self.path.partition("::")[0].rstrip("/").rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows as their source has them: row objects, or one Arrow record batch."""

    first_row: int
    rows: list[Any] | pa.RecordBatch
    """From a source that was told to give them (``Source.give_tuples``) also ``records.TupleRows``."""
    origins: tuple[Origin, ...] = ()
    """Where they come from, in order; only if ``metadata_columns`` asks for that."""

    @property
    def stop_row(self) -> int:
        """The position after the last row."""
        return self.first_row + len(self.rows)

    def part(self, start: int, rows: int) -> Chunk:
        """The ``rows`` rows from index ``start`` on, or those that there are."""
        chosen = self.rows[start : start + rows]
        origins = tuple(self.origins_of(self.first_row + start, len(chosen))) if self.origins else ()
        return Chunk(self.first_row + start, chosen, origins)

    def origins_of(self, first_row: int, rows: int) -> Iterator[Origin]:
        """Where some of the rows come from, given by the position of the first one."""
        before, stop_row = self.first_row, first_row + rows
        for origin in self.origins:
            start, stop = max(before, first_row), min(before + origin.rows, stop_row)
            if start < stop:
                yield Origin(origin.path, origin.first_row + start - before, stop - start)
            before += origin.rows


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one ingest call, which are all acknowledged or not at all.

    ``payload`` is a list of protobuf messages (bytes), a list of JSON objects (str), or one Arrow record batch.
    ``nbytes`` counts the payload as the service does.
    """

    first_row: int
    rows: int
    nbytes: int
    payload: list[bytes] | list[str] | pa.RecordBatch

    @property
    def stop_row(self) -> int:
        """The position after the last row."""
        return self.first_row + self.rows

    def parts(self) -> list[Batch]:
        """The same rows in smaller batches, such that two rounds lead from a batch to a single row.

        About ``sqrt(rows)`` batches, or one for each row where there are few.
        """
        return self.split(1 if self.rows <= _FEW_ROWS else math.isqrt(self.rows))

    def split(self, size: int) -> list[Batch]:
        """The same rows in batches of ``size`` rows, the last one of what is left."""
        batches = []
        for start in range(0, self.rows, size):
            rows = min(size, self.rows - start)
            payload = self.payload[start : start + rows]
            # The bytes of each row are unknown: they are shared out so that the sum stays the same.
            nbytes = self.nbytes * (start + rows) // self.rows - self.nbytes * start // self.rows
            batches.append(Batch(self.first_row + start, rows, nbytes, payload))
        return batches


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that does not fit the table, as the source gave it, and every field of it that is wrong (bounded)."""

    row: int
    record: Any
    fields: tuple[BadField, ...]


class RowContent(Protocol):
    """What some consecutive rows hold, as bytes for a digest, without the columns that the delivery fills itself."""

    def tracks(self, start: int, stop: int) -> Sequence[bytes | memoryview]:
        """The rows from index ``start`` to ``stop``, as a fixed number of byte strings, the tracks.

        Equal rows have equal tracks, in every process; the tracks of rows that follow on each other are those of all of
        them when joined one by one.
        """
        ...


ContentHook: TypeAlias = Callable[[int, int, RowContent], None]
"""Called with the first row, the number of rows and what they hold."""


class Encoder(Protocol):
    """Turns chunks into batches that fit the service's limits; compiled once per table and record format."""

    @property
    def record_format(self) -> RecordFormat:
        """The format of the payloads of its batches."""
        ...

    @property
    def record_format_reason(self) -> str:
        """One clause that says why this format was taken, for the receipt."""
        ...

    @property
    def descriptor(self) -> bytes | None:
        """The serialized DescriptorProto that a protobuf stream is opened with; None for the other formats."""
        ...

    @property
    def arrow_schema(self) -> pa.Schema | None:
        """The schema that an Arrow stream is opened with; None for the other formats."""
        ...

    @property
    def block_rows(self) -> int:
        """How many rows to encode next, at most; more may take long, or much memory."""
        ...

    def encode(
        self,
        chunk: Chunk,
        *,
        on_bad_row: Callable[[BadRow], None] | None = None,
        on_content: ContentHook | None = None,
    ) -> Iterator[Batch]:
        """Yield batches in row order, cut by rows and by bytes.

        A row that does not fit is handed to ``on_bad_row`` and left out (its batch ends before it); without
        ``on_bad_row``, RecordError names rows and fields before the first batch of the chunk is yielded.
        ``on_content`` is called for each batch before it is yielded, in row order.
        """
        ...

    def decode(self, batch: Batch, index: int) -> dict[str, Any]:
        """The ``index``-th row of a batch, read back from its payload as JSON-able values; for dead letters."""
        ...
