"""The last step of every decoder: converts columns from the wire to columns of the Delta table.

All casts are checked. A value that does not fit is never wrapped around or replaced by NULL. Instead, an error with
the record and the field is raised. Only one change of a value is allowed: a number for a FLOAT or DOUBLE column can be
rounded. Columns are converted as a whole; single records are examined only to find the bad one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from .refusal import RefusedRecordError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .decoder import TableShape

__all__ = ["conform", "first_failing"]


def conform(columns: dict[str, pa.Array], rows: int, shape: TableShape) -> pa.RecordBatch:
    """Return a batch of ``shape.open_schema``, filled from ``columns`` by name; missing columns are NULL.

    Raises RefusedRecordError if a value does not fit its column, or if a NULL is not allowed.
    """
    arrays = []
    for field in shape.open_schema:
        column = columns.get(field.name)
        arrays.append(pa.nulls(rows, field.type) if column is None else _cast(column, field))
    for field, array in zip(shape.schema, arrays, strict=True):
        _refuse_nulls(array, field, field.name)
    return pa.RecordBatch.from_arrays(arrays, schema=shape.open_schema)


def _cast(column: pa.Array, field: pa.Field) -> pa.Array:
    if column.type == field.type:
        return column
    try:
        return _checked(column, field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        record = first_failing(column, lambda part: _checked(part, field.type)) or 0
        reason = _why_not(column.slice(record, 1), field.type) or str(error)
        raise RefusedRecordError(record, field.name, f"{reason}; the column is {field.type}") from error


def _checked(column: pa.Array, kind: pa.DataType) -> pa.Array:
    converted = _converted(column, kind)
    if _overflows(column, converted):
        raise pa.ArrowInvalid("a number is too large for 32 bits")
    return converted


def _overflows(column: pa.Array, converted: pa.Array) -> bool:
    """Return whether a finite number became infinite in a FLOAT column; Arrow's casts do not check this."""
    kind = converted.type
    if pa.types.is_struct(kind) and pa.types.is_struct(column.type):
        return any(_overflows(column.field(f.name), converted.field(f.name)) for f in column.type)
    if pa.types.is_list(kind) and pa.types.is_list(column.type):
        return _overflows(column.flatten(), converted.flatten())
    if not pa.types.is_float32(kind) or not pa.types.is_float64(column.type):
        return False
    return bool(pc.any(pc.and_not(pc.is_inf(converted), pc.is_inf(column))).as_py())


def _converted(column: pa.Array, kind: pa.DataType) -> pa.Array:
    # pyarrow 16 aborts the process when it casts the keys of a map (see _rebuilt).
    if (_has_map(kind) and not column.type.equals(kind)) or _has_other_fields(column.type, kind):
        return _rebuilt(column, kind)
    days = _days_as_numbers(kind)
    # Arrow casts only 32-bit integers to dates, so a number of days is cast to int32 first.
    return column.cast(kind) if days in {kind, column.type} else column.cast(days).cast(kind)


def _has_map(kind: pa.DataType) -> bool:
    return pa.types.is_map(kind) or any(_has_map(kind.field(index).type) for index in range(kind.num_fields))


def _has_other_fields(given: pa.DataType, kind: pa.DataType) -> bool:
    """Return whether a struct in ``given`` lacks fields of ``kind``, or has them in another order.

    pyarrow before 19 cannot cast such structs.
    """
    if pa.types.is_struct(kind) and pa.types.is_struct(given):
        wanted = {field.name: field.type for field in kind}
        names = [field.name for field in given]
        if not wanted.keys() >= set(names):
            return False
        return names != list(wanted) or any(_has_other_fields(field.type, wanted[field.name]) for field in given)
    if pa.types.is_list(kind) and pa.types.is_list(given):
        return _has_other_fields(given.value_type, kind.value_type)
    return False


def _rebuilt(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Convert the children of a nested column, and return a column of type ``kind`` made from them."""
    if _has_other_fields(column.type, kind) and pa.types.is_struct(kind):
        parts = [_member(column, field) for field in kind]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=column.is_null())
    if pa.types.is_struct(kind) and pa.types.is_struct(column.type) and column.type.num_fields == kind.num_fields:
        parts = [_converted(column.field(index), field.type) for index, field in enumerate(kind)]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=column.is_null())
    if pa.types.is_map(kind) and pa.types.is_map(column.type):
        parts = [_converted(column.keys, kind.key_type), _converted(column.items, kind.item_type)]
        if parts[0].null_count:  # pyarrow 16 aborts the process if the nulls of a map's keys were not counted before
            raise pa.ArrowInvalid("a key of a map is null")
        entry = pa.struct([kind.key_field, kind.item_field])
        return _listed(column, kind, pa.Array.from_buffers(entry, len(parts[0]), [None], children=parts))
    if pa.types.is_list(kind) and pa.types.is_list(column.type):
        return _listed(column, kind, _converted(column.values, kind.value_type))
    return column.cast(kind)


def _member(column: pa.StructArray, field: pa.Field) -> pa.Array:
    index = column.type.get_field_index(field.name)
    return pa.nulls(len(column), field.type) if index < 0 else _converted(column.field(index), field.type)


def _listed(column: pa.Array, kind: pa.DataType, values: pa.Array) -> pa.Array:
    """Return a column of type ``kind``, built from ``values`` with the offsets and nulls of ``column``."""
    is_valid = pc.invert(column.is_null()).buffers()[1] if column.null_count else None
    # The offsets of a slice start in the middle of a buffer, so they are copied into a new buffer.
    offsets = pa.array(column.offsets.to_numpy()).buffers()[1]
    return pa.Array.from_buffers(kind, len(column), [is_valid, offsets], children=[values])


def _days_as_numbers(kind: pa.DataType) -> pa.DataType:
    """Return ``kind`` with int32 in place of every date, because JSON and protobuf send a DATE as a number of days."""
    if pa.types.is_date32(kind):
        return pa.int32()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_days_as_numbers(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_days_as_numbers(kind.value_type)))
    if pa.types.is_map(kind):
        return pa.map_(_days_as_numbers(kind.key_type), _days_as_numbers(kind.item_type))
    return kind


def _why_not(column: pa.Array, kind: pa.DataType) -> str | None:
    try:
        _checked(column, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        return str(error)
    return None


def first_failing(values: Any, attempt: Callable[[Any], object]) -> int | None:
    """Return the index of the first bad value, or None if ``attempt`` succeeds for all values together.

    The bad value is found by binary search: ``attempt`` is called with slices of ``values``, and must raise an
    exception if a slice contains a bad value.
    """
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
    except Exception:  # noqa: BLE001  # any error counts as a failure
        return True
    return False


def _refuse_nulls(array: pa.Array, field: pa.Field, path: str) -> None:
    """Refuse NULL in a NOT NULL column, and in NOT NULL fields of structs.

    A NULL struct with NOT NULL fields is also refused, because it has no values for these fields. The Delta writer
    refuses the same structs. Structs inside arrays and maps are not checked here.
    """
    if not field.nullable and array.null_count:
        raise RefusedRecordError(_first_null(array), path, "is NOT NULL in the table, but the record has no value")
    if pa.types.is_struct(field.type):
        for inner in field.type:
            if _is_required(inner):
                _refuse_nulls(pc.struct_field(array, inner.name), inner, f"{path}.{inner.name}")


def _is_required(field: pa.Field) -> bool:
    return not field.nullable or (pa.types.is_struct(field.type) and any(map(_is_required, field.type)))


def _first_null(array: pa.Array) -> int:
    return int(pc.index(array.is_null(), True).as_py())
