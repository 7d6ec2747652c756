"""The units in which rows flow through a delivery: chunks, which a source yields, and batches, which a stream sends.

A row is identified by its position in the source, counted from 0. The rows of a chunk or batch have consecutive
positions, so an acknowledged batch can be recorded as one range of rows.
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
    """The origin of a run of consecutive rows: the file that contains them.

    ``path`` is the path of the file, or its URI without secrets; None if the rows are not from a file.
    """

    path: str | None
    first_row: int
    """The position in the file of the first of these rows, counted from 0."""
    rows: int

    @property
    def name(self) -> str | None:
        """The last part of the path, or None if there is no path.

        For a file in an archive (``zip://a.csv::b.zip``), this is the name of the file, not of the archive.
        """
        return None if self.path is None else self.path.partition("::")[0].rstrip("/").rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows in the source's own form: a list of row objects, or one Arrow record batch."""

    first_row: int
    rows: list[Any] | pa.RecordBatch
    """The rows themselves. After ``Source.give_tuples``, they can also be ``records.TupleRows``."""
    origins: tuple[Origin, ...] = ()
    """The files that the rows come from, in order; empty unless ``metadata_columns`` needs them."""

    @property
    def stop_row(self) -> int:
        """The position after the last row."""
        return self.first_row + len(self.rows)

    def part(self, start: int, rows: int) -> Chunk:
        """Return a chunk of up to ``rows`` of these rows, beginning at index ``start``."""
        chosen = self.rows[start : start + rows]
        origins = tuple(self.origins_of(self.first_row + start, len(chosen))) if self.origins else ()
        return Chunk(self.first_row + start, chosen, origins)

    def origins_of(self, first_row: int, rows: int) -> Iterator[Origin]:
        """Yield the origins of ``rows`` rows, of which the first is at position ``first_row``.

        Consecutive rows from the same file have one common origin.
        """
        before, stop_row = self.first_row, first_row + rows
        for origin in self.origins:
            start, stop = max(before, first_row), min(before + origin.rows, stop_row)
            if start < stop:
                yield Origin(origin.path, origin.first_row + start - before, stop - start)
            before += origin.rows


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows that are given to the SDK in one call. The service acknowledges all of them or none.

    ``payload`` is a list of protobuf messages (bytes), a list of JSON objects (str), or one Arrow record batch.
    ``nbytes`` is the size of the payload as the service counts it.
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
        """Split the batch into batches of about ``sqrt(rows)`` rows each, or of one row each if there are few rows.

        A single bad row is found by splitting the batch, and then the part that contains the bad row, until that part
        is one row. This takes two rounds for a batch of 10,000 rows, and three for one of 100,000.
        """
        return self.split(1 if self.rows <= _FEW_ROWS else math.isqrt(self.rows))

    def split(self, size: int) -> list[Batch]:
        """Split the batch into batches of ``size`` rows; the last one can be shorter."""
        batches = []
        for start in range(0, self.rows, size):
            rows = min(size, self.rows - start)
            payload = self.payload[start : start + rows]
            # The bytes of each row are unknown, so each part gets its share by rows; the sum stays the same.
            nbytes = self.nbytes * (start + rows) // self.rows - self.nbytes * start // self.rows
            batches.append(Batch(self.first_row + start, rows, nbytes, payload))
        return batches


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that does not fit the table.

    ``record`` is the row in the source's own form. ``fields`` holds the row's invalid fields, up to a limit.
    """

    row: int
    record: Any
    fields: tuple[BadField, ...]


class RowContent(Protocol):
    """The content of consecutive rows, as bytes for a digest.

    Columns that the delivery fills itself are left out.
    """

    def tracks(self, start: int, stop: int) -> Sequence[bytes | memoryview]:
        """Return the content of the rows ``start`` to ``stop - 1`` as several byte strings, called tracks.

        The number of tracks is the same for any range of rows. Equal rows have equal tracks in every process.
        Each track grows with the rows: track ``i`` of rows 0 to 9 is track ``i`` of rows 0 to 4, followed by track
        ``i`` of rows 5 to 9.
        """
        ...


ContentHook: TypeAlias = Callable[[int, int, RowContent], None]
"""A function that is called with the position of the first row, the number of rows, and their content."""


class Encoder(Protocol):
    """Converts chunks into batches that fit the service's limits. It is built for one table and one record format."""

    @property
    def record_format(self) -> RecordFormat:
        """The format of the payloads that ``encode`` yields."""
        ...

    @property
    def record_format_reason(self) -> str:
        """Why this record format is used, as a clause for the receipt."""
        ...

    @property
    def descriptor(self) -> bytes | None:
        """The serialized DescriptorProto that is needed to open a protobuf stream; None for the other formats."""
        ...

    @property
    def arrow_schema(self) -> pa.Schema | None:
        """The schema that is needed to open an Arrow stream; None for the other formats."""
        ...

    @property
    def block_rows(self) -> int:
        """The largest number of rows to pass to ``encode`` at once; more could take too long or too much memory."""
        ...

    def encode(
        self,
        chunk: Chunk,
        *,
        on_bad_row: Callable[[BadRow], None] | None = None,
        on_content: ContentHook | None = None,
    ) -> Iterator[Batch]:
        """Yield the rows of ``chunk`` as batches in row order; the rows and bytes of each batch are limited.

        A row that does not fit the table is passed to ``on_bad_row`` and left out; a batch ends before such a row.
        Without ``on_bad_row``, such a row raises RecordError before the first batch of the chunk is yielded; the error
        lists the bad rows and fields. ``on_content`` is called for each batch, in row order, before the batch is
        yielded.
        """
        ...

    def decode(self, batch: Batch, index: int) -> dict[str, Any]:
        """Decode the row at ``index`` of the batch's payload into JSON-compatible values, for a dead letter."""
        ...
