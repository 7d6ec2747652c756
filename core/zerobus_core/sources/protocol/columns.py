"""A source of which not all columns are delivered, as the options say; for rows and Arrow data alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...batch import Chunk
from ...errors import ConfigurationError
from ...records import UnfitError, UnreadableRow, is_message, members_of, renamed_members, short_repr, without_members
from .source import Source

if TYPE_CHECKING:
    from ...options import IngestOptions
    from ...ranges import RowRanges
    from ...schema import TableSchema

__all__ = ["ShapedSource", "shaped"]


def shaped(source: Source, options: IngestOptions) -> Source:
    """The source with the columns that ``options`` leave; itself if they say nothing of columns."""
    return ShapedSource(source, options) if options.drop or options.rename else source


class ShapedSource(Source):
    """The rows of another source with fewer columns, or columns of other names, at the same positions."""

    def __init__(self, source: Source, options: IngestOptions) -> None:
        self._source = source
        self._dropped = frozenset(options.drop)
        self._names = dict(options.rename or {})
        self.is_arrow = source.is_arrow
        self.is_text = source.is_text
        self.is_in_memory = source.is_in_memory
        self.start_delay = source.start_delay

    def __repr__(self) -> str:
        return f"ShapedSource({self._source!r}, drop={sorted(self._dropped)}, rename={self._names})"

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Those of the other source, with other rows."""
        for chunk in self._source.chunks(skip):
            rows = chunk.rows
            if isinstance(rows, list):
                yield Chunk(chunk.first_row, [self._row(row) for row in rows])
            else:
                yield Chunk(chunk.first_row, self._batch(rows))

    def read_for(self, schema: TableSchema) -> None:
        """See ``Source``."""
        self._source.read_for(schema)

    def would_hold(self, uri: str) -> bool:
        """See ``Source``."""
        return self._source.would_hold(uri)

    def locate(self, row: int) -> str:
        """See ``Source``."""
        return self._source.locate(row)

    def on_durable(self) -> None:
        """See ``Source``."""
        self._source.on_durable()

    def _batch(self, rows: Any) -> Any:
        kept = [name for name in rows.schema.names if name not in self._dropped]
        if len(kept) < len(rows.schema):
            rows = rows.select(kept)
        names = [self._names.get(name, name) for name in kept]
        return rows.rename_columns(names) if names != kept else rows

    def _row(self, row: Any) -> Any:
        if is_message(type(row)):
            raise ConfigurationError("options.drop and rename are not for protobuf messages; yield dicts instead")
        try:
            members = row if type(row) is dict else members_of(row)
            if members is None:
                return row  # the encoder refuses it, with its position
            kept = without_members(members, self._dropped)
            return renamed_members(kept, self._names) if self._names else kept
        except UnfitError as error:
            return UnreadableRow(short_repr(row), str(error))

    def _find_fingerprint(self) -> str | None:
        inner = self._source.fingerprint
        if inner is None:
            return None
        shape = json.dumps([inner, {"drop": sorted(self._dropped), "rename": sorted(self._names.items())}])
        return f"shaped:{hashlib.sha256(shape.encode()).hexdigest()[:32]}"

    def _count_rows(self) -> int | None:
        return self._source.total_rows
