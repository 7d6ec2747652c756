"""Infers the schema of a table for a source's rows, from a sample of these rows or from all of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..errors import SchemaError
from ..ranges import RowRanges
from ..records import is_record
from ..schema import TableSchema

if TYPE_CHECKING:
    from ..sources.protocol.source import Source

__all__ = ["SampledTable", "sampled_table"]


class SampledTable:
    """An inferred table, and the number of rows that it was inferred from."""

    def __init__(self, schema: TableSchema, rows: int, *, is_all: bool) -> None:
        self.schema = schema
        self.rows = rows
        self.is_all = is_all
        """True if the sample is known to contain all rows of the source."""


def sampled_table(source: Source, table: str, *, rows: int | None, not_null: bool = False) -> SampledTable:
    """Infer the schema of a table from the first ``rows`` rows of ``source``, or from all rows if ``rows`` is None.

    Rows that cannot be read are left out. Blocks while the source is read. Raises the errors of the source, and
    SchemaError for names or values that fit no table.
    """
    read = _Sample(source, rows)
    if source.is_arrow and not source.is_text:
        schema = TableSchema.from_arrow(read.arrow_schema(), table, not_null=not_null)
    else:
        schema = TableSchema.from_records(read.records(), table, not_null=not_null, is_text=source.is_arrow)
    return SampledTable(schema, read.count, is_all=read.is_all)


class _Sample:
    def __init__(self, source: Source, rows: int | None) -> None:
        self._source = source
        self._limit = rows
        self.count = 0
        self.is_all = True

    def _parts(self) -> Iterator[Any]:
        """Yield the source's rows in pieces, until the number of rows to sample is reached."""
        for chunk in self._source.chunks(RowRanges()):
            left = len(chunk.rows) if self._limit is None else self._limit - self.count
            if len(chunk.rows) > left:
                self.is_all = False
            part = chunk.rows[:left]
            self.count += len(part)
            yield part
            if self._limit is not None and self.count >= self._limit:
                # Reading on, only to find out whether there are more rows, is not worth the time.
                self.is_all = self.is_all and self._source.total_rows == self.count
                return

    def records(self) -> Iterator[Any]:
        for part in self._parts():
            try:
                rows = part if isinstance(part, list) else part.to_pylist()
            except UnicodeDecodeError as error:
                raise SchemaError(
                    f"some text in the sample is invalid in the encoding used to read the file ({error.reason}); "
                    'set the encoding of the file, e.g. CsvFormat(encoding="latin-1")'
                ) from error
            for row in rows:
                if is_record(row):
                    yield row if isinstance(part, list) else {name: _text(value) for name, value in row.items()}

    def arrow_schema(self) -> Any:
        import pyarrow as pa

        schemas = [part.schema.remove_metadata() for part in islice(self._parts(), None) if not isinstance(part, list)]
        if not schemas:
            raise SchemaError("the source has no rows, so its columns are unknown")
        try:
            return pa.unify_schemas(schemas, promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise SchemaError(f"the batches of the source have different schemas: {error}") from error


def _text(value: Any) -> str | None:
    """Return ``value`` as text; None stays None.

    In a partition column, for example, a value can be a number.
    """
    return value if value is None or isinstance(value, str) else str(value)
