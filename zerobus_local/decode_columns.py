"""The last step of every decoder: columns as they came over the wire become columns as the Delta table has them.

All casts are checked: a value that does not fit is refused with its record and field, never wrapped, rounded or nulled.
Work is done a column at a time; single records are looked at only to name the one that is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable

    from .decode import TableShape

__all__ = ["RefusedRecordError", "conform", "first_failing"]


class RefusedRecordError(Exception):
    """One record does not fit the table, so its whole batch is refused.

    ``record`` counts from 0 within the records that were decoded together.
    """

    def __init__(self, record: int, field: str | None, reason: str) -> None:
        super().__init__(record, field, reason)
        self.record = record
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        where = f"record {self.record}" + (f", field {self.field}" if self.field else "")
        return f"{where}: {self.reason}"

    def moved(self, records: int) -> RefusedRecordError:
        """The same refusal, counted from ``records`` earlier."""
        return RefusedRecordError(self.record + records, self.field, self.reason)


def conform(columns: dict[str, pa.Array], rows: int, shape: TableShape) -> pa.RecordBatch:
    """Columns by name into one batch of the table's own schema; columns that are not there are NULL.

    Raises RefusedRecordError for the first column that holds a value that does not fit, or a NULL that must not be.
    """
    arrays = []
    for field in shape.schema:
        column = columns.get(field.name)
        if column is None:
            column = pa.nulls(rows, field.type)
        arrays.append(_cast(column, field))
    for field, array in zip(shape.schema, arrays, strict=True):
        _refuse_nulls(array, field, field.name)
    return pa.RecordBatch.from_arrays(arrays, schema=shape.open_schema)


def _cast(column: pa.Array, field: pa.Field) -> pa.Array:
    if column.type == field.type:
        return column
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        record = first_failing(column, lambda part: part.cast(field.type))
        text = str(error)
        if record is not None:
            try:
                column.slice(record, 1).cast(field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as single:
                text = str(single)
        raise RefusedRecordError(record or 0, field.name, f"{text}; the column is {field.type}") from error


def first_failing(values: Any, attempt: Callable[[Any], object]) -> int | None:
    """The index of the first value for which ``attempt`` fails, found by halving; None if none does."""
    low, high = 0, len(values)
    if not _fails(values, attempt):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if _fails(values[low:middle], attempt):
            high = middle
        else:
            low = middle
    return low


def _fails(values: Any, attempt: Callable[[Any], object]) -> bool:
    try:
        attempt(values)
    except Exception:  # noqa: BLE001  # whatever it was that made the whole fail
        return True
    return False


def _refuse_nulls(array: pa.Array, field: pa.Field, path: str) -> None:
    """Refuse NULL in a NOT NULL column, and in NOT NULL fields of structs that are there."""
    if not field.nullable and array.null_count:
        raise RefusedRecordError(_first_null(array), path, "is NOT NULL in the table, and the record has no value")
    if pa.types.is_struct(field.type) and _has_required(field.type):
        present = array.drop_null() if array.null_count else array
        for inner in field.type:
            _refuse_inner_nulls(array, present, inner, path)
    # Arrays and maps of structs with required fields: the position inside the array is not worked out.


def _refuse_inner_nulls(array: pa.Array, present: pa.Array, inner: pa.Field, path: str) -> None:
    try:
        _refuse_nulls(present.field(inner.name), inner, f"{path}.{inner.name}")
    except RefusedRecordError as error:
        if array.null_count:
            places = pc.indices_nonzero(array.is_valid())
            raise RefusedRecordError(places[error.record].as_py(), error.field, error.reason) from None
        raise


def _has_required(struct: pa.DataType) -> bool:
    return any(not f.nullable or (pa.types.is_struct(f.type) and _has_required(f.type)) for f in struct)


def _first_null(array: pa.Array) -> int:
    return int(pc.index(array.is_null(), True).as_py())
