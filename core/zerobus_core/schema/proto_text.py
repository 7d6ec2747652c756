"""Writes the protobuf message of a table as the text of a ``.proto`` file.

protoc compiles this text to a message with the same wire format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from .protobuf import map_entry_name
from .types import ArrayType, DataType, Field, Kind, MapType, StructType

__all__ = ["proto_text"]

_LABELS = {
    FieldDescriptorProto.LABEL_OPTIONAL: "optional ",
    FieldDescriptorProto.LABEL_REQUIRED: "required ",
    FieldDescriptorProto.LABEL_REPEATED: "repeated ",
}
_SCALARS = {
    FieldDescriptorProto.TYPE_INT32: "int32",
    FieldDescriptorProto.TYPE_INT64: "int64",
    FieldDescriptorProto.TYPE_FLOAT: "float",
    FieldDescriptorProto.TYPE_DOUBLE: "double",
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_STRING: "string",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
}
# What a reader of the file cannot see from the protobuf type.
_NOTES = {
    Kind.DATE: "days since 1970-01-01",
    Kind.TIMESTAMP: "microseconds since 1970-01-01 UTC",
    Kind.TIMESTAMP_NTZ: "microseconds since 1970-01-01, without time zone",
    Kind.VARIANT: "JSON text",
}


def proto_text(file: FileDescriptorProto, table: str, columns: tuple[Field, ...]) -> str:
    """Return ``file`` as the text of a ``.proto`` file, with comments on the fields.

    The comments come from ``columns``, which must be the columns that ``file`` was built from.
    """
    lines = [f"// Rows of {table}.", 'syntax = "proto2";', "", *_message(file.message_type[0], columns, "")]
    return "\n".join(lines) + "\n"


def _message(message: DescriptorProto, fields: tuple[Field, ...], indent: str) -> Iterator[str]:
    yield f"{indent}message {message.name} {{"
    inner = indent + "  "
    nested = {member.name: member for member in message.nested_type}
    written: set[str] = set()
    for proto, field in zip(message.field, fields, strict=True):
        for name, struct in _structs(proto, field.type, nested):
            written.add(name)
            yield from _message(nested[name], struct.fields, inner)
        entry = nested.get(_local_name(proto)) if isinstance(field.type, MapType) else None
        if entry is not None and entry.name not in written and not _is_map_syntax(proto, entry):
            yield from _entry_message(entry, inner)
        yield f"{inner}{_field_type(proto, entry)} {proto.name} = {proto.number};{_note(field)}"
    yield f"{indent}}}"


def _structs(
    proto: FieldDescriptorProto, kind: DataType, nested: Mapping[str, DescriptorProto]
) -> Iterator[tuple[str, StructType]]:
    if isinstance(kind, MapType) and isinstance(kind.value, StructType):
        yield _local_name(nested[_local_name(proto)].field[1]), kind.value
    if isinstance(kind, ArrayType):
        kind = kind.element
    if isinstance(kind, StructType):
        yield _local_name(proto), kind


def _field_type(proto: FieldDescriptorProto, entry: DescriptorProto | None) -> str:
    if entry is not None and _is_map_syntax(proto, entry):
        return f"map<{_scalar_or_name(entry.field[0])}, {_scalar_or_name(entry.field[1])}>"
    return _LABELS[proto.label] + _scalar_or_name(proto)


def _is_map_syntax(proto: FieldDescriptorProto, entry: DescriptorProto) -> bool:
    # protoc itself names the entry message of a map<>. If another message has that name, the map is written as a plain
    # repeated message, which has the same wire format.
    return entry.name == map_entry_name(proto.name)


def _entry_message(entry: DescriptorProto, indent: str) -> Iterator[str]:
    yield f"{indent}message {entry.name} {{"
    for proto in entry.field:
        yield f"{indent}  {_LABELS[proto.label]}{_scalar_or_name(proto)} {proto.name} = {proto.number};"
    yield f"{indent}}}"


def _scalar_or_name(proto: FieldDescriptorProto) -> str:
    return _SCALARS.get(proto.type) or _local_name(proto)


def _local_name(proto: FieldDescriptorProto) -> str:
    return proto.type_name.rpartition(".")[2]


def _note(field: Field) -> str:
    scalar = field.type
    while isinstance(scalar, ArrayType):
        scalar = scalar.element
    note = _NOTES.get(getattr(scalar, "kind", Kind.INT))
    parts = [
        str(field.type) if not _has_struct(field.type) else "",
        note or "",
        " ".join((field.comment or "").split()),
    ]
    text = "; ".join(part for part in parts if part)
    return f"  // {text}" if text else ""


def _has_struct(kind: DataType) -> bool:
    if isinstance(kind, ArrayType):
        return _has_struct(kind.element)
    return isinstance(kind, StructType) or (isinstance(kind, MapType) and _has_struct(kind.value))
