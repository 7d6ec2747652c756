"""Encodes Arrow record batches as payloads of each record format, and rows as Arrow record batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ...batch import BadRow, Batch, Chunk, ContentHook, RecordFormat
from ...records import UnreadableRecord, is_message
from ...schema.types import ArrayType, DataType, Kind, MapType, PrimitiveType, StructType
from ..filled import FilledColumns
from ..problems import FOREIGN_ERRORS, WHOLE_ROW, RowProblems, record_error
from ..rows.arrays import RowArrays
from ..rows.walk import ExactWalk
from ..values.arrow_types import plain_type, working_type
from ..values.rules import ConversionRules
from .columns import BadFields, ColumnCasts
from .content import ColumnsContent
from .pack import packer_for
from .rebuild import retype_nested
from .variant import check_variant

if TYPE_CHECKING:
    from ...errors import BadField
    from ...options import IngestOptions
    from ...schema import Field, TableSchema

__all__ = ["ArrowEncoder"]

_BLOCK_BYTES = 16 * 1024 * 1024


class ArrowEncoder:
    """Converts chunks to Arrow columns, and the columns to batches; see ``zerobus_core.batch.Encoder``.

    If ``is_arrow`` is True, a chunk holds an Arrow record batch or a list of UnreadableRecords. If ``is_arrow`` is
    False, a chunk holds rows. Raises SchemaError if the record format is protobuf and cannot carry the table.
    """

    def __init__(
        self,
        schema: TableSchema,
        options: IngestOptions,
        *,
        record_format: RecordFormat = "arrow",
        reason: str = "asked for",
        is_arrow: bool = True,
        filled: FilledColumns | None = None,
    ) -> None:
        self._table = schema.table
        self._options = options
        self._packer = packer_for(record_format, schema, options)
        self.block_rows = options.batch_rows
        self.record_format_reason = reason
        self._filled = filled or FilledColumns()
        own = self._filled.names
        self._types_of_filled = {
            column.name: working_type(column.type) for column in schema.columns if column.name in own
        }
        rules = ConversionRules.of(
            options,
            inner_nulls=record_format != "protobuf",
            check_variant=check_variant if record_format == "arrow" else None,
        )
        self._fields = tuple(column for column in schema.columns if column.name not in own)
        self._casts = ColumnCasts(schema, rules, own)

        def walk(*, wire_text: bool) -> ExactWalk:
            return ExactWalk(self._fields, replace(rules, wire_text=wire_text), reserved=own)

        self._row_arrays = (
            None if is_arrow or _has_variant(StructType(self._fields)) else RowArrays(self._fields, rules)
        )
        # The key says whether the rows are protobuf messages, which hold DECIMAL and VARIANT as text.
        self._walks = {} if is_arrow else {wire_text: walk(wire_text=wire_text) for wire_text in (False, True)}

    @property
    def record_format(self) -> RecordFormat:
        """The format of the payloads that ``encode`` yields."""
        return self._packer.record_format

    @property
    def descriptor(self) -> bytes | None:
        """See ``zerobus_core.batch.Encoder``."""
        return self._packer.descriptor

    @property
    def arrow_schema(self) -> pa.Schema | None:
        """See ``zerobus_core.batch.Encoder``."""
        return self._packer.arrow_schema

    def encode(
        self,
        chunk: Chunk,
        *,
        on_bad_row: Callable[[BadRow], None] | None = None,
        on_content: ContentHook | None = None,
    ) -> Iterator[Batch]:
        """Yield batches in row order; see ``zerobus_core.batch.Encoder``."""
        self._filled.begin(chunk)
        columns, bad = self._columns(chunk, is_strict=on_bad_row is None)
        batches: list[Batch] = []
        for start, stop in _runs(chunk, bad):
            offset = start - chunk.first_row
            part = {name: array.slice(offset, stop - start) for name, array in columns.items()}
            self._fill(part, start, stop)
            batches += self._packer.pack(part, start, bad)
        if bad:
            self._hand_over(chunk, bad, on_bad_row)
        self.block_rows = self._next_block(chunk, batches, bad)
        for batch in batches:
            if on_content is not None:
                start = batch.first_row - chunk.first_row
                content = {name: array.slice(start, batch.rows) for name, array in columns.items()}
                on_content(batch.first_row, batch.rows, ColumnsContent(content))
            yield batch

    def _next_block(self, chunk: Chunk, batches: list[Batch], bad: BadFields) -> int:
        """Return the largest number of rows for the next chunk.

        The number can be larger if a cast exists for each column of ``chunk`` and all rows fit. It is smaller if the
        rows are large.
        """
        is_quick = not bad and not isinstance(chunk.rows, list) and self._casts.are_whole(chunk.rows.schema)
        most = self._packer.block_rows if is_quick else self._options.batch_rows
        size = sum(batch.nbytes for batch in batches)
        return max(1, min(most, _BLOCK_BYTES * len(chunk.rows) // max(1, size)))

    def decode(self, batch: Batch, index: int) -> dict[str, Any]:
        """Decode a row to JSON-compatible wire values: days, microseconds, decimals as text, bytes as base64."""
        return self._packer.decode(batch, index)

    def _columns(self, chunk: Chunk, *, is_strict: bool) -> tuple[dict[str, pa.Array], BadFields]:
        if not self._walks:
            if isinstance(chunk.rows, list):
                return {}, {row: _unread(row, record) for row, record in enumerate(chunk.rows, chunk.first_row)}
            return self._casts.cast(chunk.rows, chunk.first_row, is_strict=is_strict)
        batch = self._row_arrays.quick_batch(chunk.rows) if self._row_arrays is not None else None
        if batch is not None:
            return {
                field.name: retype_nested(batch[field.name], working_type(field.type)) for field in self._fields
            }, {}
        bad: BadFields = {}
        members: list[dict[str, Any]] = []
        for row, record in enumerate(chunk.rows, chunk.first_row):
            problems = RowProblems(row)
            try:
                members.append(self._walks[is_message(type(record))].row(record, problems))
            except FOREIGN_ERRORS as error:
                problems.add_failure(record, error)
                members.append({})
            if problems.fields:
                bad[row] = problems.fields
                members[-1] = {}
        return {field.name: _column(members, field) for field in self._fields}, bad

    def _fill(self, columns: dict[str, pa.Array], start: int, stop: int) -> None:
        parts: dict[str, list[pa.Array]] = {name: [] for name in self._filled.names}
        for run in self._filled.runs(start, stop - start) if parts else ():
            for name, value in run.constants.items():
                parts[name].append(pa.repeat(pa.scalar(value, self._types_of_filled[name]), run.rows))
            for name, first in run.numbers.items():
                parts[name].append(pa.array(range(first, first + run.rows), pa.int64()))
        columns.update({name: pa.concat_arrays(arrays) for name, arrays in parts.items()})

    def _hand_over(self, chunk: Chunk, bad: BadFields, on_bad_row: Callable[[BadRow], None] | None) -> None:
        if on_bad_row is None:
            fields: list[BadField] = [field for row in sorted(bad) for field in bad[row]]
            raise record_error(self._table, fields)
        for row in sorted(bad):
            index = row - chunk.first_row
            record = chunk.rows[index] if isinstance(chunk.rows, list) else self._casts.record(chunk.rows, index)
            on_bad_row(BadRow(row, record, tuple(bad[row])))


def _unread(row: int, record: Any) -> list[BadField]:
    """Return the problems of a row that an Arrow source could not read; raise TypeError for any other row."""
    if not isinstance(record, UnreadableRecord):
        raise TypeError("the encoder of Arrow data was given a list of rows")
    problems = RowProblems(row)
    problems.add(WHOLE_ROW, record, "a row of the table", record.reason)
    return problems.fields


def _has_variant(kind: DataType) -> bool:
    if isinstance(kind, StructType):
        return any(_has_variant(field.type) for field in kind.fields)
    if isinstance(kind, ArrayType):
        return _has_variant(kind.element)
    return _has_variant(kind.value) if isinstance(kind, MapType) else kind == PrimitiveType(Kind.VARIANT)


def _column(members: list[dict[str, Any]], field: Field) -> pa.Array:
    values = [row.get(field.name) for row in members]
    return retype_nested(pa.array(values, plain_type(field.type)), working_type(field.type))


def _runs(chunk: Chunk, bad: BadFields) -> Iterator[tuple[int, int]]:
    """Yield the start and the stop of each range of consecutive rows that are not bad."""
    start = chunk.first_row
    for row in [*sorted(bad), chunk.stop_row]:
        if start < row:
            yield start, row
        start = row + 1
