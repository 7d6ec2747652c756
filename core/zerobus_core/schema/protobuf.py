"""Converts a table's columns to a proto2 message, as the SDK's own conversion does (schema.rs in SDK 1.10.0).

A column's field number is its position + 1, so dropped columns leave gaps in the field numbers. The numbers that
protobuf reserves for itself are skipped. Nested types are declared inside the message, because only the message itself
reaches the service.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from .types import ArrayType, DataType, Field, Kind, MapType, PrimitiveType, StructType

__all__ = ["field_number", "file_descriptor", "map_entry_name", "message_name"]

_RESERVED_FIRST, _RESERVED_COUNT = 19_000, 1_000

_TYPES = {
    Kind.TINYINT: FieldDescriptorProto.TYPE_INT32,
    Kind.SMALLINT: FieldDescriptorProto.TYPE_INT32,
    Kind.INT: FieldDescriptorProto.TYPE_INT32,
    Kind.BIGINT: FieldDescriptorProto.TYPE_INT64,
    Kind.FLOAT: FieldDescriptorProto.TYPE_FLOAT,
    Kind.DOUBLE: FieldDescriptorProto.TYPE_DOUBLE,
    Kind.BOOLEAN: FieldDescriptorProto.TYPE_BOOL,
    Kind.BINARY: FieldDescriptorProto.TYPE_BYTES,
    Kind.DATE: FieldDescriptorProto.TYPE_INT32,
    Kind.TIMESTAMP: FieldDescriptorProto.TYPE_INT64,
    Kind.TIMESTAMP_NTZ: FieldDescriptorProto.TYPE_INT64,
    Kind.VARIANT: FieldDescriptorProto.TYPE_STRING,
}


def field_number(position: int) -> int:
    """Return the protobuf field number of the column at a position counted from 0."""
    number = position + 1
    return number if number < _RESERVED_FIRST else number + _RESERVED_COUNT


def message_name(text: str) -> str:
    """Convert ``text`` to PascalCase, so that it can be used as the name of a protobuf message."""
    name = "".join(word[0].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", text) if word)
    return name if name[:1].isalpha() else f"M{name}"


def map_entry_name(field_name: str) -> str:
    """Return the name that protoc requires for the entry message of a map field."""
    return "".join(word[:1].upper() + word[1:] for word in field_name.split("_")) + "Entry"


def file_descriptor(table: str, columns: Sequence[Field]) -> FileDescriptorProto:
    """Return the descriptor of a ``.proto`` file with one message, which describes a row of the table.

    Each column must have a type that protobuf records can carry.
    """
    _, schema_name, table_name = table.split(".")
    name = message_name(f"{schema_name}_{table_name}")
    file = FileDescriptorProto(name=f"{schema_name}_{table_name}.proto", syntax="proto2")
    file.message_type.append(_message(name, columns))
    _qualify(file.message_type[0], f".{name}")
    return file


def _qualify(message: DescriptorProto, scope: str) -> None:
    # Type names are written in full, as by protoc, because the service gets them in this form from most clients.
    for field in message.field:
        if field.type_name:
            field.type_name = f"{scope}.{field.type_name}"
    for nested in message.nested_type:
        # The types of a map's values are next to the entry, not in it.
        _qualify(nested, scope if nested.options.map_entry else f"{scope}.{nested.name}")


def _message(name: str, fields: Sequence[Field]) -> DescriptorProto:
    message = DescriptorProto(name=name)
    # Fields and nested messages share one scope: if a column is called "Address", no nested message can have that name.
    taken = {field.name for field in fields}
    for field in fields:
        _add_field(message, field, taken)
    return message


def _add_field(message: DescriptorProto, field: Field, taken: set[str]) -> None:
    label = FieldDescriptorProto.LABEL_OPTIONAL if field.nullable else FieldDescriptorProto.LABEL_REQUIRED
    kind = field.type
    if isinstance(kind, ArrayType):
        label, kind = FieldDescriptorProto.LABEL_REPEATED, kind.element
    elif isinstance(kind, MapType):
        label = FieldDescriptorProto.LABEL_REPEATED
    proto = message.field.add(name=field.name, number=field_number(field.position), label=label, json_name=field.name)
    if isinstance(kind, MapType):
        entry = _map_entry(message, field.name, kind, taken)
        proto.type, proto.type_name = FieldDescriptorProto.TYPE_MESSAGE, entry
    else:
        _set_type(message, proto, kind, message_name(field.name), taken)


def _set_type(
    message: DescriptorProto, proto: FieldDescriptorProto, kind: DataType, base: str, taken: set[str]
) -> None:
    if isinstance(kind, StructType):
        name = _unique(base, taken)
        message.nested_type.append(_message(name, kind.fields))
        proto.type, proto.type_name = FieldDescriptorProto.TYPE_MESSAGE, name
    elif isinstance(kind, PrimitiveType):
        proto.type = _TYPES[kind.kind]
    else:  # STRING and DECIMAL, which travels as text
        proto.type = FieldDescriptorProto.TYPE_STRING


def _map_entry(message: DescriptorProto, field_name: str, kind: MapType, taken: set[str]) -> str:
    name = _unique(map_entry_name(field_name), taken)
    entry = DescriptorProto(name=name)
    entry.options.map_entry = True
    optional = FieldDescriptorProto.LABEL_OPTIONAL
    key = entry.field.add(name="key", number=1, label=optional, json_name="key")
    _set_type(entry, key, kind.key, "", taken)
    value = entry.field.add(name="value", number=2, label=optional, json_name="value")
    # The value's message is next to the entry, where protoc puts it; an entry has no nested types.
    _set_type(message, value, kind.value, message_name(f"{field_name}_value"), taken)
    message.nested_type.append(entry)
    return name


def _unique(base: str, taken: set[str]) -> str:
    name, number = base, 2
    while name in taken:
        name, number = f"{base}{number}", number + 1
    taken.add(name)
    return name
