"""Restores a pandas frame's named RangeIndex, which Arrow data contain only in their metadata.

pyarrow writes the start, stop and step of such an index to the metadata, but no column. pandas restores the index from
the metadata; a reader that only looks at the columns would miss the index.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ...errors import ConfigurationError

__all__ = ["RangeColumn", "range_column", "refuse_range_column", "with_range_column"]


@dataclass(frozen=True, slots=True)
class RangeColumn:
    """A named range index of a pandas frame, which can be added to Arrow data as a column."""

    name: str
    values: range

    def added_to(self, batch: pa.RecordBatch, first: int, of: int, where: str) -> pa.RecordBatch:
        """Return ``batch`` with this column added, unless ``batch`` already has it.

        ``first`` is the position of the batch's first row in its table, and ``of`` is the number of rows in that table.
        Raises ConfigurationError if the index does not have ``of`` values, for example because the table was filtered.
        Also raises ConfigurationError if ``batch`` has a column of the same name with other values. Error messages call
        the table ``where``.
        """
        if len(self.values) != of:
            raise ConfigurationError(
                f"{where} holds {of} rows, but its pandas metadata say that the index {self.name!r} has "
                f"{len(self.values)} values, so it is unknown which value belongs to which row; {self._remedy}"
            )
        part = self.values[first : first + len(batch)]
        if self.name in batch.schema.names:
            if not _has_values(batch.column(self.name), part):
                raise ConfigurationError(
                    f"{where} has a column {self.name!r} and, in its pandas metadata, an index of that name with other "
                    f"values; {self._remedy}"
                )
            return batch
        column = pa.array(part, pa.int64())
        return pa.RecordBatch.from_arrays([*batch.columns, column], schema=batch.schema.append(self.field))

    @property
    def field(self) -> pa.Field:
        """The column as a field of an Arrow schema."""
        return pa.field(self.name, pa.int64())

    @property
    def _remedy(self) -> str:
        return f"write frame.reset_index() instead, or leave the index out: drop=[{self.name!r}] (--drop {self.name})"

    def refusal_error(self, where: str) -> ConfigurationError:
        """Return the error for a source that cannot get the column, because the source's number of rows is unknown."""
        return ConfigurationError(
            f"{where} comes from a pandas frame whose index {self.name!r} is stored only in the metadata, not as a "
            f"column; {self._remedy}"
        )


def range_column(schema: pa.Schema, dropped: tuple[str, ...] = ()) -> RangeColumn | None:
    """Return the named range index in a schema's pandas metadata.

    Returns None if the metadata have no such index, or if ``dropped`` contains the name of the index.
    """
    for index in _index_columns(schema):
        if isinstance(index, dict) and index.get("kind") == "range" and index.get("name") is not None:
            name = str(index["name"])
            values = range(int(index["start"]), int(index["stop"]), int(index["step"]))
            return None if name in dropped else RangeColumn(name, values)
    return None


def with_range_column(table: pa.Table, dropped: tuple[str, ...]) -> pa.Table:
    """Return ``table`` with an added column: the named range index from the pandas metadata of ``table``.

    Returns ``table`` itself if its metadata have no such index, or if ``dropped`` contains the name of the index.
    Raises ConfigurationError as ``RangeColumn.added_to`` does.
    """
    found = range_column(table.schema, dropped)
    if found is None:
        return table
    first = 0
    batches = []
    for batch in table.to_batches():
        batches.append(found.added_to(batch, first, table.num_rows, "the Arrow table"))
        first += len(batch)
    schema = table.schema if found.name in table.schema.names else table.schema.append(found.field)
    return pa.Table.from_batches(batches, schema)


def refuse_range_column(schema: Any, dropped: tuple[str, ...], where: str) -> None:
    """Raise ConfigurationError if the metadata of ``schema`` have a named range index that is not in ``dropped``.

    If data come batch by batch, the number of rows is unknown, so the index cannot become a column.
    """
    found = range_column(schema, dropped) if isinstance(schema, pa.Schema) else None
    if found is not None:
        raise found.refusal_error(where)


def _has_values(column: pa.Array, values: range) -> bool:
    """Return whether the values of ``column``, whatever its type, are exactly the numbers in ``values``."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_int64(kind):
        return bool(column.equals(pa.array(values, kind)))
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return not values or (is_number and column.to_pylist() == list(values))


def _index_columns(schema: pa.Schema) -> list[Any]:
    written = (schema.metadata or {}).get(b"pandas")
    if written is None:
        return []
    try:
        columns = json.loads(written)["index_columns"]
    except (ValueError, KeyError, TypeError):
        return []  # metadata of an unknown form
    return columns if isinstance(columns, list) else []
