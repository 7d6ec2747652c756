"""What the protobuf and the JSON encoder of rows have in common: bad rows, limits, batches, delivery columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..batch import BadRow, Batch, Chunk
from ..options import MAX_RECORD_BYTES, IngestOptions
from .cut import cut_batches
from .nested import Walk
from .unfit import WHOLE_ROW, Problems, record_error

if TYPE_CHECKING:
    import pyarrow as pa

    from ..errors import BadField
    from ..schema import TableSchema

__all__ = ["RowEncoder"]


class RowEncoder(ABC):
    """Turns chunks of row objects into batches; one record per row.  Used by one thread at a time."""

    def __init__(
        self, schema: TableSchema, options: IngestOptions, *, reason: str, as_json: bool, delivery_id: str | None
    ) -> None:
        self._table = schema.table
        self._options = options
        self._as_json = as_json
        self.record_format_reason = reason
        reserved = frozenset((options.delivery_columns or {}).values()) if delivery_id else frozenset[str]()
        # What the delivery fills itself is no field of the rows, and so is refused in them.
        self._fields = tuple(column for column in schema.columns if column.name not in reserved)
        self._walk = Walk(self._fields, as_json=as_json, parse_text=options.parse_text, reserved=reserved)

    @property
    def arrow_schema(self) -> pa.Schema | None:
        """None: the payloads are records, not Arrow batches."""
        return None

    @abstractmethod
    def _record(self, members: dict[str, Any], row: int) -> bytes:
        """The payload of one row out of its wire values."""

    def encode(self, chunk: Chunk, *, on_bad_row: Callable[[BadRow], None] | None = None) -> Iterator[Batch]:
        """Yield batches in row order; see ``zerobus_core.batch.Encoder``."""
        rows = chunk.rows
        if not isinstance(rows, list):
            raise TypeError(f"an encoder of rows got {type(rows).__name__}")
        good: list[tuple[int, bytes]] = []
        bad: list[BadField] = []
        for row, record in enumerate(rows, chunk.first_row):
            problems = Problems(row)
            payload = self._walked(record, problems)
            if payload is not None:
                good.append((row, payload))
            elif on_bad_row is not None:
                on_bad_row(BadRow(row, record, tuple(problems.fields)))
            else:
                bad += problems.fields
        if bad:
            raise record_error(self._table, bad)
        yield from cut_batches(good, self._options, as_text=self._as_json)

    def _walked(self, record: Any, problems: Problems) -> bytes | None:
        members = self._walk.row(record, problems)
        if problems.fields:
            return None
        payload = self._record(members, problems.row)
        if len(payload) > MAX_RECORD_BYTES:
            problems.add(WHOLE_ROW, record, f"at most {MAX_RECORD_BYTES} bytes", f"has {len(payload)} bytes")
            return None
        return payload
