"""Packs Arrow columns, after their casts, into payloads: Arrow record batches, protobuf messages or JSON objects."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from datetime import date
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ...batch import Batch, RecordFormat
from ...options import MAX_RECORD_BYTES
from ...records import UnfitError
from ...schema.arrow import arrow_schema, arrow_type
from ...schema.types import ArrayType, MapType, StructType
from ..batching import Records, byte_size, split_batches
from ..problems import WHOLE_ROW, RowProblems
from ..rows.fast_columns import NeedsWalkError, RowsConverter
from ..rows.json import json_records
from ..rows.walk import ExactWalk
from ..values.arrow_types import plain_type, working_type
from ..values.rules import ConversionRules
from ..values.scalars import scalar_converter
from .rebuild import retype_nested
from .variant import decoded_variant, variant_array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...options import IngestOptions
    from ...schema import DataType, Field, TableSchema
    from .columns import BadFields

__all__ = ["Packer", "packer_for"]

logger = logging.getLogger("zerobus_core")
# For fewer than about 10,000 rows, the time of a cast is mostly the fixed time of the call.
_CAST_ROWS = 20_000
# The number of rows of the first batch that both ptars and protobuf's own implementation encode, for a comparison.
_PROBED_ROWS = 64
# The errors of the fast path for rows that need the exact walk: its own, protobuf's and orjson's.
_NEEDS_WALK = (NeedsWalkError, UnfitError, ValueError, TypeError, ArithmeticError, LookupError)


class Packer(Protocol):
    """Makes batches from columns whose types are those that ``values.arrow_types.working_type`` returns."""

    record_format: RecordFormat
    descriptor: bytes | None
    arrow_schema: pa.Schema | None
    block_rows: int
    """The largest number of rows to cast and pack at once."""

    def pack(self, columns: Mapping[str, pa.Array], first_row: int, bad: BadFields) -> list[Batch]:
        """Return batches in row order.

        Rows that are too large, or that the record format cannot carry, are left out and added to ``bad``.
        """
        ...

    def decode(self, batch: Batch, index: int) -> dict[str, Any]:
        """See ``zerobus_core.batch.Encoder``."""
        ...


def packer_for(record_format: RecordFormat, schema: TableSchema, options: IngestOptions) -> Packer:
    """Return the packer of a record format; raise SchemaError if the format is protobuf and cannot carry the table."""
    if record_format == "arrow":
        return _ArrowPacker(schema, options)
    if record_format == "json":
        return _JsonPacker(schema, options)
    return _ProtobufPacker(schema, options)


def _too_large(row: int, size: int, bad: BadFields) -> None:
    problems = RowProblems(row)
    problems.add(WHOLE_ROW, {}, f"at most {MAX_RECORD_BYTES} bytes", f"has {size} bytes on the wire")
    bad[row] = problems.fields


class _ArrowPacker:
    """Makes record batches in the service's canonical schema; cuts them by slicing, which copies nothing."""

    record_format: RecordFormat = "arrow"
    descriptor: bytes | None = None

    def __init__(self, schema: TableSchema, options: IngestOptions) -> None:
        self._options = options
        self._columns = schema.columns
        self._types = [
            (column.name, None if _is_final(column.type) else arrow_type(column.type)) for column in schema.columns
        ]
        self.arrow_schema: pa.Schema | None = arrow_schema(schema.columns)
        self.block_rows = max(options.batch_rows, _CAST_ROWS)

    def pack(self, columns: Mapping[str, pa.Array], first_row: int, bad: BadFields) -> list[Batch]:
        arrays = [
            columns[name] if target is None else variant_array(columns[name], target) for name, target in self._types
        ]
        whole = pa.RecordBatch.from_arrays(arrays, schema=self.arrow_schema)
        size, step = whole.nbytes, self._options.batch_rows
        if size <= self._options.batch_bytes:  # so every piece fits; measuring one takes longer than slicing
            return Batch(first_row=first_row, rows=len(whole), nbytes=size, payload=whole).split(step)
        batches: list[Batch] = []
        for start in range(0, len(whole), step):
            self._cut(whole.slice(start, step), first_row + start, batches, bad)
        return batches

    def _cut(self, piece: pa.RecordBatch, row: int, batches: list[Batch], bad: BadFields) -> None:
        size = piece.nbytes
        if size > self._options.batch_bytes and len(piece) > 1:
            half = len(piece) // 2
            self._cut(piece.slice(0, half), row, batches, bad)
            self._cut(piece.slice(half), row + half, batches, bad)
        elif size > MAX_RECORD_BYTES:
            _too_large(row, size, bad)
        else:
            batches.append(Batch(first_row=row, rows=len(piece), nbytes=size, payload=piece))

    def decode(self, batch: Batch, index: int) -> dict[str, Any]:
        row: pa.RecordBatch = batch.payload
        values = {column.name: row.column(column.name)[index].as_py() for column in self._columns}
        return _wired_members(values, self._columns)


