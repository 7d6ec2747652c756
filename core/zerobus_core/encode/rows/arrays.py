"""Converts a block of rows to Arrow arrays, column by column.

This is the fast path for Arrow records and, if ptars is used (see ``columnar``), for protobuf records.

A column whose values all have the usual types becomes an array directly. Any other column goes through the converters
of ``fast_columns`` first. Arrow accepts more than our rules do (bytes as text, 1.0 as a whole number), so an
array is only built from values whose types were checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain, repeat
from operator import sub
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ...records import TupleRows, UnfitError, in_case_of, in_one_list, is_message
from ...schema.types import TIMESTAMP_KINDS, ArrayType, DataType, DecimalType, Kind, MapType, PrimitiveType, StructType
from ..problems import FOREIGN_ERRORS
from ..values.arrow_types import plain_type
from ..values.times import MICROSECOND_RANGE
from .fast_columns import NeedsWalkError, as_dicts, column_converter, types_of_columns, values_getter
from .fast_scalars import NULL, Column, Types, decimal_pattern, money_length

if TYPE_CHECKING:
    from ...schema.types import Field
    from ..values.rules import ConversionRules

__all__ = ["RowArrays"]

TypedColumn = tuple[Column, Types]
"""The values of a column, and the set of their types."""
DirectArray = Callable[[Column], pa.Array | None]
"""Returns the array of a column's values, or None if each value has to be checked."""
Reshape = Callable[[Any], Any]

_ONLY_NULL: Types = NULL
_DATE, _DATETIME, _DECIMAL = frozenset({date}), frozenset({datetime}), frozenset({Decimal})
_EPOCH_NAIVE, _EPOCH_UTC = datetime(1970, 1, 1), datetime(1970, 1, 1, tzinfo=UTC)


