"""The Arrow types of a table's columns: working types, in which values are checked, and plain types for wire values."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from ...schema.arrow import PRIMITIVES, type_of
from ...schema.types import DataType, Kind

__all__ = ["extensions", "plain_type", "working_type"]

_WORKING = {**PRIMITIVES, Kind.VARIANT: pa.large_string()}
_PLAIN = {
    **_WORKING,
    Kind.TINYINT: pa.int32(),
    Kind.SMALLINT: pa.int32(),
    Kind.DATE: pa.int32(),
    Kind.TIMESTAMP: pa.int64(),
    Kind.TIMESTAMP_NTZ: pa.int64(),
}


def working_type(kind: DataType) -> pa.DataType:
    """Return the Arrow type to which a source's column is cast before its values are checked.

    It is the type that the service expects, except that VARIANT is JSON text.
    """
    return type_of(kind, _WORKING)


def plain_type(kind: DataType) -> pa.DataType:
    """Return the Arrow type of a column's wire values.

    It is the type that ``working_type`` returns, except that dates and small integers are 32-bit integers, and
    timestamps are 64-bit integers. All members of structs are nullable, because a null struct is stored with a null in
    each member.
    """
    return type_of(kind, _PLAIN, all_nullable=True)


def extensions(field: pa.Field) -> Iterator[str]:
    """Yield the names of the Arrow extension types in a field's type, at any depth.

    The names of types that are not registered with pyarrow are included.
    """
    name = (field.metadata or {}).get(b"ARROW:extension:name")
    if name is not None:
        yield name.decode(errors="replace")
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType):
        yield kind.extension_name
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        yield from extensions(pa.field(field.name, kind.value_type))
    for index in range(kind.num_fields):
        yield from extensions(kind.field(index))
