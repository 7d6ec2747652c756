"""Checks a stream's protobuf descriptor against the table's columns.

A column accepts the protobuf type to which the SDK itself converts the column's Delta type
(``rust/sdk/src/schema.rs`` in SDK 1.10.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from ..status import invalid_error, schema_mismatch_error
from .decoder import MAX_COLUMNS

if TYPE_CHECKING:
    from .decoder import TableShape

__all__ = ["PACKAGE", "checked_descriptor"]

PACKAGE: Final = "zerobus_local.records"
"""The package in which every stream's message type is placed, because clients do not send a package."""

_MAX_NESTING: Final = 100

_Field = descriptor_pb2.FieldDescriptorProto
_KINDS: Final = {
    "byte": _Field.TYPE_INT32,
    "short": _Field.TYPE_INT32,
    "integer": _Field.TYPE_INT32,
    "long": _Field.TYPE_INT64,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
    "boolean": _Field.TYPE_BOOL,
    "string": _Field.TYPE_STRING,
    "binary": _Field.TYPE_BYTES,
    "date": _Field.TYPE_INT32,
    "timestamp": _Field.TYPE_INT64,
    "timestamp_ntz": _Field.TYPE_INT64,
    "variant": _Field.TYPE_STRING,
}


def checked_descriptor(shape: TableShape, descriptor: bytes) -> descriptor_pb2.DescriptorProto:
    """Return the stream's message type, in which all references to nested types are full names (package ``PACKAGE``).

    Raises StatusError if ``descriptor`` is invalid or if the message type does not fit the table. If the message type
    does not fit, the error has the code 8001.
    """
    message = _parsed(shape.table, descriptor)
    _check_message(shape, message)
    _resolve_nested(shape.table, message)
    return message


def _parsed(table: str, descriptor: bytes) -> descriptor_pb2.DescriptorProto:
    if not descriptor:
        raise invalid_error("a stream of protobuf records needs descriptor_proto: the DescriptorProto of its message")
    try:
        message = descriptor_pb2.DescriptorProto.FromString(descriptor)
    except DecodeError as error:
        raise invalid_error(
            f"descriptor_proto for table {table} is not a serialized DescriptorProto: {error}"
        ) from error
    if not message.field:
        raise schema_mismatch_error(table, f"message {message.name!r} of descriptor_proto has no fields")
    if len(message.field) > MAX_COLUMNS:
        raise schema_mismatch_error(table, f"{len(message.field)} fields; a schema can have at most {MAX_COLUMNS}")
    nested = _nested(message)
    if any(
        _is_garbled(part.name, *(text for f in part.field for text in (f.name, f.type_name)))
        for part in nested.values()
    ):
        raise invalid_error(f"descriptor_proto for table {table} holds a name that is not UTF-8")
    _qualify(message, nested, message.name)
    return message


def _is_garbled(*texts: str | bytes) -> bool:
    """Return whether one of ``texts`` is bytes: protobuf returns a name as bytes if the name is not valid UTF-8."""
    return any(isinstance(text, bytes) for text in texts)


def _qualify(message: descriptor_pb2.DescriptorProto, nested: dict[str, Any], scope: str) -> None:
    """Replace relative type names such as ``Items`` by full names; the innermost scope is searched first.

    The SDK's own conversion writes relative names; protoc writes full names.
    """
    for field in message.field:
        if field.type == _Field.TYPE_MESSAGE and not field.type_name.startswith("."):
            outer = scope.split(".")
            paths = (".".join([*outer[:depth], field.type_name]) for depth in range(len(outer), -1, -1))
            field.type_name = "." + next((path for path in paths if path in nested), field.type_name)
    for inner in message.nested_type:
        _qualify(inner, nested, f"{scope}.{inner.name}")


def _check_message(shape: TableShape, message: descriptor_pb2.DescriptorProto) -> None:
    nested = _nested(message)
    for field in message.field:
        delta = shape.types.get(field.name)
        if delta is None:
            raise schema_mismatch_error(
                shape.table, f"field {field.name} of {message.name} is not a column of the table"
            )
        _check_field(shape.table, field, delta, nested, field.name)
    names = {field.name for field in message.field}
    for name in shape.required:
        if name not in names:
            raise schema_mismatch_error(shape.table, f"column {name} is NOT NULL, but {message.name} has no such field")


