"""Corrects the Arrow data of DuckDB, and refuses columns that cannot be corrected.

DuckDB writes the values of some types to Arrow data in a form that would be misread:

* JSON is written as plain text. This module marks the text as JSON, also inside a nested type.
* UHUGEINT is written as numbers that Arrow reads as signed, and BIT is written as bytes. This module converts a column
  of one of these types. Inside a nested type, both types are refused.
* BIGNUM is written as bytes, and TIME WITH TIME ZONE is written without its offset. Both types are refused.
* TIME_NS is refused, because its nanoseconds would be cut off when the values are encoded.
* If ``arrow_lossless_conversion`` is set, HUGEINT and UHUGEINT, for example, are written as opaque bytes. Values in
  this form are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ...errors import ConfigurationError

__all__ = ["reader_with_json"]

_JSON = {b"ARROW:extension:name": b"arrow.json"}
# What is wrong with each type of DuckDB in Arrow data, and the types to cast it to.
_MISREAD = {
    "bignum": ("as bytes of DuckDB's own format", "VARCHAR"),
    "bit": ("as bytes of DuckDB's own format", "VARCHAR"),
    "hugeint": ("as bytes if arrow_lossless_conversion is set", "DECIMAL(38, 0) or VARCHAR"),
    "time with time zone": ("without its offset from UTC", "VARCHAR"),
    "time_ns": ("with nanoseconds, which would be cut off", "TIME or VARCHAR"),
    "uhugeint": ("as signed numbers or as bytes", "DECIMAL(38, 0) or VARCHAR"),
}
# Which of DuckDB's ``children`` of a nested type are types of values; the others are a size or the tag of a union.
_CHILDREN = {
    "array": slice(1), "list": slice(1), "map": slice(2), "struct": slice(None), "union": slice(1, None),
}  # fmt: skip


def reader_with_json(
    relation: Any, reader: pa.RecordBatchReader, is_read: Callable[[str], bool] = lambda name: True
) -> pa.RecordBatchReader:
    """Return a reader that yields the batches of ``reader`` with the corrections that the module's docstring lists.

    ``reader`` must be a reader of ``relation``. Returns ``reader`` itself if ``relation`` is not from DuckDB, or if no
    column has to be corrected. Raises ConfigurationError if a column has values that cannot be corrected; columns for
    which ``is_read(name)`` is False are not checked for this.
    """
    types = getattr(relation, "types", None)
    if not type(relation).__module__.startswith(("duckdb", "_duckdb")) or types is None:
        return reader
    before = list(reader.schema)
    for field, kind in zip(before, types, strict=True):
        if is_read(field.name):
            _refuse_misread(field, kind)
    rebuild = [_rebuilt(field, kind.id) for field, kind in zip(before, types, strict=True)]
    fields = [
        _marked(field, kind) if other is None else field.with_type(other[0])
        for field, kind, other in zip(before, types, rebuild, strict=True)
    ]
    schema = pa.schema(fields, reader.schema.metadata)
    if schema.equals(reader.schema, check_metadata=True):
        return reader

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            arrays = [
                array if other is None else other[1](array) for array, other in zip(batch.columns, rebuild, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _refuse_misread(field: pa.Field, kind: Any) -> None:
    """Raise ConfigurationError if values of the column, or values nested inside them, cannot be corrected."""
    found = None if _rebuilt(field, kind.id) is not None else next(_misread(field.type, kind), None)
    if found is None:
        return
    how, remedy = _MISREAD[found.id]
    where, cast = "", f"CAST it to {remedy} in the query"
    if found is not kind:
        where = f" inside of {kind}"
        cast = f"CAST the column in the query to its type with {remedy} in place of {found}"
    raise ConfigurationError(
        f"column {field.name} of the DuckDB relation holds {found}{where}, which DuckDB gives to Arrow {how}; {cast}"
    )


def _misread(source: pa.DataType, kind: Any) -> Iterator[Any]:
    """Yield ``kind`` and each type nested in it, but only types whose values would be misread.

    ``kind`` is a type of DuckDB. ``source`` is the Arrow type to which DuckDB converts values of ``kind``.
    """
    if kind.id in _MISREAD and not (kind.id == "hugeint" and pa.types.is_decimal(source)):
        yield kind
    if kind.id not in _CHILDREN:
        return
    if pa.types.is_map(source):
        members = [source.key_type, source.item_type]
    elif hasattr(source, "value_type"):
        members = [source.value_type]
    else:
        members = [source.field(index).type for index in range(source.num_fields)]
    for member, (_, child) in zip(members, kind.children[_CHILDREN[kind.id]], strict=True):
        yield from _misread(member, child)


def _unsigned(array: pa.Array) -> pa.Array:
    """Convert UHUGEINT values: DuckDB writes them as unsigned 128-bit numbers, but Arrow reads these as signed."""
    wide = array.cast(_UNSIGNED)
    above = pc.add(wide, pa.scalar(Decimal(2**128), pa.decimal256(39, 0)))
    return pc.if_else(pc.less(wide, pa.scalar(Decimal(0), _UNSIGNED)), above, wide.cast(above.type)).cast(_UNSIGNED)


def _bit_text(array: pa.Array) -> pa.Array:
    """Return BIT values as text of the digits 0 and 1.

    The first byte of a BIT value is the number of padding bits. The padding bits follow this byte, and are left out of
    the text.
    """
    return pa.array(
        [
            None if bits is None else "".join(f"{byte:08b}" for byte in bits[1:])[bits[0] :]
            for bits in array.to_pylist()
        ],
        pa.string(),
    )


_UNSIGNED = pa.decimal256(39, 0)


def _rebuilt(field: pa.Field, kind: str) -> tuple[pa.DataType, Callable[[pa.Array], pa.Array]] | None:
    """Return a column's correct type, and a function that converts the column's arrays to this type.

    Returns None if no conversion is needed, or if the column cannot be converted. ``kind`` is the ``id`` of the
    column's type in DuckDB.
    """
    if kind == "uhugeint" and pa.types.is_decimal(field.type):
        return _UNSIGNED, _unsigned
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return (pa.string(), _bit_text) if kind == "bit" and any(test(field.type) for test in tests) else None


def _marked(field: pa.Field, kind: Any) -> pa.Field:
    """Return the field, marked as JSON if it is JSON text; JSON text nested in the field is marked too."""
    if "JSON" not in str(kind) or isinstance(field.type, pa.BaseExtensionType):
        return field
    if str(kind) == "JSON":
        return field.with_metadata({**(field.metadata or {}), **_JSON})
    return field.with_type(_marked_inside(field.type, dict(kind.children)))


def _marked_inside(source: pa.DataType, kinds: dict[str, Any]) -> pa.DataType:
    if pa.types.is_struct(source):
        return pa.struct([_marked(member, kinds[member.name]) for member in source])
    if pa.types.is_union(source):  # refused later: JSON and text are indistinguishable in it
        members = [_marked(member, kinds[member.name]) for member in map(source.field, range(source.num_fields))]
        return pa.sparse_union(members, source.type_codes)
    if pa.types.is_map(source):
        return pa.map_(source.key_field, _marked(source.item_field, kinds["value"]))
    if not hasattr(source, "value_field") or "child" not in kinds:
        return source
    item = _marked(source.value_field, kinds["child"])
    if pa.types.is_fixed_size_list(source):
        return pa.list_(item, source.list_size)
    return pa.large_list(item) if pa.types.is_large_list(source) else pa.list_(item)
