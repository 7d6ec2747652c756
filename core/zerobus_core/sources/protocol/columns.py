"""Selects and renames the columns of a source, for rows and for Arrow data.

The options apply in this order: ``select`` and ``drop``, ``rename``, ``constants``, ``extra_columns``. The effect
of ``extra_columns`` depends on the columns of the table.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...batch import Chunk
from ...column_options import RESCUE, RESCUED, SHAPED, is_kept, variant_column
from ...encode.problems import shown_name
from ...errors import ConfigurationError, SchemaError
from ...records import (
    UnfitError,
    UnreadableRow,
    is_message,
    members_of,
    names_of,
    renamed_members,
    short_repr,
    with_members,
    without_members,
)
from .origins import OriginSource
from .source import ChangedSource, Shaping, Source, combined_fingerprint
from .transforming import TransformedSource, rows_of

if TYPE_CHECKING:
    from ...options import IngestOptions
    from ...ranges import RemovedRows, RowRanges
    from ...schema import TableSchema

__all__ = ["ShapedSource", "shaped"]

_log = logging.getLogger("zerobus_core")
# The receipt has at most this many names of dropped columns.
_MOST_NAMES = 100


def shaped(source: Source, options: IngestOptions) -> Source:
    """Return a source that has the rows of ``source``, changed as ``options`` say.

    Returns ``source`` itself if the options change nothing.

    The options used are ``transform``, ``select``, ``drop``, ``rename``, ``constants``, ``extra_columns`` and
    ``metadata_columns``.
    """
    if options.transform is not None:
        source = TransformedSource(source, options)
    is_shaped = options.select or options.drop or options.rename or options.constants
    if is_shaped or options.extra_columns != "error":
        source = ShapedSource(source, options)
    return source if options.metadata_columns is None else OriginSource(source, options.metadata_columns)


class ShapedSource(ChangedSource):
    """A source that has the rows of another source, at the same positions, with changed columns."""

    def __init__(self, source: Source, options: IngestOptions) -> None:
        super().__init__(source)
        self._selected = frozenset(options.select)
        self._dropped = frozenset(options.drop)
        self._names = dict(options.rename or {})
        self._constants = dict(options.constants or {})
        self._extra = options.extra_columns
        self._is_for_rescue = options.extra_columns == RESCUE
        self._variant = RESCUED if self._is_for_rescue else variant_column(options.extra_columns)
        self._table: str | None = None
        self._columns: frozenset[str] = frozenset()
        """The names of the table's columns, in lower case; empty until ``read_for`` is called."""
        self._unseen = {*self._selected, *self._names}
        self._lost: dict[str, None] = {}
        self.is_arrow = source.is_arrow and not self._is_for_rescue  # rescued JSON is made from rows, not from batches
        self.start_delay = source.start_delay

    def __repr__(self) -> str:
        return (
            f"ShapedSource({self._source!r}, select={sorted(self._selected)}, drop={sorted(self._dropped)}, "
            f"rename={self._names}, constants={sorted(self._constants)}, extra_columns={self._extra!r})"
        )

    @property
    def shaping(self) -> Shaping:
        """See ``Source``."""
        notes = []
        if self._unseen:
            names = ", ".join(sorted(map(repr, self._unseen)))
            notes.append(f"no row that was read has {names}; check the names in select and rename")
        return self._source.shaping + Shaping(columns_dropped=tuple(self._lost), notes=tuple(notes))

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the chunks of the underlying source, with changed columns."""
        self._unseen = {*self._selected, *self._names}
        self._lost = {}
        for chunk in self._source.chunks(skip):
            rows = list(rows_of(chunk)) if self._is_for_rescue else chunk.rows
            if isinstance(rows, list):
                yield Chunk(chunk.first_row, [self._row(row) for row in rows])
            else:
                yield Chunk(chunk.first_row, self._batch(rows))
        if not skip:
            return
        self._unseen = set()  # the skipped rows can have these names

    def read_for(self, schema: TableSchema) -> None:
        """Prepare to read rows for the table that has ``schema``.

        Columns of the source that the table lacks are extra columns. The underlying source does not know the new names
        from ``rename``, so it gets a copy of ``schema`` with the old names. Raises ConfigurationError if
        ``extra_columns`` refers to a column that the table lacks, or to a column whose type is not VARIANT.
        """
        before = {new.lower(): old for old, new in self._names.items()}
        own = tuple(replace(column, name=before.get(column.name.lower(), column.name)) for column in schema.columns)
        self._source.read_for(replace(schema, columns=own) if before else schema)
        self._table = schema.table
        self._columns = frozenset(column.name.lower() for column in schema.columns)
        if self._variant is not None and not self._is_for_rescue:
            kinds = {column.name.lower(): str(column.type) for column in schema.columns}
            if kinds.get(self._variant.lower()) != "VARIANT":
                found = kinds.get(self._variant.lower())
                is_what = "which the table does not have" if found is None else f"which is {found}"
                raise ConfigurationError(
                    f"options.extra_columns refers to column {self._variant!r}, {is_what}; use a VARIANT column",
                    table=schema.table,
                )

    # Arrow data

    def _batch(self, rows: Any) -> Any:
        from .reshape import collected, with_constants

        given: list[str] = rows.schema.names
        self._see(given)
        places = [at for at, name in enumerate(given) if is_kept(name, self._selected, self._dropped)]
        if len(places) < len(rows.schema):
            rows = rows.select(places)
        kept = [given[at] for at in places]
        names = [self._names.get(name, name) for name in kept]
        if names != kept:
            rows = rows.rename_columns(names)
        if self._constants:
            self._refuse_constants(names)
            rows = with_constants(rows, self._constants)
        extra = [name for name in names if self._is_extra(name)]
        if not extra:
            return rows
        if len(set(extra)) < len(extra):
            raise SchemaError(
                "the source has columns that the table lacks, and two or more of these share one name: "
                f"{', '.join(sorted(map(repr, extra)))}; rename them in the source"
            )
        if self._variant is None:
            self._lose(extra)
            return rows.select([name for name in rows.schema.names if name not in extra])
        self._refuse_variant(names)
        return collected(rows, extra, self._variant)

    # Rows

    def _row(self, row: Any) -> Any:
        if is_message(type(row)):
            raise ConfigurationError(
                "options.select, drop, rename, constants and extra_columns cannot be applied to protobuf messages; "
                "yield dicts instead"
            )
        try:
            members = row if type(row) is dict else members_of(row)
            if members is None:
                return row  # the encoder refuses it, with its position
            return self._members(members)
        except UnfitError as error:
            return UnreadableRow(short_repr(row), str(error))

    def _members(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._unseen:
            self._see(each for name in members for each in names_of(members, name))
        if self._selected:
            members = without_members(
                members, [name for name in members if self._selected.isdisjoint(names_of(members, name))]
            )
        if self._dropped:
            members = without_members(members, self._dropped)
        if self._names:
            members = renamed_members(members, self._names)
        if self._constants:
            self._refuse_constants(members)
            members = with_members(members, self._constants)
        if self._extra != "error":
            extra = [name for name in members if all(map(self._is_extra, names_of(members, name)))]
            if extra:
                members = self._without_extra(members, extra)
        return members

    def _without_extra(self, members: Mapping[str, Any], extra: list[str]) -> Mapping[str, Any]:
        kept = without_members(members, extra)
        if self._variant is None:
            self._lose(extra)
            return kept
        self._refuse_variant(members)
        return with_members(kept, {self._variant: {name: members[name] for name in sorted(extra, key=str)}})

    # Both Arrow data and rows

    def _is_extra(self, name: Any) -> bool:
        return self._extra != "error" and bool(self._columns) and str(name).lower() not in self._columns

    def _see(self, names: Any) -> None:
        self._unseen.difference_update(names)

    def _lose(self, names: list[str]) -> None:
        for name in names:
            if name not in self._lost and len(self._lost) < _MOST_NAMES:
                self._lost[name] = None
                _log.warning("%s: column %s is dropped: the table lacks it", self._table, shown_name(name))

    def _refuse_constants(self, names: Any) -> None:
        lower = {name.lower() for name in self._constants}
        if both := sorted(str(name) for name in names if str(name).lower() in lower):
            raise ConfigurationError(
                f"options.constants fills {', '.join(map(repr, both))}, which the source also has; leave "
                "the source's column out with drop",
                table=self._table,
            )

    def _refuse_variant(self, names: Any) -> None:
        assert self._variant is not None
        if any(str(name).lower() == self._variant.lower() for name in names):
            raise ConfigurationError(
                f"options.extra_columns collects fields in {self._variant!r}, which the source also has; rename the "
                "source's column with options.rename",
                table=self._table,
            )

    def removed_since(self, fingerprint: str, reached: int) -> Iterator[RemovedRows | None]:
        """See ``Source``. Yields nothing if the options for columns have changed since ``fingerprint``."""
        source, _, shape = fingerprint.partition(SHAPED)
        if shape == (self.fingerprint or "").partition(SHAPED)[2]:
            yield from self._source.removed_since(source, reached)

    def _find_fingerprint(self) -> str | None:
        shape: dict[str, Any] = {"drop": sorted(self._dropped), "rename": sorted(self._names.items())}
        if self._selected:
            shape["select"] = sorted(self._selected)
        if self._constants:
            shape["constants"] = {name: repr(value) for name, value in self._constants.items()}
        if self._extra != "error":
            shape["extra_columns"] = self._extra
        return combined_fingerprint(self._source.fingerprint, shape)
