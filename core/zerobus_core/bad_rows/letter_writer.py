"""Converts a bad row to the record of its dead letter, so that a person can correct it and send it again.

The law: if nobody corrects the letter and the table is the same, each of its values is refused again or arrives as the
value that the delivery was given. A letter is sent again with ``parse_text``. So what a value becomes depends on the
type of its column:

1. A value that this type takes as plain JSON, or as text that is parsed, is written so. In a VARIANT column, this is
   the JSON text that the encoder makes of the value.
2. Any other value is an object of ``markers`` that gives exactly this value, because the type of the column can change
   before the letter is sent again.
3. A value that has no such object is only described, which fits no column.
"""

from __future__ import annotations

import json
import math
import operator
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from ..column_options import RESCUED
from ..encode.problems import FOREIGN_ERRORS
from ..encode.rows.walk import as_list, as_pairs
from ..encode.values.json_input import JsonNumber, parsed_json, plain_number
from ..encode.values.json_text import checked_text, json_text
from ..encode.values.missing import is_null
from ..encode.values.moments import numpy_time_text
from ..encode.values.text import is_parsed
from ..records import GivenText, UnfitError, UnfitValue, dumped, is_message, members_of, members_within, short_repr
from ..schema.types import (
    INTEGER_KINDS,
    REAL_KINDS,
    TIMESTAMP_KINDS,
    ArrayType,
    DataType,
    DecimalType,
    Kind,
    MapType,
    PrimitiveType,
    StringType,
    StructType,
    is_primitive,
)
from .letter_reader import from_letter
from .letter_times import MOMENTS, counted_form, moment_form
from .markers import (
    BINARY,
    DECIMAL,
    DESCRIBED,
    ESCAPED,
    FLOAT,
    JSON,
    MAP,
    TEXT,
    UNFIT,
    is_marker,
)
from .wire_values import from_wire_scalar

if TYPE_CHECKING:
    from ..options import IngestOptions
    from ..schema.types import Field

__all__ = ["LetterWriter"]

_BINARY, _VARIANT = PrimitiveType(Kind.BINARY), PrimitiveType(Kind.VARIANT)
_NUMBERS = REAL_KINDS | {Kind.VARIANT}
# JSON text can be nested deeper than the values that orjson writes.
_MAX_DEPTH = 200
# Errors that the code of a value's class can raise, too.
_UNREADABLE = (UnfitError, BufferError, *FOREIGN_ERRORS)


class LetterWriter:
    """Converts rows for one table; see the module's docstring."""

    def __init__(self, columns: Sequence[Field], options: IngestOptions) -> None:
        self._row = StructType(tuple(columns))
        self._kinds = _kinds(self._row)
        self._given = _Values(options)
        self._of_messages = _Values(options, is_protobuf=True)
        self._refused = _Values(options, is_refused=True)

    def record(self, record: Any) -> Any:
        """Return the JSON-compatible form of a row that does not fit."""
        values = self._of_messages if is_message(type(record)) else self._given
        try:
            members = _members(record, self._row)
        except _UNREADABLE as error:
            return _described(record, error)
        if members is None:
            return _written(record, None, self._given)
        rescued = members.get(RESCUED)
        if isinstance(rescued, Mapping):  # the fields for the rescue column, which are fields of the row
            members = {**{name: value for name, value in members.items() if name != RESCUED}, **rescued}
        return self._of_members(members, values)

    def refused_record(self, record: Mapping[str, Any]) -> Any:
        """Return the form of a row that the service refused; ``record`` has values as ``from_wire`` returns them."""
        return self._of_members(record, self._refused)

    def _of_members(self, members: Mapping[str, Any], values: _Values) -> Any:
        return _object((name, _written(value, self._kinds.get(name), values)) for name, value in members.items())


def _written(value: Any, kind: DataType | None, values: _Values) -> Any:
    """Return the form of a value, or a description if JSON cannot be written, such as for endless lists."""
    try:
        written = values.value(value, kind)
        json.dumps(written)
    except _UNREADABLE as error:
        return _json_or_description(value, kind, error)
    return written


