"""Converts the columns of Arrow record batches to the types of the table, and finds the rows that do not fit.

A column is cast as a whole. If that fails, it is halved again and again until the values that cannot be cast are
found. These values go through the exact walk, which either converts them or gives the reason why they do not fit. If no
cast exists for the type of a column, all of its values go through the exact walk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ...errors import BadField, SchemaError
from ...records import UnfitError, UnfitValue
from ..problems import MAX_BAD_FIELDS, RowProblems, shown_name, unknown_column_hint
from ..rows.walk import ExactWalk
from ..values.arrow_types import extensions, plain_type, working_type
from .cast import ArrayCast, UnfitArrayError, compiled_cast
from .json_type import Convert, fragment_of, json_converter, kept_json, unsupported_in_union
from .rebuild import nulls, retype_nested
from .refused import kept_value, shown_value
from .values import has_map, value_reader, with_pairs

if TYPE_CHECKING:
    from ...schema import TableSchema
    from ...schema.types import Field
    from ..values.rules import ConversionRules

__all__ = ["BadFields", "ColumnCasts"]

# Extension types whose stored numbers do not show the values, with what an error says about each.
_NO_VALUES = {
    "pandas.period": "pandas' periods, whose numbers are not points in time; make them timestamps or text first",
    "pandas.interval": "pandas' intervals, which are two values; pass their left and right ends as columns",
}

# The most column names in an error.
_MOST_SHOWN = 10

BadFields = dict[int, list[BadField]]


class ColumnCasts:
    """Casts the columns of record batches to the types that ``working_type`` gives for the columns of a table.

    The casts are built for the schema of the batches, and built again if a batch has another schema. ``filled``
    contains the names of the columns that the delivery itself fills.
    """

    def __init__(self, schema: TableSchema, rules: ConversionRules, filled: frozenset[str]) -> None:
        self._table = schema.table
        self._filled = filled
        self._columns = {
            column.name: _ColumnCast(column, rules) for column in schema.columns if column.name not in filled
        }
        self._by_lower = {name.lower(): name for name in self._columns}
        self._plan: _Plan | None = None

    def cast(self, batch: pa.RecordBatch, first_row: int, *, is_strict: bool) -> tuple[dict[str, pa.Array], BadFields]:
        """Return a dict that maps column names to arrays, and a dict that maps positions of bad rows to bad fields.

        Every column of the table, except those that the delivery fills, gets an array with a value for every row. The
        values of bad rows have no meaning. With ``is_strict``, the search in a column ends after about MAX_BAD_FIELDS
        bad rows, because any bad row ends the delivery. Raises SchemaError if the columns of the batch do not fit the
        table, for example if the table lacks one of them, or the batch lacks a required column.
        """
        bad: BadFields = {}
        limit = MAX_BAD_FIELDS if is_strict else None
        arrays = {
            name: nulls(len(batch), working_type(column.field.type))
            if place is None
            else column.cast(batch.column(place), first_row, bad, limit)
            for name, column, place in self._planned(batch.schema).steps
        }
        return arrays, bad

    def record(self, batch: pa.RecordBatch, index: int) -> dict[str, Any]:
        """Return a refused row as Python values, for a dead letter; an UnfitValue replaces what has no Python value."""
        return {
            source.name: self._columns[self._own(source.name)].kept(source, array[index])
            for source, array in zip(batch.schema, batch.columns, strict=True)
        }

    def are_whole(self, schema: pa.Schema) -> bool:
        """Return whether a cast exists for each column of batches with this schema; otherwise encoding them is slow."""
        return self._planned(schema).are_whole

    def _planned(self, schema: pa.Schema) -> _Plan:
        """Return the plan for casting batches with this schema; it is cached until a batch has another schema."""
        if self._plan is not None and schema.equals(self._plan.schema, check_metadata=True):
            return self._plan
        self._check(schema)
        self._plan = None  # the columns are prepared for one plan at a time
        places = {self._own(name): index for index, name in enumerate(schema.names)}
        for name, index in places.items():
            self._columns[name].prepare(schema.field(index))
        self._plan = _Plan(
            schema=schema,
            steps=tuple((name, column, places.get(name)) for name, column in self._columns.items()),
            are_whole=all(self._columns[name].has_cast for name in places),
        )
        return self._plan

    def _check(self, schema: pa.Schema) -> None:
        given: Sequence[str] = schema.names
        problems = [
            f"column {shown_name(name)} appears twice" for name in dict.fromkeys(n for n in given if given.count(n) > 1)
        ]
        spellings: dict[str, list[str]] = {}
        for name in dict.fromkeys(given):
            spellings.setdefault(self._own(name), []).append(name)
        problems += [
            f"{' and '.join(map(repr, same))} are one column, {own}: column names are compared without case"
            for own, same in spellings.items()
            if len(same) > 1
        ]
        names = [self._own(name) for name in given]
        problems += [self._unknown(name) for name in names if name not in self._columns]
        problems += [
            f"column {name} is missing, but it is NOT NULL in the table"
            for name, column in self._columns.items()
            if name not in names and not column.field.nullable
        ]
        problems += [
            f"column {field.name} holds {_NO_VALUES[extension]}"
            for field in schema
            for extension in extensions(field)
            if extension in _NO_VALUES
        ]
        problems += [
            f"column {field.name} holds {found} as a member of a union; make it a column of its own"
            for field in schema
            if (found := unsupported_in_union(field)) is not None
        ]
        if given and not set(names) & set(self._columns):
            has = ", ".join([*list(self._columns)[:_MOST_SHOWN], *(["…"] if len(self._columns) > _MOST_SHOWN else [])])
            problems.append(
                f"the table has {has}, and the source has none of these columns; if another line of a CSV file has the "
                "column names, pass CsvFormat(skip_lines=…); if no line has them, pass CsvFormat(names=…)"
            )
        if problems:
            raise SchemaError(
                f"the columns of the source do not fit the table: {'; '.join(problems)}",
                table=self._table,
            )

    def _own(self, name: str) -> str:
        """Return a column's name as the table spells it; the comparison ignores case.

        An unknown name is returned unchanged.
        """
        return name if name in self._columns else self._by_lower.get(name.lower(), name)

    def _unknown(self, name: str) -> str:
        if name in self._filled:
            return f"column {name} is filled by the delivery itself (delivery_columns or metadata_columns)"
        if re.fullmatch(r"__index_level_\d+__", name):
            return (
                f"the table has no column {name}, which is pandas' index without a name: leave it out with "
                f"drop=[{name!r}] (--drop {name}), or write the frame with index=False"
            )
        return f"the table has no column {shown_name(name)}{unknown_column_hint(name, self._columns)}"


@dataclass(frozen=True, slots=True)
class _Plan:
    """The plan for casting batches that all have the same schema."""

    schema: pa.Schema
    steps: tuple[tuple[str, _ColumnCast, int | None], ...]
    """For each column of the table: its name, its cast, and its index in the batch (None if missing)."""
    are_whole: bool
    """Whether a cast exists for each column of the batches."""


class _ColumnCast:
    """Casts arrays to the type of one column of the table. Call ``prepare`` first, with the arrays' Arrow field."""

    def __init__(self, field: Field, rules: ConversionRules) -> None:
        self.field = field
        self._rules = rules
        self._walk = ExactWalk([field], rules)
        self._convert: ArrayCast | None = None
        self._json: Convert | None = None
        self._target = working_type(field.type)
        self._has_map = has_map(field.type)

    def prepare(self, source: pa.Field) -> None:
        """Prepare ``cast`` for arrays of the Arrow field ``source``."""
        self._convert = compiled_cast(source.type, self.field.type, self._rules)
        self._json = json_converter(source, self.field.type, fragment_of)

    def cast(self, array: pa.Array, first_row: int, bad: BadFields, limit: int | None) -> pa.Array:
        found: BadFields = {}
        out = self._whole(array)
        if out is None:
            out = pa.concat_arrays(list(self._pieces(array, first_row, found, limit)))
        if not self.field.nullable and out.null_count:
            self._find_nulls(out, first_row, found, limit)
        for row, fields in found.items():
            bad.setdefault(row, []).extend(fields)
        return out

    def kept(self, source: pa.Field, scalar: pa.Scalar) -> Any:
        """Return a value of a refused row for a dead letter; ``source`` is the Arrow field of the value."""
        value = kept_value(scalar, self.field.type)
        if (convert := json_converter(source, self.field.type, kept_json)) is not None:
            try:
                value = convert(value)
            except UnfitError as error:
                return UnfitValue(value, str(error))
        return with_pairs(value, self.field.type) if self._has_map else value

    @property
    def has_cast(self) -> bool:
        return self._convert is not None

    def _whole(self, array: pa.Array) -> pa.Array | None:
        """Cast the array to the column's type; return None if there is no cast or a value does not fit."""
        if self._convert is None:
            return None
        try:
            return self._convert(array)
        except (UnfitArrayError, pa.ArrowException):
            return None

    def _pieces(self, array: pa.Array, row: int, bad: BadFields, limit: int | None) -> Iterator[pa.Array]:
        """Cast an array in parts, because it cannot be cast as a whole; yield the results in row order.

        Once there are more than ``limit`` bad rows, the remaining parts are replaced with nulls.
        """
        if limit is not None and len(bad) > limit:
            yield pa.nulls(len(array), self._target)
            return
        if self._convert is None or len(array) == 1:
            yield self._one_by_one(array, row, bad, limit)
            return
        middle = len(array) // 2
        for half, first in ((array.slice(0, middle), row), (array.slice(middle), row + middle)):
            out = self._whole(half)
            if out is None:
                yield from self._pieces(half, first, bad, limit)
            else:
                yield out

    def _one_by_one(self, array: pa.Array, first_row: int, bad: BadFields, limit: int | None) -> pa.Array:
        name = self.field.name
        values: list[Any] = []
        read = value_reader(array)
        for index in range(len(array)):
            problems = RowProblems(first_row + index)
            values.append(self._walked(array, index, read, problems).get(name))
            if problems.fields and (limit is None or len(bad) <= limit):
                bad[problems.row] = problems.fields
        return retype_nested(pa.array(values, plain_type(self.field.type)), self._target)

    def _walked(
        self, array: pa.Array, index: int, read: Callable[[int], Any], problems: RowProblems
    ) -> Mapping[str, Any]:
        name = self.field.name
        try:
            value = read(index)
        except (ValueError, OverflowError) as error:  # a time or text that Python has no value for
            problems.add(name, shown_value(array[index]), str(self.field.type), f"cannot be read: {self._why(error)}")
            return {}
        if value is None and not self.field.nullable:
            return {}  # _find_nulls reports this null with all other nulls
        if self._json is not None:
            try:
                value = self._json(value)
            except UnfitError as error:
                problems.add(name, value, str(self.field.type), str(error))
                return {}
        if self._has_map:
            value = with_pairs(value, self.field.type)
        members = self._walk.row({name: value}, problems)
        return {} if problems.fields else members

    def _why(self, error: Exception) -> str:
        if not isinstance(error, UnicodeDecodeError):
            return str(error)
        hint = (
            '; if the file has another encoding, name it, for example CsvFormat(encoding="latin-1")'
            if self._rules.parse_text
            else ""
        )
        return f"byte 0x{error.object[error.start]:02x} at position {error.start} is not UTF-8{hint}"

    def _find_nulls(self, out: pa.Array, first_row: int, bad: BadFields, limit: int | None) -> None:
        for index, is_null in enumerate(out.is_null().to_pylist()):
            row = first_row + index
            if is_null and row not in bad and (limit is None or len(bad) <= limit):
                problems = RowProblems(row)
                self._walk.row({self.field.name: None}, problems)
                bad[row] = problems.fields