def _check_field(table: str, field: Any, delta: Any, nested: dict[str, Any], path: str) -> None:
    repeated = field.label == _Field.LABEL_REPEATED
    kind = delta["type"] if isinstance(delta, dict) else delta
    if repeated != (kind in {"array", "map"}):
        raise schema_mismatch_error(
            table, f"field {path} is {'repeated' if repeated else 'single'}, but the column is {_shown(delta)}"
        )
    if kind == "array":
        _check_value(table, field, delta["elementType"], nested, path)
    elif kind == "map":
        entry = _message_of(table, field, nested, path)
        if not entry.options.map_entry:
            raise schema_mismatch_error(table, f"field {path} is not a map, but the column is {_shown(delta)}")
        for part, inner in zip(entry.field, (delta["keyType"], delta["valueType"]), strict=True):
            _check_value(table, part, inner, nested, f"{path}.{part.name}")
    else:
        _check_value(table, field, delta, nested, path)


def _check_value(table: str, field: Any, delta: Any, nested: dict[str, Any], path: str) -> None:
    if isinstance(delta, dict):
        if delta["type"] != "struct":
            raise schema_mismatch_error(
                table, f"field {path}: protobuf cannot express {_shown(delta)} in an ARRAY or a MAP"
            )
        _check_struct(table, field, delta, nested, path)
        return
    wanted = _Field.TYPE_STRING if delta.startswith("decimal") else _KINDS.get(delta)
    if field.type != wanted:
        expected = _type_name(wanted) if wanted else "no protobuf type"
        raise schema_mismatch_error(
            table,
            f"field {path} has type {_type_name(field.type)}, but the column is {_shown(delta)}, "
            f"which accepts {expected}",
        )


def _check_struct(table: str, field: Any, delta: Any, nested: dict[str, Any], path: str) -> None:
    message = _message_of(table, field, nested, path)
    types = {inner["name"]: inner for inner in delta["fields"]}
    if path.count(".") > _MAX_NESTING:
        raise schema_mismatch_error(table, f"field {path} is nested deeper than {_MAX_NESTING} levels")
    for inner in message.field:
        if inner.name not in types:
            raise schema_mismatch_error(table, f"field {path}.{inner.name} is not in the column's type {_shown(delta)}")
        _check_field(table, inner, types[inner.name]["type"], nested, f"{path}.{inner.name}")
    present = {inner.name for inner in message.field}
    for name, inner in types.items():
        if not inner["nullable"] and name not in present:
            raise schema_mismatch_error(table, f"field {path}.{name} is NOT NULL, but {message.name} has no such field")


def _message_of(table: str, field: Any, nested: dict[str, Any], path: str) -> Any:
    if field.type != _Field.TYPE_MESSAGE:
        raise schema_mismatch_error(
            table, f"field {path} has type {_type_name(field.type)}, but the column needs a message"
        )
    name = _nested_name(field.type_name, nested)
    if name is None:
        raise schema_mismatch_error(
            table, f"field {path} has type {field.type_name}, which descriptor_proto does not contain"
        )
    return nested[name]


def _nested(message: Any, prefix: str = "") -> dict[str, Any]:
    """Return a dict of ``message`` and all message types nested in it. The keys are dotted paths."""
    path = f"{prefix}.{message.name}" if prefix else message.name
    found = {path: message}
    for inner in message.nested_type:
        found |= _nested(inner, path)
    return found


def _nested_name(type_name: str, nested: dict[str, Any]) -> str | None:
    """Return the key of ``nested`` for a type name, or None if the type is not in ``nested``.

    A full name begins with the client's package, which is unknown here. So the result is the longest ending of
    ``type_name`` that is a key of ``nested``.
    """
    parts = type_name.strip(".").split(".")
    for start in range(len(parts)):
        path = ".".join(parts[start:])
        if path in nested:
            return path
    return None


def _resolve_nested(table: str, message: descriptor_pb2.DescriptorProto) -> None:
    """Replace the names of nested types by full names, and remove oneofs, default values and ``proto3_optional``."""
    nested = _nested(message)
    for inner in nested.values():
        del inner.oneof_decl[:]
        for field in inner.field:
            field.ClearField("oneof_index")
            field.ClearField("proto3_optional")
            field.ClearField("default_value")
            if field.type == _Field.TYPE_MESSAGE:
                name = _nested_name(field.type_name, nested)
                if name is None:
                    raise schema_mismatch_error(table, f"type {field.type_name} is not contained in descriptor_proto")
                field.type_name = f".{PACKAGE}.{name}"


def _type_name(number: int) -> str:
    return _Field.Type.Name(number).removeprefix("TYPE_").lower()  # type: ignore[arg-type]  # any declared number has a name


def _shown(delta: Any) -> str:
    return str(delta["type"] if isinstance(delta, dict) else delta).upper()
