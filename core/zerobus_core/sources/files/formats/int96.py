"""Reads INT96, the old timestamps of Spark, Hive and Impala in Parquet files, with all of their years and digits.

Arrow can read INT96 in several units. Times before 1677 and after 2262 wrap around if they are read as nanoseconds. The
last three digits are dropped from any time that is read as microseconds. So each column is read in both units, and the
microseconds are multiplied by 1,000. The product wraps around in the same way as the nanoseconds, so the product and
the nanoseconds differ only if digits were dropped. Read as seconds, no time wraps around, which shows whether the
microseconds have.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from ..finding.found import FoundFile

__all__ = ["Int96", "has_int96", "opened"]

_EPOCH = datetime(1970, 1, 1)
_MOST_SECONDS = 2**63 // 10**6 - 1
_MOST_MICROSECONDS = 2**63 // 10**3 - 1


def opened(scope: ExitStack, file: FoundFile, **options: Any) -> Any:
    """Open a Parquet file with these options of ``pyarrow.parquet.ParquetFile``; ``scope`` closes it."""
    return scope.enter_context(pq.ParquetFile(scope.enter_context(file.open()), **options))


def has_int96(parquet: Any) -> bool:
    """Return whether a ``ParquetFile`` has INT96 columns, possibly inside other columns."""
    return any(parquet.schema.column(at).physical_type == "INT96" for at in range(len(parquet.schema)))


class Int96:
    """Reads the INT96 columns of one file; see the module's docstring."""

    def __init__(self, scope: ExitStack, file: FoundFile, schema: pa.Schema) -> None:
        """Build the reader; ``schema`` is the Arrow schema that the file has if INT96 is read as microseconds."""
        self._nanoseconds = opened(scope, file)
        self._seconds = opened(scope, file, coerce_int96_timestamp_unit="s")
        wrapping = self._nanoseconds.schema_arrow
        self._names = [field.name for field in wrapping if field.type != schema.field(field.name).type]

    def exact(self, batches: Iterator[pa.RecordBatch], group: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of ``batches``, which are the batches of a row group, with exact timestamps.

        Timestamps are in microseconds, except in rows that would lose digits: each such row is a batch of its own, with
        timestamps in nanoseconds or, if their years would wrap around, as text. Raises ArrowInvalid for a time that
        none of these forms can hold.
        """
        self._check_years(group)
        table = self._nanoseconds.read_row_group(group, columns=self._names)
        first = 0
        for batch in batches:
            yield from _exact(batch, table.slice(first, len(batch)))
            first += len(batch)

    def _check_years(self, group: int) -> None:
        for name, column in zip(self._names, self._seconds.read_row_group(group, columns=self._names), strict=True):
            for chunk in column.chunks:
                for leaf in _moments_in(chunk):
                    extremes = pc.min_max(leaf.cast(pa.int64())).as_py()
                    if any(abs(seconds) > _MOST_SECONDS for seconds in extremes.values() if seconds is not None):
                        raise pa.ArrowInvalid(f"column {name} has a time that is not within the years 0001 to 9999")


def _exact(batch: pa.RecordBatch, nanoseconds: pa.Table) -> Iterator[pa.RecordBatch]:
    columns = {name: nanoseconds.column(name).combine_chunks() for name in nanoseconds.schema.names}
    finer = {name: column for name, column in columns.items() if _drops(batch.column(name), column)}
    if not finer:
        yield batch
    elif len(batch) == 1:
        for name, column in finer.items():  # not the others: as nanoseconds, their years could wrap around
            finer_column = _with_digits(name, batch.column(name), column)
            batch = batch.set_column(batch.schema.get_field_index(name), name, finer_column)
        yield batch
    else:
        middle = len(batch) // 2
        yield from _exact(batch.slice(0, middle), nanoseconds.slice(0, middle))
        yield from _exact(batch.slice(middle), nanoseconds.slice(middle))


def _drops(microseconds: pa.Array, nanoseconds: pa.Array) -> bool:
    """Return whether ``microseconds`` lacks digits of ``nanoseconds``. Both must have the same nesting."""
    pairs = zip(_moments_in(microseconds), _moments_in(nanoseconds), strict=True)
    # Multiplying wraps around silently, as reading did. A column that was not INT96 has the same unit in both.
    return any(
        pc.all(pc.equal(pc.multiply(coarse.cast(pa.int64()), 1_000), fine.cast(pa.int64()))).as_py() is False
        for coarse, fine in pairs
        if coarse.type != fine.type
    )


def _moments_in(array: pa.Array) -> Iterator[pa.Array]:
    """Yield the arrays of timestamps in ``array``, which can be nested."""
    if pa.types.is_struct(array.type):
        for member in array.flatten():
            yield from _moments_in(member)
    elif pa.types.is_nested(array.type):
        yield from _moments_in(array.flatten())
    elif pa.types.is_timestamp(array.type):
        yield array


def _with_digits(name: str, microseconds: pa.Array, nanoseconds: pa.Array) -> pa.Array:
    """Return the value of one row with all of its digits: as nanoseconds, or as text if these have wrapped around."""
    moments = [moment for array in _moments_in(microseconds) for moment in array.cast(pa.int64()).to_pylist()]
    if all(abs(moment) <= _MOST_MICROSECONDS for moment in moments if moment is not None):
        return nanoseconds
    if pa.types.is_nested(microseconds.type):
        raise pa.ArrowInvalid(
            f"column {name} has a time with nanoseconds in a year before 1677 or after 2262, nested in another value"
        )
    digits = (nanoseconds.cast(pa.int64())[0].as_py() - moments[0] * 1_000) % 2**64
    return pa.array([_text_of(moments[0], digits)])


def _text_of(microseconds: int, digits: int) -> str:
    try:
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return f"{microseconds} microseconds and {digits} nanoseconds after 1970-01-01"
    return f"{moment.isoformat(timespec='microseconds')}{digits:03}"
