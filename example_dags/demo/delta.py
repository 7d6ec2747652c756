"""Reads Delta tables without asking the service, and compares their rows with those of the source."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

__all__ = ["checksum", "checksums", "read", "row_count", "without_repeats"]


def row_count(path: Path) -> int:
    """How many rows the table has, out of its log: cheap enough to ask many times a second."""
    actions = pa.table(DeltaTable(path).get_add_actions(flatten=True))
    return pc.sum(actions["num_records"]).as_py() or 0


def read(path: Path) -> pa.Table:
    """All rows of the table."""
    return DeltaTable(path).to_pyarrow_table()


def checksums(table: pa.Table) -> dict[str, str]:
    """A checksum of each column, of its values whatever their order."""
    return {name: checksum(table.select([name])) for name in table.column_names}


def checksum(table: pa.Table) -> str:
    """A checksum of the rows, whatever their order; tables of the same types compare."""
    digest = hashlib.sha256()
    for column in _sorted(table).columns:
        # Null or not, then the values: no buffer may hold what Arrow leaves undefined.
        for array in (pc.cast(pc.is_null(column), pa.uint8()), pc.fill_null(column, _zero(column.type))):
            for buffer in array.combine_chunks().buffers():
                digest.update(buffer or b"-")
    return digest.hexdigest()[:12]


def without_repeats(table: pa.Table) -> pa.Table:
    """The rows of the table, each of them once."""
    ordered = _sorted(table)
    if ordered.num_rows == 0:
        return ordered
    changes = functools.reduce(pc.or_, map(_changes, ordered.columns))
    return ordered.filter(pa.concat_arrays([pa.array([True]), changes.combine_chunks()]))


def _sorted(table: pa.Table) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in table.column_names])


def _zero(kind: pa.DataType) -> pa.Scalar:
    return pa.scalar("" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else 0, kind)


def _changes(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether each value but the first differs from the one before it; null is a value here."""
    before, here = column.slice(0, len(column) - 1), column.slice(1)
    either_is_null = pc.xor(pc.is_null(before), pc.is_null(here))
    return pc.fill_null(pc.or_(pc.not_equal(before, here), either_is_null), either_is_null)
