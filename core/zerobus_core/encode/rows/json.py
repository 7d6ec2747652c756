"""Rows as JSON objects, written by orjson."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from ...schema.types import ArrayType, DataType, MapType, StructType
from .encoder import RowEncoder

if TYPE_CHECKING:
    from ...batch import Batch, RecordFormat
    from ...options import IngestOptions
    from ...schema import TableSchema

__all__ = ["JsonEncoder"]


class JsonEncoder(RowEncoder):
    """Rows to JSON text: dates as days, timestamps as microseconds, decimals and VARIANT as text, bytes as base64."""

    descriptor: bytes | None = None

    def __init__(self, schema: TableSchema, options: IngestOptions, *, reason: str, delivery_id: str | None) -> None:
        super().__init__(schema, options, reason=reason, as_json=True, delivery_id=delivery_id)
        # Whether a null is written depends on the rows beside it; where equal rows must become equal text, none is.
        self._without_nulls = _without_nulls_of(StructType(self._fields))
        self._filled = b""  # the members that the delivery fills, up to the number of the row
        if self._reserved:
            self._filled = orjson.dumps({self._id_column: delivery_id, self._row_column: 0})[1:-2]

    @property
    def record_format(self) -> RecordFormat:
        """The payloads are lists of text."""
        return "json"

    def _payloads(self, rows: list[dict[str, Any]], first_row: int) -> list[bytes]:
        if self._is_digested:
            rows = list(map(self._without_nulls, rows))
            records = [orjson.dumps(row, option=orjson.OPT_SORT_KEYS) for row in rows]
        else:
            records = list(map(orjson.dumps, rows))
        if not self._filled:
            return records
        return [
            b"%b%b%b%d}" % (record[:-1], b"," if len(record) > len(b"{}") else b"", self._filled, number)
            for number, record in enumerate(records, first_row)
        ]

    def _without_filled(self, records: list[bytes], first_row: int) -> list[bytes]:
        if not self._filled:
            return records
        return [record[: -len(b"%b%d}" % (self._filled, number))] for number, record in enumerate(records, first_row)]

    def decode(self, batch: Batch, index: int) -> dict[str, Any]:
        """The row as JSON-able values, in wire form."""
        record = batch.payload[index]
        assert isinstance(record, str)
        decoded: dict[str, Any] = orjson.loads(record)
        return decoded


def _without_nulls_of(kind: StructType) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function that leaves out the members that are null, of a row and of the structs in it."""
    inner = {field.name: convert for field in kind.fields if (convert := _inside_of(field.type)) is not None}

    def convert_struct(row: dict[str, Any]) -> dict[str, Any]:
        out = {name: value for name, value in row.items() if value is not None}
        for name, convert in inner.items():
            if name in out:
                out[name] = convert(out[name])
        return out

    return convert_struct


def _inside_of(kind: DataType) -> Callable[[Any], Any] | None:
    """The same for a value of a column; None if no struct can be in it."""
    if isinstance(kind, StructType):
        return _without_nulls_of(kind)
    if isinstance(kind, ArrayType) and (of_element := _inside_of(kind.element)) is not None:
        return lambda values: [None if value is None else of_element(value) for value in values]
    if isinstance(kind, MapType) and (of_value := _inside_of(kind.value)) is not None:
        return lambda pairs: {key: None if value is None else of_value(value) for key, value in pairs.items()}
    return None
