"""The fast path for a block of rows: each column is checked and converted as a whole, in C if possible.

If all values of a column have the usual types, a fast path of ``fast_scalars`` converts the column. Otherwise each
value goes through the exact converter of ``scalars``. If the converter refuses a value, an error is raised, and the
rows go through ``walk``, which gives the reasons. Invalid Unicode is not checked here, because it is refused when the
records are made. For protobuf records, unknown fields and integers out of range are not checked either, because
protobuf's message classes refuse them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from ...records import in_one_list, members_within
from ...schema.types import (
    TIMESTAMP_KINDS,
    ArrayType,
    DataType,
    DecimalType,
    Field,
    MapType,
    StructType,
    is_primitive,
)
from ..values.scalars import null_test, scalar_converter
from .fast_scalars import NULL, Column, FastPath, Types, fast_path
from .walk import as_list, as_pairs, has_nan, json_key

if TYPE_CHECKING:
    from ..values.rules import ConversionRules

__all__ = ["NeedsWalkError", "RowsConverter", "as_dicts", "column_converter", "types_of_columns", "values_getter"]

Convert = Callable[[Column, Types], Column]
"""Converts a column's values, whose types are given, to wire values.

Returns the very same list only if nothing had to be converted.
"""


class NeedsWalkError(Exception):
    """The error that is raised if a row of a block needs the exact walk."""


class RowsConverter:
    """Converts rows, which are dicts, to dicts of wire values."""

    def __init__(self, fields: Sequence[Field], rules: ConversionRules) -> None:
        self._members = [_FieldConverter(field, rules) for field in fields]
        self._values_of = values_getter([field.name for field in fields])
        self._names = frozenset(field.name for field in fields)
        self._refuse_unknown = rules.refuse_unknown

    def __call__(self, rows: Column) -> Column:
        """Convert the rows; return the very same list if nothing changed.

        If a row needs the exact walk, raises NeedsWalkError or the error of a converter, such as UnfitError.
        """
        try:
            flat = in_one_list(map(self._values_of, rows))
        except KeyError:
            changed = self._changed_in_short(rows)
            are_known = not self._refuse_unknown or self._names.issuperset(chain.from_iterable(rows))
        else:
            changed = self._changed_in(flat)
            # Each row has all fields, so a row that has no more keys than that has no unknown field.
            are_known = not self._refuse_unknown or sum(map(len, rows)) == len(flat)
        if not are_known:
            raise NeedsWalkError
        if not changed:
            return rows
        out = list(map(dict.copy, rows))
        for name, values in changed:
            for row, value in zip(out, values, strict=True):
                row[name] = value
        return out

    def _changed_in_short(self, rows: Column) -> list[tuple[str, Column]]:
        """Return the same as ``_changed_in``, for rows of which at least one lacks a field."""
        found = [(member.name, member.changed_values(rows)) for member in self._members]
        return [(name, values) for name, values in found if values is not None]

    def _changed_in(self, flat: Column) -> list[tuple[str, Column]]:
        """Return the names and the wire values of the fields whose values have to be converted.

        ``flat`` holds the values of all fields, row after row.
        """
        members = self._members
        width = len(members)
        return [
            (member.name, values)
            for at, (member, types) in enumerate(zip(members, types_of_columns(flat, width), strict=True))
            if not member.is_plain(types) and (values := member.changed(flat[at::width], types)) is not None
        ]


def values_getter(names: Sequence[str]) -> Callable[[dict[str, Any]], Sequence[Any]]:
    """Return a function that returns a row's values for these names, and raises KeyError if a name is missing."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda row: [row[name] for name in names]


