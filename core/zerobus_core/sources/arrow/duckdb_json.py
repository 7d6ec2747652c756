"""The JSON columns of a DuckDB relation, which DuckDB gives to Arrow as plain text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

__all__ = ["reader_with_json"]

_JSON = {b"ARROW:extension:name": b"arrow.json"}


def reader_with_json(relation: Any, reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """A reader of ``relation`` whose fields say which text is JSON; the same one for anything but a relation."""
    types = getattr(relation, "types", None)
    if not type(relation).__module__.startswith(("duckdb", "_duckdb")) or types is None:
        return reader
    fields = [_marked(field, kind) for field, kind in zip(reader.schema, types, strict=True)]
    if all(field is before for field, before in zip(fields, reader.schema, strict=True)):
        return reader
    schema = pa.schema(fields, reader.schema.metadata)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _marked(field: pa.Field, kind: Any) -> pa.Field:
    """The field, or one like it that says of its text, or of text inside, that it is JSON."""
    if "JSON" not in str(kind) or isinstance(field.type, pa.BaseExtensionType):
        return field
    if str(kind) == "JSON":
        return field.with_metadata({**(field.metadata or {}), **_JSON})
    return field.with_type(_marked_inside(field.type, dict(kind.children)))


def _marked_inside(source: pa.DataType, kinds: dict[str, Any]) -> pa.DataType:
    if pa.types.is_struct(source):
        return pa.struct([_marked(member, kinds[member.name]) for member in source])
    if pa.types.is_map(source):
        return pa.map_(source.key_field, _marked(source.item_field, kinds["value"]))
    if not hasattr(source, "value_field") or "child" not in kinds:
        return source
    item = _marked(source.value_field, kinds["child"])
    if pa.types.is_fixed_size_list(source):
        return pa.list_(item, source.list_size)
    return pa.large_list(item) if pa.types.is_large_list(source) else pa.list_(item)