class RowArrays:
    """Converts rows, which are dicts or TupleRows, to Arrow record batches of wire values."""

    def __init__(self, fields: Sequence[Field], rules: ConversionRules) -> None:
        self._fields = tuple(fields)
        self._names = frozenset(field.name for field in fields)
        self._values_of = values_getter([field.name for field in fields])
        self._places: tuple[tuple[str, ...], list[int | None]] | None = None
        """The column names of the last TupleRows, and the index of each field in these names (None if missing)."""
        self.schema = pa.schema([pa.field(field.name, plain_type(field.type)) for field in fields])
        rules = replace(rules, refuse_unknown=True)
        self._members = [_ArrayColumn(field, rules) for field in fields]

    def record_batch(self, rows: Column | TupleRows) -> pa.RecordBatch:
        """Return a batch of ``rows``.

        Raises NeedsWalkError, UnfitError or one of ``FOREIGN_ERRORS`` if a row does not fit or needs the exact walk.
        """
        columns = self._of_tuples(rows) if isinstance(rows, TupleRows) else self._of_dicts(rows)
        try:
            arrays = [member.array(*column) for member, column in zip(self._members, columns, strict=True)]
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):  # too large a number, or invalid Unicode
            raise NeedsWalkError from None
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def wire_batch(self, rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
        """Return a batch of rows that are already wire values; missing members become nulls.

        If a value does not fit, raises the error that ``pyarrow.array`` raises.
        """
        columns = [[row.get(field.name) for row in rows] for field in self._fields]
        arrays = [member.wire_array(column) for member, column in zip(self._members, columns, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def quick_batch(self, records: Column | TupleRows) -> pa.RecordBatch | None:
        """Return a batch with one row per record; return None if the records need the exact walk."""
        try:
            if isinstance(records, TupleRows):
                return self.record_batch(records)
            types = set(map(type, records))
            if any(map(is_message, types)):  # protobuf messages hold DECIMAL and VARIANT as text
                return None
            return self.record_batch(as_dicts(records, types, self._names))
        except (NeedsWalkError, UnfitError, *FOREIGN_ERRORS):
            return None

    def _of_dicts(self, rows: Column) -> list[TypedColumn]:
        try:
            flat = in_one_list(map(self._values_of, rows))
        except KeyError:
            self._check_names(rows)
            return [_typed_column(_partial_column(field, rows)) for field in self._fields]
        if list(map(len, rows)).count(len(self._names)) < len(
            rows
        ):  # otherwise the rows have these columns and no other ones
            self._check_names(rows)
        return _typed_columns(flat, len(self._fields))

    def _of_tuples(self, rows: TupleRows) -> list[TypedColumn]:
        if self._places is None or self._places[0] != rows.names:
            self._places = rows.names, self._places_in(rows.names)
        given = _typed_columns(rows.values(), len(rows.names))
        absent = [None] * len(rows), _ONLY_NULL
        return [absent if place is None else given[place] for place in self._places[1]]

    def _places_in(self, names: tuple[str, ...]) -> list[int | None]:
        places: Mapping[str, int] = {name: place for place, name in enumerate(names)}
        if not self._names.issuperset(places):
            places = in_case_of(places, self._names)
        is_short = any(field.name not in places for field in self._fields if not field.nullable)
        if is_short or not self._names.issuperset(places):
            raise NeedsWalkError
        return [places.get(field.name) for field in self._fields]

    def _check_names(self, rows: Column) -> None:
        if not self._names.issuperset(chain.from_iterable(rows)):
            raise NeedsWalkError


def _typed_columns(values: Column, width: int) -> list[TypedColumn]:
    """Return the values and types of each column.

    ``values`` holds the values of all rows, row after row, ``width`` values per row.
    """
    return [(values[at::width], types) for at, types in enumerate(types_of_columns(values, width))]


def _typed_column(values: Column) -> TypedColumn:
    return values, set(map(type, values))


def _partial_column(field: Field, rows: Column) -> Column:
    name = field.name
    if field.nullable:
        return [row.get(name) for row in rows]
    try:
        return [row[name] for row in rows]
    except KeyError:
        raise NeedsWalkError from None


class _ArrayColumn:
    """Converts the values of one column to an Arrow array."""

    __slots__ = ("_convert", "_direct", "_reshape", "_type", "_usual")

    def __init__(self, field: Field, rules: ConversionRules) -> None:
        self._type = plain_type(field.type)
        self._reshape = _pairs_of(field.type)
        self._convert, plain = column_converter(field, rules)
        self._usual, self._direct = _direct(field, self._type, plain)

    def array(self, values: Column, types: Types) -> pa.Array:
        """Convert ``values``, which come unchanged from the rows, to an array; ``types`` is the set of their types."""
        array = self._direct(values) if self._usual.issuperset(types) else None
        return self.wire_array(self._convert(values, types)) if array is None else array

    def wire_array(self, values: Column) -> pa.Array:
        """Convert wire values to an array."""
        return pa.array(values if self._reshape is None else list(map(self._reshape, values)), self._type)


def _pairs_of(kind: DataType) -> Reshape | None:
    """Return a function that converts the maps in a wire value to lists of pairs, as Arrow needs.

    Return None if the type contains no map.
    """
    if isinstance(kind, ArrayType):
        of_element = _pairs_of(kind.element)
        return None if of_element is None else _unless_none(lambda items: list(map(of_element, items)))
    if isinstance(kind, StructType):
        inner = {field.name: shape for field in kind.fields if (shape := _pairs_of(field.type)) is not None}
        if not inner:
            return None
        return _unless_none(lambda row: row | {name: shape(row.get(name)) for name, shape in inner.items()})
    if not isinstance(kind, MapType):
        return None
    of_value = _pairs_of(kind.value)
    if of_value is None:
        return _unless_none(lambda value: list(value.items()))
    return _unless_none(lambda value: [(key, of_value(item)) for key, item in value.items()])


def _unless_none(reshape: Reshape) -> Reshape:
    return lambda value: None if value is None else reshape(value)


def _direct(field: Field, target: pa.DataType, plain: frozenset[type] | None) -> tuple[frozenset[type], DirectArray]:
    """Return the types of values that need no converter, and a function that builds an array of such values.

    The set of types is empty if every value needs a converter. The returned function returns None if the values need a
    converter despite their types, for example because only some of them have a time zone.
    """
    kind = field.type
    if plain is not None:
        return plain, lambda values: pa.array(values, target)
    if isinstance(kind, DecimalType):
        are_plain = _plain_decimals(kind)
        return _DECIMAL, lambda values: text if are_plain(text := pa.array(list(map(str, values)), target)) else None
    if not isinstance(kind, PrimitiveType):
        return frozenset(), lambda values: None
    if kind.kind == Kind.DATE:
        return _DATE | NULL if field.nullable else _DATE, _days
    if kind.kind in TIMESTAMP_KINDS:
        epochs = (_EPOCH_NAIVE,) if kind.kind == Kind.TIMESTAMP_NTZ else (_EPOCH_NAIVE, _EPOCH_UTC)
        return _DATETIME, lambda values: _microseconds(values, epochs)
    return frozenset(), lambda values: None


def _plain_decimals(kind: DecimalType) -> Callable[[pa.Array], bool]:
    """Return a function that takes texts of Decimals, and returns whether all of them are wire values of this type."""
    pattern = f"^(?:{decimal_pattern(kind)})$"
    longest, scale = money_length(kind), kind.scale
    # Made once, because making a scalar takes as long as comparing a block with it.
    length, point = pa.scalar(longest, pa.int64()), pa.scalar(b".", pa.large_binary())

    def are_money(texts: pa.Array) -> bool:
        points = pc.equal(pc.binary_slice(texts.view(point.type), -scale - 1, -scale), point)
        return not points.false_count and not pc.greater(pc.binary_length(texts), length).true_count

    def are_plain(texts: pa.Array) -> bool:
        if longest is not None and are_money(texts):
            return True
        return not pc.match_substring_regex(texts, pattern).false_count

    return are_plain


def _days(values: Column) -> pa.Array:
    return pa.array(values, pa.date32()).view(pa.int32())


def _microseconds(values: Column, epochs: Sequence[datetime]) -> pa.Array | None:
    for epoch in epochs:
        try:
            differences: list[timedelta] = list(map(sub, values, repeat(epoch)))
        except TypeError:  # a value with a time zone minus one without, or the reverse
            continue
        array = pa.array(differences, pa.duration("us")).view(pa.int64())
        # A UTC offset can move times of the first and the last day out of the range.
        return array if epoch is _EPOCH_NAIVE or _is_within(array, *MICROSECOND_RANGE) else None
    return None


def _is_within(array: pa.Array, low: int, high: int) -> bool:
    extremes = pc.min_max(array).as_py()
    return not len(array) or bool(low <= extremes["min"] and extremes["max"] <= high)
