"""Decodes Avro records: raw datums, written with the schema that the client sent when it opened the stream.

The service does not document which Avro types fit which column. This decoder accepts the types that Databricks'
``to_avro`` writes. It also accepts the forms that JSON and protobuf clients send: a number of days for DATE, a number
of microseconds for TIMESTAMP, and JSON text for VARIANT. fastavro reads one datum at a time, so this format is slow
here.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, Final

import fastavro
import pyarrow as pa
from fastavro.schema import SchemaParseException, UnknownType

from ..status import invalid_error, schema_mismatch_error
from .columns import conform, first_failing
from .decoder import MAX_COLUMNS, TableShape, check_sizes
from .refusal import RefusedRecordError
from .variant_columns import check_variant_texts

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AvroDecoder"]

_MAX_NESTING: Final = 100

# Delta type -> the Avro types that the column accepts, as type or type/logicalType
_TAKEN: Final[dict[str, frozenset[str]]] = {
    "byte": frozenset({"int"}),
    "short": frozenset({"int"}),
    "integer": frozenset({"int"}),
    "long": frozenset({"int", "long"}),
    "float": frozenset({"float"}),
    "double": frozenset({"float", "double"}),
    "boolean": frozenset({"boolean"}),
    "string": frozenset({"string", "enum"}),
    "binary": frozenset({"bytes", "fixed"}),
    "date": frozenset({"int", "int/date"}),
    "timestamp": frozenset({"long", "long/timestamp-micros", "long/timestamp-millis"}),
    "timestamp_ntz": frozenset({"long", "long/local-timestamp-micros", "long/local-timestamp-millis"}),
    "variant": frozenset({"string"}),
}
_DECODING_ERRORS: Final = (EOFError, ValueError, IndexError, KeyError, TypeError, OverflowError, UnicodeDecodeError)


class AvroDecoder:
    """Decodes Avro records.

    The constructor raises StatusError if ``schema_json`` is invalid or does not fit the table.
    """

    def __init__(self, shape: TableShape, schema_json: str) -> None:
        self._shape = shape
        self._schema, named = _parsed(shape.table, schema_json)
        _SchemaCheck(shape, named).check(self._schema)
        self._fields = [field["name"] for field in self._schema["fields"]]

    def decode(self, records: list[bytes]) -> pa.RecordBatch:
        """Return one row per record, in order."""
        check_sizes(records)
        try:
            rows = self._read(records)
        except _DECODING_ERRORS as error:
            record = first_failing(records, self._read) or 0
            raise RefusedRecordError(
                record, None, f"is not a datum of the stream's Avro schema: {type(error).__name__}: {error}"
            ) from error
        columns = {name: self._column(name, [row[name] for row in rows]) for name in self._fields}
        batch = conform(columns, len(records), self._shape)
        check_variant_texts(batch, self._shape.types)
        return batch

    def _read(self, records: Iterable[bytes]) -> list[dict[str, Any]]:
        rows: list[Any] = []
        for record in records:
            buffer = io.BytesIO(record)
            rows.append(fastavro.schemaless_reader(buffer, self._schema, None))
            if buffer.tell() != len(record):
                raise ValueError(f"{len(record) - buffer.tell()} bytes left after the datum")
        return rows

    def _column(self, name: str, values: list[Any]) -> pa.Array:
        kind = self._shape.schema.field(name).type
        try:
            return pa.array(values, kind)
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            record = first_failing(values, lambda part: pa.array(part, kind)) or 0
            raise RefusedRecordError(record, name, f"{values[record]!r} does not fit into {kind}: {error}") from error


def _parsed(table: str, schema_json: str) -> tuple[dict[str, Any], dict[str, Any]]:
    if not schema_json:
        raise invalid_error("a stream of Avro records needs avro_schema_json, the schema of these records")
    named: dict[str, Any] = {}
    try:
        schema = fastavro.parse_schema(_without_uuid(json.loads(schema_json)), named)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise invalid_error(f"avro_schema_json for table {table} is not an Avro schema: {error!r}") from error
    except (SchemaParseException, UnknownType) as error:
        raise invalid_error(f"avro_schema_json for table {table} is not an Avro schema: {error}") from error
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise schema_mismatch_error(table, "the Avro schema is not a record")
    if len(schema["fields"]) > MAX_COLUMNS:
        raise schema_mismatch_error(table, f"{len(schema['fields'])} fields; a schema can have at most {MAX_COLUMNS}")
    return schema, named


def _without_uuid(schema: Any) -> Any:
    """Return the schema without the logical type "uuid", so that fastavro returns UUIDs as strings or bytes."""
    if isinstance(schema, list):
        return [_without_uuid(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    is_uuid = schema.get("logicalType") == "uuid"
    return {key: _without_uuid(value) for key, value in schema.items() if not (is_uuid and key == "logicalType")}


class _SchemaCheck:
    """Compares the Avro schema of a record with the columns of a table, field by field."""

    def __init__(self, shape: TableShape, named: dict[str, Any]) -> None:
        self._shape = shape
        self._named = named

    def check(self, record: dict[str, Any]) -> None:
        """Raise StatusError (8001) if a field does not fit the table, or if there is no field for a NOT NULL column."""
        names = {field["name"] for field in record["fields"]}
        for field in record["fields"]:
            if field["name"] not in self._shape.types:
                raise self._misfit_error(f"field {field['name']} is not a column of the table")
            self._check(field["type"], self._shape.types[field["name"]], field["name"])
        for name in self._shape.required:
            if name not in names:
                raise self._misfit_error(f"column {name} is NOT NULL, but the record has no such field")

    def _check(self, avro: Any, delta: Any, path: str) -> None:
        avro = self._without_null(avro, path)
        kind = avro["type"] if isinstance(avro, dict) else avro
        if path.count(".") > _MAX_NESTING:
            raise self._misfit_error(f"field {path} is nested deeper than {_MAX_NESTING} levels")
        if isinstance(delta, dict):
            self._check_nested(avro, kind, delta, path)
            return
        logical = avro.get("logicalType") if isinstance(avro, dict) else None
        if delta.startswith("decimal"):
            precision, scale = (int(part) for part in delta[len("decimal(") : -1].split(","))
            fits = logical == "decimal" and avro.get("scale", 0) == scale and avro["precision"] <= precision
        else:
            fits = (f"{kind}/{logical}" if logical else kind) in _TAKEN.get(delta, ())
        if not fits or (kind == "fixed" and not avro["size"]):
            shown = f"{kind} ({logical})" if logical else kind
            raise self._misfit_error(f"field {path} has Avro type {shown}, but the column is {delta.upper()}")

    def _check_nested(self, avro: Any, kind: str, delta: dict[str, Any], path: str) -> None:
        wanted = {"array": "array", "map": "map", "struct": "record"}[delta["type"]]
        if kind != wanted or (wanted == "map" and delta["keyType"] != "string"):
            raise self._misfit_error(f"field {path} has Avro type {kind}, but the column is {delta['type'].upper()}")
        if kind == "array":
            self._check(avro["items"], delta["elementType"], f"{path}.element")
        elif kind == "map":
            self._check(avro["values"], delta["valueType"], f"{path}.value")
        else:
            types = {inner["name"]: inner["type"] for inner in delta["fields"]}
            for field in avro["fields"]:
                if field["name"] not in types:
                    raise self._misfit_error(f"field {path}.{field['name']} is not in the column's type")
                self._check(field["type"], types[field["name"]], f"{path}.{field['name']}")

    def _without_null(self, avro: Any, path: str) -> Any:
        """Return the type of the values of ``avro`` that are not null.

        If ``avro`` is a union, the result is its only type besides null. Raises StatusError (8001) if the union has no
        such type, or several. The name of a type that the schema defines is replaced by the type's definition.
        """
        if isinstance(avro, list):
            others = [branch for branch in avro if branch != "null"]
            if len(others) != 1:
                raise self._misfit_error(
                    f"field {path} is a union of {len(others)} types; only one besides null is allowed"
                )
            avro = others[0]
        return self._named.get(avro, avro) if isinstance(avro, str) else avro

    def _misfit_error(self, reason: str) -> Exception:
        return schema_mismatch_error(self._shape.table, reason)
