"""Encodes rows as protobuf messages, with a descriptor made at run time and protobuf's C implementation (upb)."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import MutableSequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from ...schema.protobuf import file_descriptor
from .encoder import RowEncoder
from .messages import Messages

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor

    from ...batch import Batch, RecordFormat
    from ...options import IngestOptions
    from ...records import TupleRows
    from ...schema import TableSchema
    from ..filled import FilledColumns
    from .columnar import ColumnarRecords

# For fewer rows than this, importing pyarrow takes longer than the time that it saves.
_FEW_ROWS = 5_000
_COLUMNAR_BLOCK_ROWS = 5_000

__all__ = ["ProtobufEncoder", "members_of"]


class ProtobufEncoder(RowEncoder):
    """Encodes rows as serialized proto2 messages.

    If ``columnar`` is True and the table has no nested columns, rows are serialized column by column with pyarrow and
    ptars. For this, ptars must be installed and pass the check in the module ``columnar``. If pyarrow has not been
    imported yet, the first rows are serialized without pyarrow and ptars.
    """

    def __init__(
        self,
        schema: TableSchema,
        options: IngestOptions,
        *,
        reason: str,
        filled: FilledColumns,
        columnar: bool = True,
    ) -> None:
        super().__init__(schema, options, reason=reason, as_json=False, filled=filled)
        self.descriptor: bytes | None = schema.descriptor_proto()
        self._whole = Messages(FileDescriptorProto.FromString(self.descriptor))
        self._part, self._delivery = self._whole, None
        if self._reserved:
            # Encoded parts of a message can be concatenated: first the row's columns, then the ones that the delivery
            # fills.
            own = [column for column in schema.columns if column.name in self._reserved]
            self._part = Messages(file_descriptor(schema.table, self._fields))
            self._delivery = Messages(file_descriptor(schema.table, own))
        self._columnar: ColumnarRecords | None = None
        few_rows = 0 if "pyarrow" in sys.modules else _FEW_ROWS
        self._rows_until_columnar: int | None = few_rows if columnar else None

    @property
    def record_format(self) -> RecordFormat:
        """Always ``protobuf``: the payloads are lists of bytes."""
        return "protobuf"

    def _fast_payloads(self, rows: list[dict[str, Any]], first_row: int, *, wire_text: bool) -> tuple[list[bytes], int]:
        if self._rows_until_columnar is not None:
            self._count_towards_columnar(len(rows))
        if self._columnar is None or wire_text:
            return super()._fast_payloads(rows, first_row, wire_text=wire_text)
        return self._sized(self._columnar.records(rows), first_row)

    def _tuple_payloads(self, block: TupleRows, first_row: int) -> tuple[list[bytes], int] | None:
        if self._columnar is None:
            return None
        return self._sized(self._columnar.records(block), first_row)

    def _count_towards_columnar(self, rows: int) -> None:
        assert self._rows_until_columnar is not None
        self._rows_until_columnar -= rows
        if self._rows_until_columnar < 0:
            self._rows_until_columnar = None
            from .columnar import columnar_records

            self._columnar = columnar_records(self._fields, self._rules(wire_text=False), self._part)
            if self._columnar is not None:
                self._most_block_rows = _COLUMNAR_BLOCK_ROWS

    def _payloads(self, rows: list[dict[str, Any]], first_row: int) -> tuple[list[bytes], int]:
        return self._sized(self._part.serialized(rows), first_row)

    def _sized(self, records: list[bytes], first_row: int) -> tuple[list[bytes], int]:
        """Return ``records`` with the columns that the delivery fills, and their size in bytes."""
        if self._delivery is not None:
            filled = self._filled_columns(first_row, len(records))
            records = [record + columns for record, columns in zip(records, filled, strict=True)]
        return records, sum(map(len, records))

    def _filled_columns(self, first_row: int, rows: int) -> list[bytes]:
        assert self._delivery is not None
        return self._delivery.serialized(self._filled.values(first_row, rows))

    def _without_filled(self, records: list[bytes], first_row: int) -> list[bytes]:
        if self._delivery is None:
            return records
        filled = self._filled_columns(first_row, len(records))
        return [record[: -len(columns)] for record, columns in zip(records, filled, strict=True)]

    def decode(self, batch: Batch, index: int) -> dict[str, Any]:
        """Decode a row to JSON-compatible wire values: days, microseconds, decimals as text, bytes as base64.

        NaN and infinities become text, because JSON does not have them.
        """
        record = batch.payload[index]
        assert isinstance(record, bytes)
        return members_of(self._whole.row.FromString(record))


def members_of(message: Any) -> dict[str, Any]:
    """Return a message's fields as JSON-compatible wire values; leave out fields that are not set."""
    # json_format is not used: it fails for fields that are named like a method of the message, and makes text of int64.
    return {field.name: _field_value(field, value) for field, value in type(message).ListFields(message)}


def _field_value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        member = field.message_type.fields_by_name["value"]
        return {str(key): _json_value(member, value[key]) for key in value}
    if isinstance(value, MutableSequence):  # a repeated field, in protobuf 5 and 6 alike; their descriptors differ
        return [_json_value(field, item) for item in value]
    return _json_value(field, value)


def _json_value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return members_of(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return str(value) if isinstance(value, float) and not isfinite(value) else value
