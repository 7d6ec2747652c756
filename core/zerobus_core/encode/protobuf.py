"""Rows as protobuf messages, by a descriptor made at run time and the C implementation (upb) of protobuf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from .rows import RowEncoder

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from ..batch import Batch, RecordFormat
    from ..options import IngestOptions
    from ..schema import TableSchema

__all__ = ["ProtobufEncoder"]


class ProtobufEncoder(RowEncoder):
    """Rows to serialized proto2 messages."""

    def __init__(self, schema: TableSchema, options: IngestOptions, *, reason: str, delivery_id: str | None) -> None:
        super().__init__(schema, options, reason=reason, as_json=False, delivery_id=delivery_id)
        self.descriptor: bytes | None = schema.descriptor_proto()
        self._message = message_class(self.descriptor)
        self._delivery_id = delivery_id
        columns = options.delivery_columns or {}
        self._id_column, self._row_column = columns.get("delivery_id", ""), columns.get("row_number", "")

    @property
    def record_format(self) -> RecordFormat:
        """The payloads are lists of bytes."""
        return "protobuf"

    def _record(self, members: dict[str, Any], row: int) -> bytes:
        if self._delivery_id is not None:
            members[self._id_column] = self._delivery_id
            members[self._row_column] = row
        # Called on the class, because a column may be named like a method of the message.
        return self._message.SerializeToString(self._message(**members))

    def decode(self, batch: Batch, index: int) -> dict[str, Any]:
        """The row as JSON-able values, in wire form: days, microseconds, decimals as text, bytes as base64."""
        record = batch.payload[index]
        assert isinstance(record, bytes)
        message = self._message.FromString(record)
        text = json_format.MessageToJson(message, preserving_proto_field_name=True)
        decoded: dict[str, Any] = orjson.loads(text)
        return decoded


def message_class(file_descriptor: bytes) -> type[Message]:
    """The message class of the first message of a file, in a pool of its own."""
    file = FileDescriptorProto.FromString(file_descriptor)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file_descriptor)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(file.message_type[0].name))
