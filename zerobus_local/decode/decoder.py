"""Decodes the records of a request into an Arrow batch of the table's schema; a bad record raises an error.

A decoder is built once for each stream or REST insert. If the message that opens a stream has a schema, this schema is
compared with the table's columns while the decoder is built. A decoder keeps no state between calls, so the
records of several requests can be decoded together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from ..model.nullability import without_not_null
from .refusal import RefusedRecordError

if TYPE_CHECKING:
    from ..model.objects import Table

__all__ = [
    "MAX_COLUMNS",
    "MAX_RECORDS",
    "MAX_RECORD_BYTES",
    "Decoder",
    "TableShape",
    "check_sizes",
]

# docs: zerobus-quotas, "Record size 10 MB"
MAX_RECORD_BYTES = 10 * 1024 * 1024
# third party: according to the Telegraf output, the server accepts at most 100,000 rows
MAX_RECORDS = 100_000
# docs: 2,000 columns per schema
MAX_COLUMNS = 2000


@dataclass(frozen=True)
class TableShape:
    """A table's columns at the time when a stream opened, in the forms that decoding needs."""

    table: str
    schema: pa.Schema
    types: dict[str, Any]
    #: the name of the column for members of JSON records that do not fit the table; None if there is no such column
    rescue: str | None = None
    #: the schema of decoded batches: ``schema`` without NOT NULL, so that decoding can report which field is NULL
    open_schema: pa.Schema = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "open_schema", without_not_null(self.schema))

    @classmethod
    def of(cls, table: Table) -> TableShape:
        """Return the shape of a table of the catalog."""
        nullable = {column.name: column.nullable for column in table.columns}
        schema = pa.schema([f.with_nullable(nullable.get(f.name, True)) for f in table.arrow_schema])
        types = {column.name: column.type for column in table.columns}
        rescue = next((column.name for column in table.columns if column.is_rescue), None)
        return cls(table.full_name, schema, types, rescue)

    @property
    def required(self) -> list[str]:
        """The names of the NOT NULL columns."""
        return [f.name for f in self.schema if not f.nullable]


class Decoder(Protocol):
    """Decodes records into a batch whose schema is ``TableShape.open_schema``."""

    def decode(self, records: list[bytes]) -> pa.RecordBatch:
        """Return one row per record, in order; raise RefusedRecordError if a record does not fit the table."""


def check_sizes(records: list[bytes]) -> None:
    """Raise RefusedRecordError if a record is larger than the service accepts."""
    if max(map(len, records), default=0) <= MAX_RECORD_BYTES:
        return
    index, size = next((index, len(record)) for index, record in enumerate(records) if len(record) > MAX_RECORD_BYTES)
    raise RefusedRecordError(index, None, f"{size} bytes; a record holds at most {MAX_RECORD_BYTES} bytes")
