"""Rows as JSON objects, written by orjson."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

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

    @property
    def record_format(self) -> RecordFormat:
        """The payloads are lists of text."""
        return "json"

    def _payloads(self, rows: list[dict[str, Any]], first_row: int) -> list[bytes]:
        if self._reserved:
            rows = [
                {**row, self._id_column: self._delivery_id, self._row_column: number}
                for number, row in enumerate(rows, first_row)
            ]
        return list(map(orjson.dumps, rows))

    def decode(self, batch: Batch, index: int) -> dict[str, Any]:
        """The row as JSON-able values, in wire form."""
        record = batch.payload[index]
        assert isinstance(record, str)
        decoded: dict[str, Any] = orjson.loads(record)
        return decoded
