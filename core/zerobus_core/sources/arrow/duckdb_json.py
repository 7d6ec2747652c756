"""Corrects the Arrow data of DuckDB, where JSON is plain text, UHUGEINT is read as signed, and BIT is bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["reader_with_json"]

_JSON = {b"ARROW:extension:name": b"arrow.json"}


def reader_with_json(relation: Any, reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """Return a reader that yields the batches of ``reader`` after two changes.

    JSON text is marked as JSON, also inside nested columns. Columns of type UHUGEINT or BIT are corrected; such values
    inside nested columns are not. ``reader`` must be a reader of ``relation``. Returns ``reader`` itself if
    ``relation`` is not from DuckDB.
    """
    types = getattr(relation, "types", None)
    if not type(relation).__module__.startswith(("duckdb", "_duckdb")) or types is None:
        return reader
    rebuild = [_rebuilt(field, str(kind)) for field, kind in zip(reader.schema, types, strict=True)]
    fields = [
        _marked(field, kind) if other is None else field.with_type(other[0])
        for field, kind, other in zip(reader.schema, types, rebuild, strict=True)
    ]
    if all(field is before for field, before in zip(fields, reader.schema, strict=True)):
        return reader
    schema = pa.schema(fields, reader.schema.metadata)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            arrays = [
                array if other is None else other[1](array) for array, other in zip(batch.columns, rebuild, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _unsigned(array: pa.Array) -> pa.Array:
    """Convert UHUGEINT values: DuckDB writes them as unsigned 128-bit numbers, but Arrow reads these as signed."""
    wide = array.cast(_UNSIGNED)
    above = pc.add(wide, pa.scalar(Decimal(2**128), pa.decimal256(39, 0)))
    return pc.if_else(pc.less(wide, pa.scalar(Decimal(0), _UNSIGNED)), above, wide.cast(above.type)).cast(_UNSIGNED)


def _bit_text(array: pa.Array) -> pa.Array:
    """Return BIT values as text of the digits 0 and 1.

    The first byte of a value is the number of padding bits; these are the first bits of the second byte.
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
    """Return a column's correct type and a function that converts its arrays; None if nothing has to be corrected."""
    if kind == "UHUGEINT" and pa.types.is_decimal(field.type):
        return _UNSIGNED, _unsigned
    return (pa.string(), _bit_text) if kind == "BIT" and pa.types.is_binary(field.type) else None


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