class _Values:
    """Converts the values of rows of one kind: given rows, protobuf messages, or rows that the service refused."""

    def __init__(self, options: IngestOptions, *, is_protobuf: bool = False, is_refused: bool = False) -> None:
        self._options = options
        self._parses_text = options.parse_text
        self._parses_json = options.parse_json or is_protobuf
        self._is_protobuf = is_protobuf
        """Whether the values are those of a protobuf message: decimals and VARIANT are text, times are numbers."""
        self._is_refused = is_refused
        """Whether the row was encoded and decoded: a text in a VARIANT column is then a value, and never JSON text."""

    def value(self, value: Any, kind: DataType | None) -> Any:
        """Return the form of ``value`` in a column of type ``kind``; ``kind`` is None for a name without a column."""
        if isinstance(value, UnfitValue):
            return _described_unfit(value)
        if isinstance(value, Enum) and kind != _VARIANT:
            return self.value(value.value, kind)
        if is_null(value, nan_is_null=False):
            return None
        return self._present(_from_message(value, kind) if self._is_protobuf else value, kind)

    def _present(self, value: Any, kind: DataType | None) -> Any:
        if isinstance(value, GivenText):  # from a letter that is sent again
            return {TEXT: _text_of(value)}
        if isinstance(kind, ArrayType) and (items := as_list(value)) is not None:
            return [self.value(item, kind.element) for item in items]
        if isinstance(kind, MapType) and (pairs := as_pairs(value)) is not None:
            return self._map(pairs, kind)
        if isinstance(kind, MapType) and not isinstance(value, str | list) and _form(value) is None:
            return _described(value)  # for example a record or a tuple, which JSON would turn into a map's entries
        if isinstance(kind, StructType) and (members := _members(value, kind)) is not None:
            kinds = _kinds(kind)
            return _object((name, self.value(item, kinds.get(name))) for name, item in members.items())
        return self._variant(value) if kind == _VARIANT else self._other(value, kind)

    def _map(self, pairs: Iterable[tuple[Any, Any]], kind: MapType) -> Any:
        entries = [(key, self.value(item, kind.value)) for key, item in pairs]
        if all(_is_plain_key(key, kind.key) for key, _ in entries):
            written = {str(int(key)) if isinstance(key, int) else _text_of(key): item for key, item in entries}
            if len(written) == len(entries):  # otherwise a key appears twice
                return _escaped(written)
        return {MAP: [[self.value(key, kind.key), item] for key, item in entries]}

    def _variant(self, value: Any) -> Any:
        if isinstance(value, str) and self._is_refused:
            return {TEXT: _text_of(value)} if self._parses_json else _text_of(value)
        try:
            text = (checked_text if self._parses_json else json_text)(value)
        except _UNREADABLE:
            if isinstance(value, str) and self._parses_json:
                return {UNFIT: _text_of(value)}
            written = self._other(value, _VARIANT)
            # Some values that are refused, such as objects of subclasses, would be accepted as what they are written.
            return _described(value) if _is_taken(written) else written
        try:
            parsed = parsed_json(text)
        except UnfitError:
            parsed = None
        if parsed is None or text.count("[") + text.count("{") > _MAX_DEPTH:
            return {JSON: text}  # JSON null, or what JSON values cannot express
        # Text that was given as JSON, such as '"abc"', must not be parsed a second time.
        return {TEXT: parsed} if isinstance(parsed, str) and self._parses_json else _of_json(parsed)

    def _other(self, value: Any, kind: DataType | None) -> Any:
        """Return the form of a scalar, or of a container in a column that takes none."""
        if isinstance(value, Enum):
            return self._other(value.value, kind)
        if isinstance(value, str):
            return self._text(_text_of(value), kind)
        if isinstance(value, UUID):
            return _binary(value.bytes, kind) if kind == _BINARY else self._text(str(value), kind)
        if type(value) is int and self._is_counted(kind):
            return counted_form(value, self._options.epoch_unit, kind)
        form = _form(value)
        return self._of_library(value, kind) if form is None else form(value, kind)

    def _is_counted(self, kind: DataType | None) -> bool:
        is_moment = is_primitive(kind, TIMESTAMP_KINDS)
        return is_moment and self._options.epoch_unit is not None and not self._is_refused

    def _text(self, text: str, kind: DataType | None) -> Any:
        """Return text as it is, or as a marker in a column that takes text only if it is parsed."""
        is_text_refused = kind is not None and is_parsed(kind) and not isinstance(kind, StringType)
        return {TEXT: text} if is_text_refused and not self._parses_text and not self._is_refused else text

    def _of_library(self, value: Any, kind: DataType | None) -> Any:
        numpy = sys.modules.get("numpy")  # a NumPy value exists only if NumPy was imported
        if numpy is not None and isinstance(value, numpy.generic):
            return self._of_numpy(value, kind)
        inner = dumped(value)
        if inner is not value:
            return self.value(inner, kind)
        is_array = numpy is not None and isinstance(value, numpy.ndarray) and value.ndim
        return self._container(value, kind, is_list=isinstance(value, Sequence) or is_array)

    def _container(self, value: Any, kind: DataType | None, *, is_list: bool) -> Any:
        """Return the form of a list or a record in a column of another type; describe any other value."""
        members = members_of(value)
        if isinstance(kind, StringType):
            # As the encoder does: with ``write_json``, the column gets JSON text of these, but not of other sequences.
            is_list = isinstance(value, list | tuple)
            if self._options.write_json and (is_list or members is not None):
                return json_text(value)
        items = _Values(replace(self._options, parse_json=False))
        if members is not None and all(isinstance(name, str) for name in members):
            return _object((name, items.value(item, _VARIANT)) for name, item in members.items())
        return [items.value(item, _VARIANT) for item in value] if is_list else _other_number(value, kind)

    def _of_numpy(self, value: Any, kind: DataType | None) -> Any:
        if value.dtype.kind == "m":
            return {UNFIT: numpy_time_text(value)}
        if value.dtype.kind == "M":
            is_kept = is_primitive(kind, MOMENTS)
            is_coarse = value.dtype.str[2:] in {"8[Y]", "8[M]"}  # the text of a year or month is not parsed as a date
            text = numpy_time_text(value.astype("M8[D]") if is_coarse else value)
            return text if is_kept else {UNFIT: f"datetime64 {value}"}
        plain = value.item()
        if hasattr(plain, "dtype"):  # a number that is longer than a double
            is_double = plain.dtype.kind == "f" and float(plain) == plain
            return _real(plain, kind) if is_double else {UNFIT: f"{type(plain).__name__} {plain}"}
        is_kept = not isinstance(plain, tuple | list | complex) or isinstance(kind, StringType)
        return self.value(plain, kind) if is_kept else _described(value)


