"""Converts values from a database driver's own form to a form that the columns of the table accept.

Drivers return JSON as text or as parsed values, intervals as timedeltas, and MySQL's booleans as numbers or bytes. The
type codes in the cursor's ``description`` (PEP 249) determine the conversion; nothing is guessed from the values.

Each line below begins with a type of the database; the types after "for" are those of the table's column. All other
values are left unchanged.

* JSON (PostgreSQL: json, jsonb): becomes the parsed value for VARIANT, ARRAY, MAP and STRUCT, and the text for STRING
* interval: stays text for STRING and VARIANT; refused if the driver returns a timedelta
* arrays: become a list for ARRAY and VARIANT, and JSON text for STRING
* DuckDB's TIMESTAMP_NS and TIME_NS: refused, since the cursor drops the nanoseconds
* DuckDB's STRUCT and MAP: each member, or each value of the map, is converted by its own type; a MAP whose keys contain
  a TIMESTAMP_NS or TIME_NS is refused
* DuckDB's UNION: if any member needs a conversion, all values except booleans, ints and floats are refused, since the
  cursor does not say to which member a value belongs
* MySQL's tinyint(1) and bit(1), and PostgreSQL's bit(1): become True or False for BOOLEAN
* MySQL's bit(n): becomes a whole number for columns of whole numbers
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import orjson

from ...encode.values.json_input import parsed_json
from ...encode.values.json_text import json_text
from ...records import TupleRows, UnfitError, UnfitValue
from ...schema.types import (
    INTEGER_KINDS,
    ArrayType,
    DataType,
    Kind,
    MapType,
    PrimitiveType,
    StringType,
    StructType,
    is_primitive,
)

if TYPE_CHECKING:
    from ...schema import TableSchema

__all__ = ["DatabaseColumn", "DatabaseRows", "columns_of"]

Convert = Callable[[Any], Any]

# Type codes from pg_type.dat in PostgreSQL's source; _ARRAYS has the code of an array and of its elements.
_JSON, _INTERVAL, _BIT = frozenset({114, 3802}), 1186, 1560
_ARRAYS = {
    199: 114, 3807: 3802, 1187: 1186, 2951: 2950, 1000: 16, 1001: 17, 1002: 18, 1003: 19, 1005: 21, 1007: 23, 1009: 25,
    1014: 1042, 1015: 1043, 1016: 20, 1021: 700, 1022: 701, 1028: 26, 1040: 829, 1041: 869, 651: 650, 1115: 1114,
    1182: 1082, 1183: 1083, 1185: 1184, 1231: 1700, 1270: 1266, 791: 790, 143: 142, 1561: 1560, 1563: 1562, 775: 774,
}  # fmt: skip
# Type codes from field_types.h in MySQL's source; MariaDB does not have a code for JSON.
_MYSQL_TINY, _MYSQL_BIT, _MYSQL_JSON = 1, 16, 245
_DUCKDB_FORMS = {"JSON": "json", "INTERVAL": "interval", "TIMESTAMP_NS": "nanoseconds", "TIME_NS": "nanoseconds"}
_VARIANT = PrimitiveType(Kind.VARIANT)


@dataclass(frozen=True, slots=True)
class DatabaseColumn:
    """A column whose values can need a conversion, because the driver returns them in a form of its own."""

    name: str
    form: str
    """The form of a value, or of an array's elements; empty if the elements need no conversion.

    One of ``json``, ``interval``, ``boolean``, ``bits``, ``nanoseconds``, ``struct``, ``map`` and ``union``.
    """
    is_text: bool = False
    """For JSON: whether the driver returns text instead of a parsed value."""
    is_array: bool = False
    parse_array: Convert | None = None
    """A function that parses the text of an array, for a driver that returns some arrays as text."""
    members: tuple[DatabaseColumn, ...] = ()
    """The members of a ``struct`` or ``union`` that can need a conversion; for a ``map``, its values."""


def columns_of(cursor: Any) -> tuple[DatabaseColumn, ...]:
    """Return the columns whose values can need a conversion; call this only in the cursor's thread."""
    describe = next((_DRIVERS[root] for root in _packages(cursor) if root in _DRIVERS), None)
    if describe is None or cursor.description is None:
        return ()
    columns = (describe(cursor, str(column[0]), column) for column in cursor.description)
    return tuple(column for column in columns if column is not None)


def _packages(cursor: Any) -> Iterator[str]:
    return (kind.__module__.partition(".")[0] for kind in type(cursor).__mro__)


def _of_postgres(cursor: Any, name: str, column: Any) -> DatabaseColumn | None:
    code = column[1]
    element = _ARRAYS.get(code)
    base = code if element is None else element
    form = "json" if base in _JSON else {_INTERVAL: "interval", _BIT: "boolean"}.get(base, "")
    if element is None and not form:
        return None
    is_text = form == "json" and _gives_text(cursor, base)
    is_psycopg2 = "psycopg2" in _packages(cursor)
    parse = _psycopg2_array(code) if element is not None and is_psycopg2 else None
    return DatabaseColumn(name, form, is_text=is_text, is_array=element is not None, parse_array=parse)