def types_of_columns(values: Column, width: int) -> list[Types]:
    """Return one set per column: the types of the column's values.

    ``values`` holds the values of all rows, row after row, ``width`` values per row. If there are no rows, each set is
    empty.
    """
    if not values:
        return [frozenset[type]()] * width
    types = list(map(type, values))
    first = types[:width]
    if first * (len(types) // width) == types:  # the usual case: no column has two types
        return [{kind} for kind in first]
    return [set(types[at::width]) for at in range(width)]


def as_dicts(records: Column, types: Types, names: set[str] | frozenset[str]) -> Column:
    """Convert records to dicts; return the very same list if ``types``, the set of their types, is only ``dict``.

    A name that differs only in case from a name in ``names`` is spelled as in ``names``. Raises NeedsWalkError if an
    object is not a record.
    """
    if _ONLY_DICT.issuperset(types):
        return records

    def as_dict(record: Any) -> dict[str, Any]:
        members = members_within(record, names)
        if members is None:
            raise NeedsWalkError
        return dict(members)

    return list(map(as_dict, records))


def column_converter(field: Field, rules: ConversionRules) -> tuple[Convert, frozenset[type] | None]:
    """Return a converter for a field's values, and the set of types whose values need no check.

    The set is None if every value needs a check.
    """
    return _column(field.type, field.nullable, rules)


class _FieldConverter:
    """Converts a column of a table, or a field of a struct."""

    __slots__ = ("_convert", "_nullable", "_plain", "name")

    def __init__(self, field: Field, rules: ConversionRules) -> None:
        self.name: str = field.name
        self._nullable = field.nullable
        self._convert, self._plain = _column(field.type, field.nullable, rules)

    def changed_values(self, rows: Column) -> Column | None:
        """Return this field's values in ``rows`` as wire values; return None if all of them already are wire values."""
        name = self.name
        try:
            values = [row.get(name) for row in rows] if self._nullable else [row[name] for row in rows]
        except KeyError:
            raise NeedsWalkError from None
        types = set(map(type, values))
        return None if self.is_plain(types) else self.changed(values, types)

    def is_plain(self, types: Types) -> bool:
        """Return whether all values of these types are already wire values."""
        return self._plain is not None and self._plain.issuperset(types)

    def changed(self, values: Column, types: Types) -> Column | None:
        """Return ``values`` as wire values; return None if all of them already are wire values."""
        converted = self._convert(values, types)
        return None if converted is values else converted


def _column(kind: DataType, nullable: bool, rules: ConversionRules) -> tuple[Convert, frozenset[type] | None]:
    """Return a converter for a column, and the set of types whose values need no check.

    The set is None if every value needs a check.
    """
    if isinstance(kind, StructType):
        return _struct(kind, nullable, rules), None
    if isinstance(kind, ArrayType):
        return _array(kind, nullable, rules), None
    if isinstance(kind, MapType):
        return _map(kind, nullable, rules), None
    quick = None if _is_counted(kind, rules) else fast_path(kind, as_json=rules.as_json)
    plain = quick.plain if quick is not None else None
    return _scalar(kind, nullable, rules, quick), plain | NULL if plain is not None and nullable else plain


def _is_counted(kind: DataType, rules: ConversionRules) -> bool:
    """Return whether whole numbers in a column must be converted to microseconds.

    The numbers in a timestamp column must be converted if ``epoch_unit`` is set and is not microseconds. Rows that are
    protobuf messages contain microseconds already, so their numbers are never converted.
    """
    is_moment = is_primitive(kind, TIMESTAMP_KINDS)
    return is_moment and rules.epoch_unit not in {None, "us"} and not rules.wire_text


def _scalar(kind: DataType, nullable: bool, rules: ConversionRules, quick: FastPath | None) -> Convert:
    exact = scalar_converter(kind, rules)
    is_null = null_test(kind, rules, nan_is_null=not has_nan(kind))

    def convert(values: Column, types: Types) -> Column:
        if quick is not None:
            if (converted := quick(values, types)) is not None:
                return converted
            if nullable and not NULL.isdisjoint(types):
                present = [value for value in values if value is not None]
                if (converted := quick(present, types - NULL)) is not None:
                    return values if converted is present else _refilled(values, converted)
        return [None if is_null(value) else exact(value) for value in values]

    def convert_present(values: Column, types: Types) -> Column:
        converted = convert(values, types)
        if converted is not values and None in converted:  # a NaN or pandas NA became None
            raise NeedsWalkError
        return converted

    return convert if nullable else convert_present


def _refilled(values: Column, converted: Column) -> Column:
    """Return ``values``, in which each value that is not None is replaced by the next element of ``converted``."""
    if len(converted) == len(values):
        return converted
    following = iter(converted)
    return [None if value is None else next(following) for value in values]


def _present(values: Column, types: Types, nullable: bool) -> tuple[Column, Types]:
    """Return the values that are not None, and the set of their types.

    Raises NeedsWalkError if a value is None and the column is not nullable.
    """
    if NULL.isdisjoint(types):
        return values, types
    if not nullable:
        raise NeedsWalkError
    return [value for value in values if value is not None], types - NULL


def _array(kind: ArrayType, nullable: bool, rules: ConversionRules) -> Convert:
    convert_elements, _ = _column(kind.element, rules.inner_nulls and kind.contains_null, rules)

    def convert(values: Column, types: Types) -> Column:
        present, present_types = _present(values, types, nullable)
        are_lists = _LISTS.issuperset(present_types)
        lists = present if are_lists else list(map(_as_plain_list, present))
        elements = in_one_list(lists)
        converted = convert_elements(elements, set(map(type, elements)))
        if are_lists and converted is elements:
            return values
        following = iter(converted)
        return _refilled(values, [list(islice(following, len(value))) for value in lists])

    return convert


def _map(kind: MapType, nullable: bool, rules: ConversionRules) -> Convert:
    convert_keys, _ = _column(kind.key, False, rules)
    is_decimal = isinstance(kind.key, DecimalType)
    convert_values, _ = _column(kind.value, rules.inner_nulls and kind.value_contains_null, rules)

    def convert(values: Column, types: Types) -> Column:
        present, present_types = _present(values, types, nullable)
        are_dicts = _ONLY_DICT.issuperset(present_types)
        maps = present if are_dicts else list(map(_as_plain_map, present))
        keys, items = in_one_list(maps), in_one_list(map(dict.values, maps))
        types_of_keys = set(map(type, keys))
        wire_keys, wire_items = convert_keys(keys, types_of_keys), convert_values(items, set(map(type, items)))
        if is_decimal and not _DECIMAL.issuperset(types_of_keys):
            _check_distinct(wire_keys, maps)
        if rules.as_json and not _ONLY_STR.issuperset(map(type, wire_keys)):
            wire_keys = [json_key(key) for key in wire_keys]
        if are_dicts and wire_keys is keys and wire_items is items:
            return values
        pairs = zip(wire_keys, wire_items, strict=True)
        wire_maps = [dict(islice(pairs, len(value))) for value in maps]
        if sum(map(len, wire_maps)) < len(keys):  # two keys of a map became one key
            raise NeedsWalkError
        return _refilled(values, wire_maps)

    return convert


def _check_distinct(wire_keys: Column, maps: Column) -> None:
    # As Decimals, 1.0 and 1.00 are the same key; as text, they are two keys.
    keys = map(Decimal, wire_keys)
    if any(len(set(islice(keys, len(each)))) < len(each) for each in maps):
        raise NeedsWalkError


def _struct(kind: StructType, nullable: bool, rules: ConversionRules) -> Convert:
    convert_rows = RowsConverter(kind.fields, rules)
    names = frozenset(field.name for field in kind.fields)

    def convert(values: Column, types: Types) -> Column:
        present, present_types = _present(values, types, nullable)
        if not present:
            return values
        converted = convert_rows(as_dicts(present, present_types, names))
        return values if converted is present else _refilled(values, converted)

    return convert


def _as_plain_list(value: Any) -> list[Any]:
    items = as_list(value)
    if items is None:
        raise NeedsWalkError
    return list(items)


def _as_plain_map(value: Any) -> dict[Any, Any]:
    pairs = as_pairs(value)
    if pairs is None or len(plain := dict(pairs)) < len(pairs):
        raise NeedsWalkError
    return plain


_ONLY_DICT, _ONLY_STR, _LISTS = frozenset({dict}), frozenset({str}), frozenset({list, tuple})
_DECIMAL = frozenset({Decimal})
