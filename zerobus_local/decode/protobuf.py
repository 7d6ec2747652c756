"""Decodes protobuf records to Arrow with ``ptars``, which creates no Python object for a record.

Protobuf parsers ignore unknown fields. So a field would be lost silently if the descriptor lacks it or gives it another
wire type. The service's documentation says that records with unknown fields are refused. To find unknown fields, this
decoder encodes each decoded record again. If the bytes differ from those of the received record, the decoder checks the
record field by field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ptars
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.unknown_fields import UnknownFieldSet

from ..status import StatusError, invalid_error
from .columns import conform, first_failing
from .decoder import check_sizes
from .protobuf_schema import PACKAGE, checked_descriptor
from .refusal import RefusedRecordError
from .variant_columns import check_variant_texts

if TYPE_CHECKING:
    from .decoder import TableShape

__all__ = ["ProtobufDecoder"]


class ProtobufDecoder:
    """Decodes protobuf records of the message type that ``descriptor``, a serialized DescriptorProto, describes.

    The constructor raises StatusError if ``descriptor`` is invalid or if the message type does not fit the table. If
    the message type does not fit, the error has the code 8001.
    """

    def __init__(self, shape: TableShape, descriptor: bytes) -> None:
        message = checked_descriptor(shape, descriptor)
        self._shape = shape
        self._names = [field.name for field in message.field]
        self._handler, self._message = _handler(shape.table, message)

    def decode(self, records: list[bytes]) -> pa.RecordBatch:
        """Return one row per record, in order."""
        check_sizes(records)
        try:
            decoded = self._arrow(records)
        except ValueError as error:
            record = first_failing(records, self._arrow) or 0
            raise RefusedRecordError(record, None, f"is not a message of the stream's descriptor: {error}") from error
        self._refuse_unknown(records, decoded)
        columns = dict(zip(self._names, decoded.columns, strict=True))
        batch = conform(columns, len(records), self._shape)
        check_variant_texts(batch, self._shape.types)
        return batch

    def _arrow(self, records: list[bytes]) -> pa.RecordBatch:
        """Convert the records to Arrow; raise ValueError if a record cannot be converted."""
        try:
            return self._handler.list_to_record_batch(records)
        except BaseException as error:
            # ptars panics, for example, if the entry of a map leaves out a value that is a message.
            if not _is_panic(error):
                raise
            raise ValueError(f"zerobus-local cannot read it: {error}") from None

    def _refuse_unknown(self, records: list[bytes], decoded: pa.RecordBatch) -> None:
        again = self._handler.record_batch_to_array(decoded)
        received = pa.array(records, again.type)
        if again.equals(received):
            return
        # Other bytes do not prove an unknown field: a client can also encode the same message in another way, for
        # example with packed numbers, or with map entries that leave out default values.
        for index in pc.indices_nonzero(pc.not_equal(again, received)).to_pylist():
            unknown = _first_unknown(self._message.FromString(records[index]), "")
            if unknown is not None:
                raise RefusedRecordError(index, *unknown)


def _first_unknown(message: Any, prefix: str) -> tuple[str | None, str] | None:
    """Return the path and the problem of the first field that does not fit the descriptor; None if all fields fit.

    If the descriptor lacks the field's number, the field's name is unknown. In that case, the path is that of the
    enclosing message (None for the record itself). Each entry of a map is a message with the fields ``key`` and
    ``value``.
    """
    unknown_fields = UnknownFieldSet(message)
    for unknown in (unknown_fields[index] for index in range(len(unknown_fields))):
        known = message.DESCRIPTOR.fields_by_number.get(unknown.field_number)
        if known is not None:
            return f"{prefix}{known.name}", f"was sent as wire type {unknown.wire_type}, but the descriptor has another"
        return prefix.rstrip(".") or None, f"has a field number {unknown.field_number} that the descriptor lacks"
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        parts = value if _is_repeated(field) else [value]
        for part in parts:
            found = _first_unknown(part, f"{prefix}{field.name}.")
            if found is not None:
                return found
    return None


def _is_repeated(field: Any) -> bool:
    # protobuf before 6 does not have is_repeated, and later versions warn about label.
    return bool(field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED)


def _handler(table: str, message: descriptor_pb2.DescriptorProto) -> tuple[Any, Any]:
    """Return the ptars handler that converts records to Arrow, and the Python class that parses a single record.

    In the Python class, each map is declared as a repeated field of entries. If it were declared as a map, protobuf
    would drop the unknown fields of its entries.
    """
    try:
        descriptor = _added(message)
        handler = ptars.HandlerPool([descriptor.file]).get_for_message(descriptor)
        return handler, message_factory.GetMessageClass(_added(_without_maps(message)))
    except (TypeError, KeyError, ValueError) as error:
        raise invalid_error(f"descriptor_proto for table {table} is not a valid message: {error}") from error
    except StatusError:
        raise
    except BaseException as error:
        if not _is_panic(error):
            raise
        raise invalid_error(f"descriptor_proto for table {table} cannot be used: {error}") from None


def _is_panic(error: BaseException) -> bool:
    # A panic inside ptars arrives as pyo3's PanicException, which is not an Exception and cannot be imported.
    return type(error).__name__ == "PanicException"


def _added(message: descriptor_pb2.DescriptorProto) -> Any:
    """Add the message type to a new descriptor pool, and return the descriptor that the pool builds."""
    file = descriptor_pb2.FileDescriptorProto(name="records.proto", package=PACKAGE, syntax="proto2")
    file.message_type.append(message)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindMessageTypeByName(f"{PACKAGE}.{message.name}")


def _without_maps(message: descriptor_pb2.DescriptorProto) -> descriptor_pb2.DescriptorProto:
    """Return a copy in which every map is a repeated field of entries. The encoding of a record stays the same."""
    copy = descriptor_pb2.DescriptorProto()
    copy.CopyFrom(message)
    nested = [_without_maps(inner) for inner in message.nested_type]
    del copy.nested_type[:]
    copy.nested_type.extend(nested)
    copy.options.ClearField("map_entry")
    return copy