def _gives_text(cursor: Any, code: int) -> bool:
    """Return whether the driver is set to return JSON as text; False if that cannot be determined."""
    try:
        if "psycopg" in _packages(cursor):
            loader = cursor.adapters.get_loader(code, import_module("psycopg.pq").Format.TEXT)
            return loader is not None and loader(code, cursor).load(b"[]") != []
        known = import_module("psycopg2.extensions").string_types
        caster = {**known, **(cursor.connection.string_types or {}), **(cursor.string_types or {})}.get(code)
        return caster is None or caster("[]", cursor) != []
    except (AttributeError, TypeError, ValueError):
        return False


def _psycopg2_array(code: int) -> Convert:
    extensions = import_module("psycopg2.extensions")
    element = extensions.new_type((_ARRAYS[code],), "ZEROBUS_TEXT", lambda value, _: value)
    array = extensions.new_array_type((code,), "ZEROBUS_ARRAY", element)
    return lambda text: array(text, None)


def _of_mysql(cursor: Any, name: str, column: Any) -> DatabaseColumn | None:
    code, length = column[1], column[3]
    if code == _MYSQL_JSON:
        return DatabaseColumn(name, "json", is_text=True)
    if code == _MYSQL_TINY and length == 1:
        return DatabaseColumn(name, "boolean")
    if code == _MYSQL_BIT:
        return DatabaseColumn(name, "boolean" if length == 1 else "bits")
    return None


def _of_duckdb(cursor: Any, name: str, column: Any) -> DatabaseColumn | None:
    return _duckdb_column(name, column[1])


def _duckdb_column(name: str, kind: Any) -> DatabaseColumn | None:
    form = _DUCKDB_FORMS.get(str(kind).strip('"'), "")
    if form:
        return DatabaseColumn(name, form, is_text=True)
    nested = getattr(kind, "id", "")
    if nested in {"list", "array"}:
        element = _duckdb_column(name, dict(kind.children)["child"])
        return replace(element or DatabaseColumn(name, "", is_text=True), is_array=True)
    if nested not in {"struct", "map", "union"}:
        return None
    inner = kind.children
    if nested == "map":
        (_, key), *inner = kind.children
        keys = _duckdb_column(name, key)
        if keys is not None and _has_nanoseconds(keys):
            return DatabaseColumn(name, "nanoseconds", is_text=True)
    members = tuple(found for member, type_ in inner if (found := _duckdb_column(member, type_)) is not None)
    return DatabaseColumn(name, nested, members=members) if members else None


def _has_nanoseconds(column: DatabaseColumn) -> bool:
    return column.form == "nanoseconds" or any(map(_has_nanoseconds, column.members))


_DRIVERS: dict[str, Callable[[Any, str, Any], DatabaseColumn | None]] = {
    "psycopg": _of_postgres,
    "psycopg2": _of_postgres,
    "pymysql": _of_mysql,
    "MySQLdb": _of_mysql,
    "mysql": _of_mysql,
    "duckdb": _of_duckdb,
    "_duckdb": _of_duckdb,
}


class DatabaseRows:
    """Converts the rows of a result to dicts, with values in the form that a table's columns accept."""

    def __init__(self, names: Sequence[str], columns: Sequence[DatabaseColumn], schema: TableSchema | None) -> None:
        types = {} if schema is None else {column.name.lower(): column.type for column in schema.columns}
        self._names = names
        self._converters = {
            column.name: convert
            for column in columns
            if column.name.lower() in types and (convert := _converter(column, types[column.name.lower()])) is not None
        }

    def records(self, rows: Sequence[Any], *, as_tuples: bool = False) -> Iterable[Any]:
        """Return each row as a dict. A row that is already a mapping is copied only if a column has to be converted.

        With ``as_tuples``, the result is TupleRows if the driver returns tuples and no column has to be converted.
        """
        kinds = set(map(type, rows))
        is_listed = all(issubclass(kind, tuple | list) for kind in kinds)
        if self._converters or not is_listed or set(map(len, rows)) != {len(self._names)}:
            return self._converted(rows)
        named = TupleRows(self._names, list(rows))
        return named if as_tuples and all(issubclass(kind, tuple) for kind in kinds) else list(named)

    def _converted(self, rows: Iterable[Any]) -> Iterator[Any]:
        for row in rows:
            members = row if isinstance(row, Mapping) else dict(zip(self._names, row, strict=True))
            if self._converters:
                members = dict(members)
                for name, convert in self._converters.items():
                    if (value := members.get(name)) is not None:
                        members[name] = convert(value)
            yield members


