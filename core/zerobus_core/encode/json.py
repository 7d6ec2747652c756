"""Rows as JSON objects, written by orjson."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from .rows import RowEncoder

if TYPE_CHECKING:
    from ..batch import Batch, RecordFormat
    from ..options import IngestOptions
    from ..schema import TableSchema

__all__ = ["JsonEncoder"]


class JsonEncoder(RowEncoder):
    """Rows to JSON text: dates as days, timestamps as microseconds, decimals and VARIANT as text, bytes as base64."""

    descriptor: bytes | None = None

    def __init__(self, schema: TableSchema, options: IngestOptions, *, reason: str, delivery_id: str | None) -> None:
        super().__init__(schema, options, reason=reason, as_json=True, delivery_id=delivery_id)
        self._delivery_id = delivery_id
        columns = options.delivery_columns or {}
        self._id_column, self._row_column = columns.get("delivery_id", ""), columns.get("row_number", "")

    @property
    def record_format(self) -> RecordFormat:
        """The payloads are lists of text."""
        return "json"

    def _record(self, members: dict[str, Any], row: int) -> bytes:
        if self._delivery_id is not None:
            members[self._id_column] = self._delivery_id
            members[self._row_column] = row
        return orjson.dumps(members)

    def decode(self, batch: Batch, index: int) -> dict[str, Any]:
        """The row as JSON-able values, in wire form."""
        record = batch.payload[index]
        assert isinstance(record, str)
        decoded: dict[str, Any] = orjson.loads(record)
        return decoded