def _other_number(value: Any, kind: DataType | None) -> Any:
    """Return a whole number if the column takes the value as one, as it takes pyarrow's; otherwise describe it."""
    if is_primitive(kind, INTEGER_KINDS):
        with suppress(TypeError):
            return int(operator.index(value))
    return _described(value)


def _members(value: Any, kind: StructType) -> Mapping[Any, Any] | None:
    """Return the members of a record by the names of their columns; None if ``value`` is not a record."""
    try:
        return members_within(value, frozenset(field.name for field in kind.fields))
    except UnfitError:  # two members of one column, which are refused again under their own names
        return members_of(value)


def _kinds(kind: StructType) -> dict[Any, DataType]:
    return {field.name: field.type for field in kind.fields}


def _from_message(value: Any, kind: DataType | None) -> Any:
    """Return what a scalar in a protobuf message stands for; the value itself if it stands for nothing else."""
    if not isinstance(kind, DecimalType) and not is_primitive(kind, MOMENTS):
        return value
    try:
        return from_wire_scalar(value, kind)
    except _UNREADABLE:
        return value


def _is_plain_key(key: Any, kind: DataType) -> bool:
    """Return whether a column whose keys have type ``kind`` reads the text of ``key`` as the same key."""
    if isinstance(kind, StringType):
        return isinstance(key, str)
    return is_primitive(kind, INTEGER_KINDS) and isinstance(key, int) and not isinstance(key, bool)


