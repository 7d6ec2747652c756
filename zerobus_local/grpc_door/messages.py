"""The protobuf messages of the Zerobus service and of Arrow Flight, built at import, without protoc.

Names and numbers are those of ``zerobus_service.proto`` (proto2, package ``databricks.zerobus``) in the SDK 1.10.0
source distribution. Two types differ, but their wire format is the same:

* A JSON record is a string in the SDK, and bytes here. Some implementations of protobuf cannot parse a string that is
  not valid UTF-8. As bytes, such a record reaches the decoder, which refuses the record like any other bad one.
* An enum in the SDK is an int32 here.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory

__all__ = [
    "AVRO",
    "JSON",
    "PROTO",
    "SERVICE",
    "EphemeralStreamRequest",
    "EphemeralStreamResponse",
    "FlightData",
    "PutResult",
]

_PACKAGE: Final = "databricks.zerobus"
SERVICE: Final = f"{_PACKAGE}.Zerobus"

# enum RecordType
PROTO: Final = 1
JSON: Final = 2
AVRO: Final = 4

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "int64": _Field.TYPE_INT64,
    # An enum is sent like an int32. As an int32, an unknown value is kept, so that the error can name it.
    "enum": _Field.TYPE_INT32,
}

# message -> [(field, number, type, oneof or "repeated" or None)]
_Messages: TypeAlias = dict[str, list[tuple[str, int, str, str | None]]]
_MESSAGES: Final[_Messages] = {
    "JsonRecordBatch": [("records", 1, "bytes", "repeated")],
    "ProtoEncodedRecordBatch": [("records", 1, "bytes", "repeated")],
    "AvroRecordBatch": [("records", 1, "bytes", "repeated")],
    "CreateIngestStreamRequest": [
        ("table_name", 1, "string", None),
        ("descriptor_proto", 3, "bytes", None),
        ("record_type", 4, "enum", None),
        ("avro_schema_json", 5, "string", None),
    ],
    "CreateIngestStreamResponse": [("stream_id", 1, "string", None)],
    "IngestRecordRequest": [
        ("offset_id", 1, "int64", None),
        ("proto_encoded_record", 2, "bytes", "record"),
        ("json_record", 3, "bytes", "record"),
        ("avro_encoded_record", 4, "bytes", "record"),
    ],
    "IngestRecordBatchRequest": [
        ("offset_id", 1, "int64", None),
        ("proto_encoded_batch", 2, "ProtoEncodedRecordBatch", "batch"),
        ("json_batch", 3, "JsonRecordBatch", "batch"),
        ("avro_batch", 4, "AvroRecordBatch", "batch"),
    ],
    "EphemeralStreamRequest": [
        ("create_stream", 1, "CreateIngestStreamRequest", "payload"),
        ("ingest_record", 2, "IngestRecordRequest", "payload"),
        ("ingest_record_batch", 3, "IngestRecordBatchRequest", "payload"),
    ],
    "IngestRecordResponse": [("durability_ack_up_to_offset", 1, "int64", None)],
    "CloseStreamSignal": [("duration", 1, ".google.protobuf.Duration", None)],
    "EphemeralStreamResponse": [
        ("create_stream_response", 1, "CreateIngestStreamResponse", "payload"),
        ("ingest_record_response", 2, "IngestRecordResponse", "payload"),
        ("close_stream_signal", 3, "CloseStreamSignal", "payload"),
    ],
}
# The part of Arrow's Flight.proto that DoPut needs. The flight descriptor (field 1) is not used, so it is left out.
_FLIGHT_PACKAGE: Final = "arrow.flight.protocol"
_FLIGHT_MESSAGES: Final[_Messages] = {
    "FlightData": [
        ("data_header", 2, "bytes", None),
        ("app_metadata", 3, "bytes", None),
        ("data_body", 1000, "bytes", None),
    ],
    "PutResult": [("app_metadata", 1, "bytes", None)],
}


def _file(package: str, messages: _Messages) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto2", dependency=[duration_pb2.DESCRIPTOR.name]
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field_name, number, type_name, group in fields:
            field = message.field.add(name=field_name, number=number, label=_Field.LABEL_OPTIONAL)
            if type_name in _SCALARS:
                field.type = _SCALARS[type_name]
            else:
                field.type = _Field.TYPE_MESSAGE
                field.type_name = type_name if type_name.startswith(".") else f".{package}.{type_name}"
            if group == "repeated":
                field.label = _Field.LABEL_REPEATED
            elif group is not None:
                if not message.oneof_decl:
                    message.oneof_decl.add(name=group)
                field.oneof_index = 0
    return file


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    duration = descriptor_pb2.FileDescriptorProto()
    duration_pb2.DESCRIPTOR.CopyToProto(duration)
    pool.Add(duration)
    classes = {}
    for package, messages in ((_PACKAGE, _MESSAGES), (_FLIGHT_PACKAGE, _FLIGHT_MESSAGES)):
        pool.Add(_file(package, messages))
        for name in messages:
            classes[name] = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
    return classes


_CLASSES: Final = _classes()
EphemeralStreamRequest: Final[Any] = _CLASSES["EphemeralStreamRequest"]
EphemeralStreamResponse: Final[Any] = _CLASSES["EphemeralStreamResponse"]
FlightData: Final[Any] = _CLASSES["FlightData"]
PutResult: Final[Any] = _CLASSES["PutResult"]