def _is_final(kind: DataType) -> bool:
    """Return whether a column's working type is the type that the service expects, and is not nested."""
    target = arrow_type(kind)
    return not pa.types.is_nested(target) and bool(target.equals(working_type(kind)))


def _wired_members(values: Mapping[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    """Convert Python values to their wire form (days, microseconds, text); leave out fields that are null."""
    return {
        field.name: _wired(values[field.name], field.type) for field in fields if values.get(field.name) is not None
    }


def _wired(value: Any, kind: DataType) -> Any:
    if isinstance(value, list):
        if isinstance(kind, MapType):
            return {str(_wired(key, kind.key)): _wired(item, kind.value) for key, item in value}
        return [_wired(item, kind.element) for item in value] if isinstance(kind, ArrayType) else value
    if isinstance(value, dict):
        if isinstance(kind, StructType):
            return _wired_members(value, kind.fields)
        return decoded_variant(value["metadata"], value["value"])
    if isinstance(value, date | bytes):
        return scalar_converter(kind, ConversionRules(as_json=True, epoch_unit="us"))(value)
    return value


class _RecordPacker(ABC):
    """The base class of the packers for protobuf and JSON records."""

    arrow_schema: pa.Schema | None = None

    def __init__(self, schema: TableSchema, options: IngestOptions, *, as_json: bool) -> None:
        self._options = options
        self.block_rows = options.batch_rows
        rules = ConversionRules(as_json=as_json, wire_text=True, inner_nulls=as_json, refuse_unknown=as_json)
        self._walk = ExactWalk(schema.columns, rules)
        self._convert = RowsConverter(schema.columns, rules)
        self._plain = pa.schema([pa.field(column.name, plain_type(column.type)) for column in schema.columns])

    @abstractmethod
    def _payloads(self, rows: list[Any]) -> Records:
        """Return the records of ``rows``, which are dicts of wire values."""

    def _records(self, plain: pa.RecordBatch, first_row: int, bad: BadFields) -> Records:
        """Return one record per row; a row that the format cannot carry gets None and is added to ``bad``."""
        rows = plain.to_pylist()
        try:
            return self._payloads(self._convert(rows))
        except _NEEDS_WALK:
            members = self._members(rows, first_row, bad)
            records = iter(self._payloads([row for row in members if row is not None]))
            return [None if row is None else next(records) for row in members]

    def _plain_batch(self, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
        arrays = [retype_nested(columns[field.name], field.type) for field in self._plain]
        return pa.RecordBatch.from_arrays(arrays, schema=self._plain)

    def _cut(self, records: Records, first_row: int, bad: BadFields) -> list[Batch]:
        sizes = [0 if record is None else byte_size(record) for record in records]
        for index, size in enumerate(sizes):
            if size > MAX_RECORD_BYTES:
                _too_large(first_row + index, size, bad)
                records[index] = None
        batches: list[Batch] = []
        start = 0
        for is_good, group in groupby(records, key=lambda record: record is not None):
            run = list(group)
            if is_good:
                nbytes = sum(sizes[start : start + len(run)])
                batches += split_batches(first_row + start, run, self._options, nbytes=nbytes)
            start += len(run)
        return batches

    def _members(self, rows: list[Any], first_row: int, bad: BadFields) -> list[dict[str, Any] | None]:
        walked: list[dict[str, Any] | None] = []
        for row, record in enumerate(rows, first_row):
            problems = RowProblems(row)
            members = self._walk.row(record, problems)
            if problems.fields:
                bad[row] = problems.fields
            walked.append(None if problems.fields else members)
        return walked


class _JsonPacker(_RecordPacker):
    """Makes one JSON object from the dict of each row."""

    record_format: RecordFormat = "json"
    descriptor: bytes | None = None

    def __init__(self, schema: TableSchema, options: IngestOptions) -> None:
        super().__init__(schema, options, as_json=True)

    def pack(self, columns: Mapping[str, pa.Array], first_row: int, bad: BadFields) -> list[Batch]:
        return self._cut(self._records(self._plain_batch(columns), first_row, bad), first_row, bad)

    def _payloads(self, rows: list[Any]) -> list[str]:
        records, _ = json_records(rows)
        return records

    def decode(self, batch: Batch, index: int) -> dict[str, Any]:
        decoded: dict[str, Any] = orjson.loads(batch.payload[index])
        return decoded


class _ProtobufPacker(_RecordPacker):
    """Makes protobuf messages with ptars if possible, otherwise with protobuf's C implementation.

    ptars is young (0.0.x), and silently skips values that it does not expect. So ptars is used only for tables without
    maps, and only if its result for the first rows of the delivery equals that of protobuf's C implementation.
    """

    record_format: RecordFormat = "protobuf"

    def __init__(self, schema: TableSchema, options: IngestOptions) -> None:
        from google.protobuf.descriptor_pb2 import FileDescriptorProto  # protobuf is imported for protobuf only

        from ..rows.columnar import ptars_handler
        from ..rows.messages import Messages
        from ..rows.protobuf import members_of

        super().__init__(schema, options, as_json=False)
        self.descriptor: bytes | None = schema.descriptor_proto()
        self._messages = Messages(FileDescriptorProto.FromString(self.descriptor))
        self._message: Any = self._messages.row
        self._decoded = members_of
        self._handler = None if _has_map(self._plain) else ptars_handler(self._message.DESCRIPTOR)
        self._is_probed = False

    def pack(self, columns: Mapping[str, pa.Array], first_row: int, bad: BadFields) -> list[Batch]:
        plain = self._plain_batch(columns)
        if self._handler is not None and not self._is_probed and len(plain):
            self._is_probed = True
            self._probe(self._handler, plain.slice(0, _PROBED_ROWS))
        if self._handler is not None:
            return self._batches(self._handler.record_batch_to_array(plain), first_row, bad)
        return self._cut(self._records(plain, first_row, bad), first_row, bad)

    def _payloads(self, rows: list[Any]) -> list[bytes]:
        return self._messages.serialized(rows)

    def _batches(self, records: pa.Array, first_row: int, bad: BadFields) -> list[Batch]:
        size = pc.sum(pc.binary_length(records)).as_py() or 0
        # Nearly every chunk is one batch; then the records need not be measured one by one.
        if 0 < len(records) <= self._options.batch_rows and size <= self._options.batch_bytes:
            return [Batch(first_row=first_row, rows=len(records), nbytes=size, payload=records.to_pylist())]
        return self._cut(records.to_pylist(), first_row, bad)

    def _probe(self, handler: Any, plain: pa.RecordBatch) -> None:
        fast = [self._message.FromString(record) for record in handler.record_batch_to_array(plain).to_pylist()]
        exact = [self._message(**row) for row in self._members(plain.to_pylist(), 0, {}) if row is not None]
        # Bytes are compared, because NaN is not equal to itself.
        if [_stable(message) for message in fast] != [_stable(message) for message in exact]:
            logger.warning("ptars encodes rows of this table differently from protobuf, so it is not used for them")
            self._handler = None

    def decode(self, batch: Batch, index: int) -> dict[str, Any]:
        return self._decoded(self._message.FromString(batch.payload[index]))


def _stable(message: Any) -> bytes:
    return bytes(type(message).SerializeToString(message, deterministic=True))


def _has_map(schema: pa.Schema) -> bool:
    def is_inside(kind: pa.DataType) -> bool:
        if pa.types.is_map(kind):
            return True
        return any(is_inside(kind.field(i).type) for i in range(kind.num_fields))

    return any(is_inside(field.type) for field in schema)
