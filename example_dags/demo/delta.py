"""Reads Delta tables from their files, without the local server, and computes checksums of rows."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

__all__ = ["checksum", "checksums", "read", "row_count", "without_repeats"]


def row_count(path: Path) -> int:
    """Return the number of rows in the table. Reads only the table's log, so it can be called many times a second."""
    actions = pa.table(DeltaTable(path).get_add_actions(flatten=True))
    return pc.sum(actions["num_records"]).as_py() or 0


def read(path: Path) -> pa.Table:
    """Return all rows of the table."""
    return DeltaTable(path).to_pyarrow_table()


def checksums(table: pa.Table) -> dict[str, str]:
    """Return a checksum of each column; it does not depend on the order of the values."""
    return {name: checksum(table.select([name])) for name in table.column_names}


def checksum(table: pa.Table) -> str:
    """Return a checksum of the rows, which does not depend on their order.

    The checksums of two tables can be compared only if their columns have the same types.
    """
    digest = hashlib.sha256()
    for column in _sorted(table).columns:
        # First which values are null, then the values with zeros for nulls, because Arrow leaves these undefined.
        for array in (pc.cast(pc.is_null(column), pa.uint8()), pc.fill_null(column, _zero(column.type))):
            for buffer in array.combine_chunks().buffers():
                digest.update(buffer or b"-")
    return digest.hexdigest()[:12]


def without_repeats(table: pa.Table) -> pa.Table:
    """Return the rows of the table without duplicates."""
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
    """Return, for each value but the first, whether it differs from the value before it; two nulls are equal."""
    before, here = column.slice(0, len(column) - 1), column.slice(1)
    either_is_null = pc.xor(pc.is_null(before), pc.is_null(here))
    return pc.fill_null(pc.or_(pc.not_equal(before, here), either_is_null), either_is_null)
