"""Translates the messages of ``EphemeralStream``, the gRPC method of Zerobus, for ``ServedStream``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from ..decode.avro import AvroDecoder
from ..decode.decoder import MAX_RECORDS, Decoder, TableShape
from ..decode.json import JsonDecoder
from ..decode.protobuf import ProtobufDecoder
from ..status import invalid_error
from ..stream.stream import Request
from .call import Opened
from .messages import AVRO, JSON, PROTO, EphemeralStreamRequest, EphemeralStreamResponse

if TYPE_CHECKING:
    import pyarrow as pa

    from ..model.objects import Table

__all__ = ["EphemeralOpener", "EphemeralProtocol"]

_RECORD: Final = {PROTO: "proto_encoded_record", JSON: "json_record", AVRO: "avro_encoded_record"}
_BATCH: Final = {PROTO: "proto_encoded_batch", JSON: "json_batch", AVRO: "avro_batch"}
_FORMATS: Final = {PROTO: "protobuf", JSON: "json", AVRO: "avro"}


class EphemeralOpener:
    """Opens streams whose first message is ``create_stream``."""

    name = "grpc"

    def open(self, first_message: bytes, table: Table, stream_id: str) -> Opened:
        """Read ``create_stream`` and return the opened stream.

        Raises StatusError if ``create_stream`` is invalid, or if the schema in it does not fit the table.
        """
        create = _parsed_create(first_message)
        if create.table_name.lower() != table.full_name:
            raise invalid_error(
                f"create_stream is for table {create.table_name!r}, but the header is for {table.full_name!r}"
            )
        response = EphemeralStreamResponse()
        response.create_stream_response.stream_id = stream_id
        return Opened(
            protocol=EphemeralProtocol(create.record_type, _decoder(TableShape.of(table), create)),
            record_format=_FORMATS[create.record_type],
            answer=bytes(response.SerializeToString()),
        )


def _parsed_create(message: bytes) -> Any:
    request = _parsed(message)
    if request.WhichOneof("payload") != "create_stream":
        raise invalid_error("the first message of a stream must be create_stream")
    create = request.create_stream
    if create.record_type not in _FORMATS:
        known = ", ".join(f"{number} ({name})" for number, name in _FORMATS.items())
        raise invalid_error(f"record_type {create.record_type} is unknown or not set; known types are {known}")
    return create


def _decoder(shape: TableShape, create: Any) -> Decoder:
    if create.record_type == PROTO:
        return ProtobufDecoder(shape, create.descriptor_proto)
    if create.record_type == AVRO:
        return AvroDecoder(shape, create.avro_schema_json)
    return JsonDecoder(shape)


class EphemeralProtocol:
    """Parses the requests of a stream and builds the responses. All records of the stream have the same type."""

    def __init__(self, record_type: int, decoder: Decoder) -> None:
        self._record = _RECORD[record_type]
        self._batch = _BATCH[record_type]
        self._decoder = decoder

    def parse(self, message: bytes) -> Request:
        """Parse an ingest request; raise StatusError if it is invalid.

        A request must have an offset, and 1 to ``MAX_RECORDS`` records of the stream's type.
        """
        request = _parsed(message)
        kind = request.WhichOneof("payload")
        if kind == "ingest_record_batch":
            body = request.ingest_record_batch
            self._check_type(body.WhichOneof("batch"), self._batch)
            records = list(getattr(body, self._batch).records)
        elif kind == "ingest_record":
            body = request.ingest_record
            self._check_type(body.WhichOneof("record"), self._record)
            records = [getattr(body, self._record)]
        elif kind == "create_stream":
            raise invalid_error("create_stream can be sent only once; after it, send ingest requests")
        else:
            raise invalid_error("the request is empty; send ingest_record or ingest_record_batch")
        if not body.HasField("offset_id"):
            raise invalid_error("an ingest request needs offset_id")
        if not records:
            raise invalid_error(f"the batch with offset {body.offset_id} holds no records")
        if len(records) > MAX_RECORDS:
            raise invalid_error(
                f"the batch with offset {body.offset_id} holds {len(records)} records; send at most {MAX_RECORDS}"
            )
        return Request(body.offset_id, len(records), records, len(message))

    def decode(self, records: list[Any]) -> pa.RecordBatch:
        """Return a batch of the table's rows, one row per record."""
        return self._decoder.decode(records)

    def acknowledgement(self, offset: int, rows: int) -> bytes:  # ``rows`` is for Arrow Flight
        """Return an acknowledgement of all offsets up to and including ``offset``."""
        response = EphemeralStreamResponse()
        response.ingest_record_response.durability_ack_up_to_offset = offset
        return bytes(response.SerializeToString())

    def close_signal(self, seconds: float) -> bytes:
        """Return a CloseStreamSignal whose duration is ``seconds``."""
        response = EphemeralStreamResponse()
        response.close_stream_signal.duration.FromNanoseconds(int(seconds * 1e9))
        return bytes(response.SerializeToString())

    def _check_type(self, found: str | None, expected: str) -> None:
        if found != expected:
            raise invalid_error(f"the stream takes {expected}, but the request has {found or 'nothing'}")


def _parsed(message: bytes) -> Any:
    try:
        return EphemeralStreamRequest.FromString(message)
    except DecodeError as error:
        raise invalid_error(f"the message is not an EphemeralStreamRequest: {error}") from error