def _converter(column: DatabaseColumn, kind: DataType) -> Convert | None:
    form = "array" if column.is_array else column.form
    if form in _NESTED:
        return _NESTED[form](column, kind)
    if column.form == "interval":
        return _interval if isinstance(kind, StringType) or kind == _VARIANT else None
    if column.form == "nanoseconds":
        return _cut_off
    if column.form == "boolean" and kind == PrimitiveType(Kind.BOOLEAN):
        return _boolean
    is_whole = is_primitive(kind, INTEGER_KINDS)
    return _bits if column.form in {"boolean", "bits"} and is_whole else None


def _array(column: DatabaseColumn, kind: DataType) -> Convert | None:
    is_string = isinstance(kind, StringType)
    if not is_string and kind != _VARIANT and not isinstance(kind, ArrayType):
        return None
    element = kind
    while isinstance(element, ArrayType):
        element = element.element
    inner = _converter(replace(column, is_array=False), _VARIANT if is_string else element)

    def items(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [None if item is None else items(item) for item in value]
        return value if inner is None else inner(value)

    def convert(value: Any) -> Any:
        if isinstance(value, str) and column.parse_array is not None:
            value = column.parse_array(value)
        value = items(value)
        return _text_of(value) if is_string and isinstance(value, list) else value

    return convert


def _members(column: DatabaseColumn, kind: DataType) -> Convert | None:
    """Return a function that converts the members of a struct; None if no member needs a conversion."""
    types = {field.name.lower(): field.type for field in kind.fields} if isinstance(kind, StructType) else {}
    converters = {
        member.name: convert
        for member in column.members
        if (convert := _converter(member, types.get(member.name.lower(), _VARIANT))) is not None
    }

    def convert_members(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {
            name: item if item is None or name not in converters else converters[name](item)
            for name, item in value.items()
        }

    return convert_members if converters else None


def _map_values(column: DatabaseColumn, kind: DataType) -> Convert | None:
    (values,) = column.members
    convert = _converter(values, kind.value if isinstance(kind, MapType) else _VARIANT)
    if convert is None:
        return None

    def convert_values(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {key: None if item is None else convert(item) for key, item in value.items()}

    return convert_values


def _any_member(column: DatabaseColumn, kind: DataType) -> Convert | None:
    """Return a function that leaves booleans, ints and floats of a UNION unchanged and refuses all its other values.

    They are refused because the cursor does not say which member a value is, so it is unknown whether the value needs a
    conversion. Returns None if no member of the UNION needs a conversion.
    """
    forms = {member.form for member in column.members if _converter(member, kind) is not None}
    if not forms:
        return None
    reason = f"the driver does not say which member of the UNION this is, and one is {' or '.join(sorted(forms))}"

    def refuse(value: Any) -> Any:
        if isinstance(value, bool | int | float):
            return value
        return UnfitValue(value, f"{reason}; make each member a column of the query, or cast the UNION to text")

    return refuse


def _json(column: DatabaseColumn, kind: DataType) -> Convert | None:
    if isinstance(kind, StringType):
        return None if column.is_text else _text_of
    if not column.is_text or not (kind == _VARIANT or isinstance(kind, ArrayType | MapType | StructType)):
        return None

    def convert(text: Any) -> Any:
        try:
            value = parsed_json(text) if isinstance(text, str) else text
        except UnfitError as error:
            return UnfitValue(text, str(error))
        # In a VARIANT, JSON's null is a value that differs from SQL's NULL.
        return orjson.Fragment("null") if value is None and kind == _VARIANT else value

    return convert


_NESTED: dict[str, Callable[[DatabaseColumn, DataType], Convert | None]] = {
    "array": _array,
    "json": _json,
    "map": _map_values,
    "struct": _members,
    "union": _any_member,
}


def _text_of(value: Any) -> Any:
    try:
        return json_text(value)
    except UnfitError as error:
        return UnfitValue(value, str(error))


def _interval(value: Any) -> Any:
    """Return an interval unchanged if it is text; refuse a timedelta, in which a month has become 30 days."""
    if not isinstance(value, dt.timedelta):
        return value
    return UnfitValue(
        value,
        "the driver makes a timedelta of an interval, and so 30 days of a month; cast it to text in the query, or have "
        "the driver read intervals as text (psycopg: cursor.adapters.register_loader('interval', "
        "psycopg.types.string.TextLoader))",
    )


def _cut_off(value: Any) -> Any:
    return UnfitValue(
        value,
        "DuckDB's cursor cuts the nanoseconds off; cast it in the query to VARCHAR, or to TIMESTAMP or TIME without "
        "nanoseconds; a TIMESTAMP_NS can also be passed as a relation (connection.sql(…))",
    )


def _boolean(value: Any) -> Any:
    """Return the boolean for a driver's 0 or 1; return any other value unchanged, so that it is refused later."""
    if isinstance(value, bytes) and len(value) == 1:
        value = value[0]
    if isinstance(value, int | str) and value in {0, 1, "0", "1"}:
        return bool(int(value))
    return value


def _bits(value: Any) -> Any:
    return int.from_bytes(value, "big") if isinstance(value, bytes) else value
