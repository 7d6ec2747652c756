"""The base class of the protobuf and JSON encoders; it handles bad rows, limits, batches and filled columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...batch import BadRow, Batch, Chunk, ContentHook
from ...options import MAX_RECORD_BYTES, IngestOptions
from ...records import TupleRows, UnfitError, in_case_of, is_message
from ...schema.types import ArrayType, DataType, Field, MapType, StructType
from ..batching import Records, byte_size, split_batches
from ..content import RecordsContent
from ..problems import FOREIGN_ERRORS, MAX_BAD_FIELDS, WHOLE_ROW, RowProblems, record_error
from ..values.rules import ConversionRules
from .fast_columns import NeedsWalkError, RowsConverter, as_dicts
from .walk import ExactWalk

if TYPE_CHECKING:
    import pyarrow as pa

    from ...errors import BadField
    from ...schema import TableSchema
    from ..filled import FilledColumns

__all__ = ["RowEncoder"]

# A block of rows has about this many values, which stay in the processor's cache. It has enough rows that the fixed
# cost of a block hardly counts, and few enough that a bad row does not make many rows take the exact walk.
_BLOCK_VALUES = 4_000
_LEAST_BLOCK_ROWS, _BLOCK_ROWS = 200, 500
_FIRST_BLOCK_ROWS = 50
_BLOCK_BYTES = 4 * 1024 * 1024

# The errors that the fast path raises for rows that do not fit: its own errors, those of protobuf and orjson
# (ValueError, TypeError), and errors that a record's own methods raise when its members are read.
_UNFIT = (NeedsWalkError, UnfitError, *FOREIGN_ERRORS)


@dataclass(slots=True)
class _Run:
    """The records of consecutive rows, and their size in bytes."""

    first_row: int
    records: Records
    nbytes: int

    def add(self, following: _Run) -> None:
        """Add the records of the following rows."""
        self.records += following.records
        self.nbytes += following.nbytes


class RowEncoder(ABC):
    """Converts chunks of row objects to batches, with one record per row. Not thread-safe."""

    def __init__(
        self, schema: TableSchema, options: IngestOptions, *, reason: str, as_json: bool, filled: FilledColumns
    ) -> None:
        self._table = schema.table
        self._options = options
        self._as_json = as_json
        self._filled = filled
        self.record_format_reason = reason
        self._reserved = filled.names
        # Columns that the delivery fills are not part of the row; supplying them is an error.
        self._fields = tuple(column for column in schema.columns if column.name not in self._reserved)
        self._names_of_table = {field.name for field in self._fields}
        self._has_other_case = False
        """Whether to correct the case of column names first; set after the fast path failed for unknown names."""
        # The key says whether the rows are protobuf messages, which hold DECIMAL and VARIANT as text. Each pair is made
        # when its first row comes, because most deliveries need only one pair.
        self._ways: dict[bool, tuple[RowsConverter, ExactWalk]] = {}
        self._block_rows = _FIRST_BLOCK_ROWS
        self._most_block_rows = max(_LEAST_BLOCK_ROWS, min(_BLOCK_ROWS, _BLOCK_VALUES // _width(self._fields)))
        self._is_digested = False
        """Whether equal rows must become equal records, whatever the order of the keys in their dicts."""

    @property
    def block_rows(self) -> int:
        """The largest number of rows to pass to ``encode`` at once; a batch has the same limit."""
        return self._options.batch_rows

    @property
    def arrow_schema(self) -> pa.Schema | None:
        """Always None: the payloads are records, not Arrow batches."""
        return None

    @abstractmethod
    def _payloads(self, rows: list[dict[str, Any]], first_row: int) -> tuple[Records, int]:
        """Return the records of ``rows`` and their size in bytes.

        The rows are dicts of wire values. ``first_row`` is the first row's position.
        """

    def _without_filled(self, records: Records, first_row: int) -> Records:
        """Return ``records`` without the columns that the delivery fills.

        ``first_row`` is the position of the first record's row.
        """
        return records

    def encode(
        self,
        chunk: Chunk,
        *,
        on_bad_row: Callable[[BadRow], None] | None = None,
        on_content: ContentHook | None = None,
    ) -> Iterator[Batch]:
        """Yield batches in row order; see ``zerobus_core.batch.Encoder``."""
        self._is_digested = on_content is not None
        rows = chunk.rows
        if not isinstance(rows, list | TupleRows):
            raise TypeError(f"the rows of a chunk must be a list or TupleRows, not {type(rows).__name__}")
        self._filled.begin(chunk)
        runs = [_Run(chunk.first_row, [], 0)]
        unfit: list[BadField] = []
        for encoded in self._encoded(rows, chunk.first_row):
            if isinstance(encoded, _Run):
                runs[-1].add(encoded)
                continue
            row = encoded.row
            if on_bad_row is not None:
                on_bad_row(BadRow(row, rows[row - chunk.first_row], tuple(encoded.fields)))
            else:
                unfit += encoded.fields
                if len(unfit) >= MAX_BAD_FIELDS:
                    break
            runs.append(_Run(row + 1, [], 0))
        if unfit:
            raise record_error(self._table, unfit)
        for run in runs:
            records = run.records
            for batch in split_batches(run.first_row, records, self._options, nbytes=run.nbytes):
                if on_content is not None:
                    start = batch.first_row - run.first_row
                    part = records[start : start + batch.rows] if batch.rows < len(records) else records
                    content = RecordsContent(self._without_filled(part, batch.first_row))
                    on_content(batch.first_row, batch.rows, content)
                yield batch

    def _encoded(self, rows: list[Any] | TupleRows, first_row: int) -> Iterator[_Run | RowProblems]:
        """Yield the records of rows that fit, and the problems of each row that does not, in row order."""
        start = 0
        while start < len(rows):
            block = rows[start : start + self._block_rows]
            yield from self._encoded_block(block, first_row + start)
            start += len(block)

    def _encoded_block(self, block: list[Any] | TupleRows, first_row: int) -> Iterator[_Run | RowProblems]:
        run = self._of_tuples(block, first_row) if isinstance(block, TupleRows) else self._fast(block, first_row)
        if run is not None:
            yield run
        elif len(block) > _BLOCK_ROWS:  # the exact walk is slow, so only the part that needs it is walked
            for start in range(0, len(block), _BLOCK_ROWS):
                yield from self._encoded_block(block[start : start + _BLOCK_ROWS], first_row + start)
        else:
            for row, record in enumerate(block, first_row):
                yield self._walked(record, row)

    def _of_tuples(self, block: TupleRows, first_row: int) -> _Run | None:
        """Return the records of a block of tuples; return None if a row needs the exact walk.

        The tuples are converted to dicts only if the tuples themselves cannot be encoded.
        """
        try:
            payloads = self._tuple_payloads(block, first_row)
        except _UNFIT:
            payloads = None
        return self._fast(list(block), first_row) if payloads is None else self._within_limit(first_row, *payloads)

    def _fast(self, block: list[Any], first_row: int) -> _Run | None:
        """Return the records of a block; return None if a row needs the exact walk."""
        types = set(map(type, block))
        ways = set(map(is_message, types))
        if len(ways) > 1:  # the exact walk uses the right rules for each row
            return None
        try:
            named = self._cased(block) if self._has_other_case else block
            rows = as_dicts(named, types, self._names_of_table)
            records, nbytes = self._fast_payloads(rows, first_row, wire_text=ways.pop())
        except _UNFIT:
            if self._has_other_case or (cased := self._cased(block)) is block:
                return None
            self._has_other_case = True
            return self._fast(cased, first_row)
        return self._within_limit(first_row, records, nbytes)

    def _within_limit(self, first_row: int, records: Records, nbytes: int) -> _Run | None:
        """Return ``records`` as a run; return None if one of them is too large.

        Also set the number of rows of the next block: the larger these records are, the fewer rows the next block has.
        """
        self._block_rows = max(1, min(self._most_block_rows, _BLOCK_BYTES * len(records) // (nbytes + 1)))
        is_within = nbytes <= MAX_RECORD_BYTES or max(map(byte_size, records)) <= MAX_RECORD_BYTES
        return _Run(first_row, records, nbytes) if is_within else None

    def _add_field(self, field: Field) -> None:
        """Accept ``field`` in rows, although it is not a column of the table.

        Call this method before the first row is encoded.
        """
        self._fields = (*self._fields, field)
        self._names_of_table.add(field.name)

    def _cased(self, block: list[Any]) -> list[Any]:
        """Return the rows of a block with the case of column names corrected.

        A name that differs from a column's name only in case is replaced by the column's name. Return ``block`` itself
        if it has no unknown names, if a row is not a dict, or if a corrected row would have the same column twice.
        """
        names = self._names_of_table
        if any(type(row) is not dict for row in block) or all(names >= row.keys() for row in block):
            return block
        try:
            return [row if names >= row.keys() else in_case_of(row, names) for row in block]
        except UnfitError:
            return block  # the exact walk reports the row

    def _fast_payloads(self, rows: list[dict[str, Any]], first_row: int, *, wire_text: bool) -> tuple[Records, int]:
        """Return the records of rows and their size in bytes.

        If a row needs the exact walk, one of the errors in ``_UNFIT`` is raised. ``wire_text`` is True if the rows were
        protobuf messages, in which decimals are text. A block never mixes messages with other rows.
        """
        convert, _ = self._way(wire_text)
        return self._payloads(convert(rows), first_row)

    def _tuple_payloads(self, block: TupleRows, first_row: int) -> tuple[Records, int] | None:
        """Return the records of a block and their size; return None if the tuples must first be converted to dicts."""
        return None

    def _walked(self, record: Any, row: int) -> _Run | RowProblems:
        _, walk = self._way(is_message(type(record)))
        problems = RowProblems(row)
        try:
            members = walk.row(record, problems)
            if problems.fields:
                return problems
            records, size = self._payloads([members], row)
        except _UNFIT as error:
            problems.add_failure(record, error)
            return problems
        if size > MAX_RECORD_BYTES:
            reason = f"too large: {size} bytes when encoded"
            problems.add(WHOLE_ROW, record, f"at most {MAX_RECORD_BYTES} bytes", reason)
            return problems
        return _Run(row, records, size)

    def _way(self, wire_text: bool) -> tuple[RowsConverter, ExactWalk]:
        if wire_text not in self._ways:
            rules = self._rules(wire_text=wire_text)
            walk = ExactWalk(self._fields, rules, reserved=self._reserved)
            self._ways[wire_text] = RowsConverter(self._fields, rules), walk
        return self._ways[wire_text]

    def _rules(self, *, wire_text: bool) -> ConversionRules:
        return ConversionRules.of(
            self._options,
            as_json=self._as_json,
            wire_text=wire_text,
            inner_nulls=self._as_json,
            refuse_unknown=self._as_json,
        )


def _width(fields: Iterable[Field]) -> int:
    """Return the number of values in a row whose lists and maps have one element each, but at least 1.

    Keys of maps are not counted.
    """
    return max(1, sum(_values_in(field.type) for field in fields))


def _values_in(kind: DataType) -> int:
    if isinstance(kind, StructType):
        return _width(kind.fields)
    if isinstance(kind, ArrayType):
        return _values_in(kind.element)
    return _values_in(kind.value) if isinstance(kind, MapType) else 1