def _binary(value: Any, kind: DataType | None) -> Any:
    return {BINARY: b64encode(bytes(value)).decode()}


def _decimal(value: Decimal, kind: DataType | None) -> Any:
    if isinstance(value, JsonNumber) and is_primitive(kind, _NUMBERS):
        return _real(float(value), kind)  # the value that the column gets
    text = Decimal.__str__(value)
    return text if isinstance(kind, DecimalType) else {DECIMAL: text}


def _real(value: float, kind: DataType | None) -> Any:
    number = float(value)
    if not math.isfinite(number):
        return {FLOAT: str(number)}
    is_plain = kind is None or is_primitive(kind, _NUMBERS)
    return number if is_plain else {FLOAT: repr(number)}


_Form: TypeAlias = Callable[[Any, DataType | None], Any]
_FORMS: tuple[tuple[Any, _Form], ...] = (
    (bool, lambda value, kind: value),
    (int, lambda value, kind: int(value)),
    (float, _real),
    (Decimal, _decimal),
    (bytes | bytearray | memoryview, _binary),
    (date | time, moment_form),
)


def _form(value: Any) -> _Form | None:
    return next((form for types, form in _FORMS if isinstance(value, types)), None)


def _of_json(value: Any) -> Any:
    """Return the form of a value that ``parsed_json`` has parsed."""
    if isinstance(value, dict):
        return _escaped({name: _of_json(item) for name, item in value.items()})
    if isinstance(value, list):
        return [_of_json(item) for item in value]
    if not isinstance(value, Decimal):
        return value
    number = plain_number(value)
    return number if isinstance(number, float) else {DECIMAL: str(number)}


def _object(members: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Return an object with these members; only a description if two names have the same text, or a name is None."""
    listed = list(members)
    written = {_text_of(name) if isinstance(name, str) else str(name): value for name, value in listed}
    if len(written) < len(listed) or any(name is None for name, _ in listed):
        return {UNFIT: f"{short_repr([name for name, _ in listed])}, keys that one JSON object cannot hold"}
    return _escaped(written)


def _escaped(written: dict[str, Any]) -> dict[str, Any]:
    return {ESCAPED: written} if is_marker(written) else written


def _text_of(value: Any) -> str:
    # The characters themselves: a subclass of str can return another text when it is printed.
    return str.__str__(value)


def _is_taken(written: Any) -> bool:
    """Return whether a VARIANT column accepts the value that is read from this form."""
    try:
        json_text(from_letter(written))
    except _UNREADABLE:
        return False
    return True


def _json_or_description(value: Any, kind: DataType | None, error: Exception) -> dict[str, str]:
    """Return the form of a value that is nested too deeply for JSON values, or that cannot be read."""
    if kind == _VARIANT:
        with suppress(*_UNREADABLE):
            return {JSON: json_text(value)}
    return _described(value, error)


def _described(value: Any, error: BaseException | None = None) -> dict[str, str]:
    reason = f": {error}" if isinstance(error, UnfitError) else ""
    return {UNFIT: f"{short_repr(value)}{reason}"}


def _described_unfit(value: UnfitValue) -> dict[str, str]:
    if value.reason == DESCRIBED:  # from a letter that is sent again
        return {UNFIT: str(value.value)}
    # Not cut short, unlike other descriptions: this may be the only copy of the text.
    shown = repr(value.value) if isinstance(value.value, str | bytes) else short_repr(value.value)
    return {UNFIT: f"{shown}, which could not be read ({value.reason})"}
