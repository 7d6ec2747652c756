"""Zerobus's form of Arrow Flight ``DoPut``: the client sends Arrow IPC frames, the server answers with JSON.

The first frame is the schema. The first answer is the ready signal: offset -1 and 0 records. Each later frame is one
record batch, and its ``app_metadata`` is ``{"offset_id": N}``. N is 0 for the first batch of a stream, and
increases by one with each batch. Each answer has ``ack_up_to_offset``, and ``ack_up_to_records``, which is the number
of rows acknowledged since the stream began. Source: ``rust/sdk/src/stream/arrow/{metadata,connection}.rs`` in SDK
1.10.0.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import orjson
import pyarrow as pa
from google.protobuf.message import DecodeError

from ..decode.columns import conform
from ..decode.decoder import MAX_RECORD_BYTES, MAX_RECORDS, TableShape
from ..decode.refusal import RefusedRecordError
from ..decode.variant_columns import with_variant_texts
from ..status import invalid_error
from ..stream.stream import Request
from .call import Opened
from .flight_schema import check_schema
from .messages import FlightData, PutResult

if TYPE_CHECKING:
    from ..model.objects import Table

__all__ = ["FLIGHT_SERVICE", "FlightOpener", "FlightProtocol"]

FLIGHT_SERVICE: Final = "arrow.flight.protocol.FlightService"
_CONTINUATION: Final = b"\xff\xff\xff\xff"
_ALIGNMENT: Final = 8
_READY_OFFSET: Final = -1
_INVALID: Final = (pa.ArrowException, OSError, EOFError, ValueError)


class FlightOpener:
    """Opens streams whose first frame is an Arrow schema."""

    name = "flight"

    def open(self, first_message: bytes, table: Table, stream_id: str) -> Opened:  # Flight sends no stream id
        """Read the Arrow schema. If the schema does not fit the table, raise a StatusError that has an ErrorInfo."""
        frame = _parsed(first_message)
        shape = TableShape.of(table)
        try:
            # Not pa.ipc.read_schema: it reads any message as a schema, and was seen to crash on other messages.
            schema = pa.ipc.open_stream(pa.py_buffer(_encapsulated(frame.data_header, b""))).schema
            # Inside the try, because a name that is not valid UTF-8 raises an error only when it is read.
            check_schema(schema, shape)
        except _INVALID as error:
            raise invalid_error(f"the first frame must hold an Arrow schema: {error}") from error
        return Opened(
            protocol=FlightProtocol(schema, shape), record_format="arrow", answer=_put_result(_READY_OFFSET, 0, None)
        )


class FlightProtocol:
    """Parses the frames and builds the answers of one stream."""

    def __init__(self, schema: pa.Schema, shape: TableShape) -> None:
        self._schema = schema
        self._shape = shape
        self._acknowledged = (_READY_OFFSET, 0)

    def parse(self, message: bytes) -> Request:
        """Return the request in a frame; raise StatusError if the frame is invalid.

        A frame must have one record batch of the stream's schema, with 1 to ``MAX_RECORDS`` rows.
        """
        frame = _parsed(message)
        offset = _offset(frame.app_metadata)
        try:
            ipc = pa.ipc.read_message(pa.py_buffer(_encapsulated(frame.data_header, frame.data_body)))
            if ipc.type != "record batch":
                raise invalid_error(
                    f"the frame with offset {offset} is a {ipc.type}, not a record batch; convert dictionaries "
                    "to plain values"
                )
            batch = pa.ipc.read_record_batch(ipc, self._schema)
            batch.validate(full=True)
        except _INVALID as error:
            raise invalid_error(
                f"the frame with offset {offset} does not hold a valid record batch of the stream's schema: {error}"
            ) from error
        if not batch.num_rows:
            raise invalid_error(f"the batch with offset {offset} holds no rows")
        if batch.num_rows > MAX_RECORDS:
            raise invalid_error(
                f"the batch with offset {offset} holds {batch.num_rows} rows; send at most {MAX_RECORDS}"
            )
        return Request(offset, batch.num_rows, [batch], len(message))

    def decode(self, records: list[Any]) -> pa.RecordBatch:
        """Combine the batches in ``records`` into one batch with the columns of the table."""
        whole = records[0] if len(records) == 1 else pa.Table.from_batches(records).combine_chunks().to_batches()[0]
        if whole.nbytes > MAX_RECORD_BYTES:
            _refuse_large_rows(whole)
        columns = dict(zip(self._schema.names, whole.columns, strict=True))
        for field in self._shape.schema:
            if field.name in columns and "variant" in str(self._shape.types[field.name]):
                columns[field.name] = with_variant_texts(columns[field.name], field.type, field.name)
        return conform(columns, whole.num_rows, self._shape)

    def acknowledgement(self, offset: int, rows: int) -> bytes:
        """Return an acknowledgement of all offsets up to and including ``offset``.

        ``rows`` is the total number of rows that were sent at these offsets.
        """
        self._acknowledged = (offset, rows)
        return _put_result(offset, rows, None)

    def close_signal(self, seconds: float) -> bytes:
        """Return the last acknowledgement again, and announce in it that the stream ends in ``seconds`` seconds."""
        return _put_result(*self._acknowledged, seconds)


def _parsed(message: bytes) -> Any:
    try:
        return FlightData.FromString(message)
    except DecodeError as error:
        raise invalid_error(f"the message is not a FlightData: {error}") from error


def _encapsulated(header: bytes, body: bytes) -> bytes:
    """Return the header and the body as one IPC message in the form that pyarrow reads."""
    padding = -(len(_CONTINUATION) + 4 + len(header)) % _ALIGNMENT
    size = (len(header) + padding).to_bytes(4, "little")
    return b"".join([_CONTINUATION, size, header, bytes(padding), body])


def _offset(app_metadata: bytes) -> int:
    try:
        offset = orjson.loads(app_metadata)["offset_id"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise invalid_error('app_metadata of a batch must be JSON such as {"offset_id": 0}') from error
    if not isinstance(offset, int) or isinstance(offset, bool):
        raise invalid_error(f"offset_id {offset!r} is not a whole number")
    return offset


def _put_result(offset: int, rows: int, close_in: float | None) -> bytes:
    metadata: dict[str, int] = {"ack_up_to_offset": offset, "ack_up_to_records": rows}
    if close_in is not None:
        metadata["close_stream_duration_ms"] = int(close_in * 1000)
    return bytes(PutResult(app_metadata=json.dumps(metadata).encode()).SerializeToString())


def _refuse_large_rows(batch: pa.RecordBatch) -> None:
    """Raise RefusedRecordError for the first row that is larger than the limit for a record.

    This function is called only for batches that are larger than that limit: a smaller batch has only smaller rows.
    """
    for row in range(batch.num_rows):
        nbytes = batch.slice(row, 1).nbytes
        if nbytes > MAX_RECORD_BYTES:
            raise RefusedRecordError(row, None, f"{nbytes} bytes; a record holds at most {MAX_RECORD_BYTES} bytes")
