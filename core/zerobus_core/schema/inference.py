"""Infers the columns of a table from sample data. The type of a column fits its values in the sample.

A comment on a column can say why its type is uncertain: for example, because its values in the sample are all null,
mix whole numbers with fractions, are of several kinds, or are text that looks like dates. The members of a struct get
such comments, too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from ..errors import SchemaError
from .types import ArrayType, DataType, DecimalType, Field, Kind, PrimitiveType, StringType, StructType

__all__ = ["column_name_error", "columns_of_records", "columns_of_text"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_DIGITS = 38
_BEYOND_DECIMAL = 10**_MAX_DIGITS
_INT64 = range(-(2**63), 2**63)
_NULL_WORDS = frozenset({"", "NA", "N/A", "NULL", "null"})
_BOOLEAN, _BIGINT, _DOUBLE = (PrimitiveType(kind) for kind in (Kind.BOOLEAN, Kind.BIGINT, Kind.DOUBLE))
_DATE, _TIMESTAMP, _NTZ = (PrimitiveType(kind) for kind in (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ))
_BINARY, _VARIANT, _STRING = PrimitiveType(Kind.BINARY), PrimitiveType(Kind.VARIANT), StringType()

ALL_NULL = "all values of the sample are NULL"
MIXED_NUMBERS = "whole numbers and fractions in the sample"
SEVERAL_KINDS = "values of several kinds in the sample"
LIKE_DATES = "text that looks like dates or times"


@dataclass(slots=True)
class _Seen:
    """The types of the values seen in one place: a column, a struct member, a list, or the sample as a whole."""

    kinds: set[str] = field(default_factory=set)
    has_null: bool = False
    whole_digits: int = 0
    """The most digits before the point in any number, leaving out doubles; see ``_digits``."""
    scale: int = 0
    is_beyond_64_bits: bool = False
    members: dict[str, _Seen] = field(default_factory=dict)
    count: int = 0
    """The number of values seen, including nulls; a column that has fewer values than there are rows is missing in some
    rows."""
    element: _Seen | None = None
    is_like: set[str] = field(default_factory=set)
    """What the texts look like, as returned by ``_look``."""

    def add(self, value: Any) -> None:  # noqa: C901, PLR0912  # one case for each kind of value
        self.count += 1
        value = _unwrapped(value)
        if value is None:
            self.has_null = True
        elif isinstance(value, bool):
            self.kinds.add("boolean")
        elif isinstance(value, int):
            self.kinds.add("whole")
            self.is_beyond_64_bits |= value not in _INT64
            self.whole_digits = max(self.whole_digits, _digits(value))
        elif isinstance(value, float):
            self.kinds.add("double")
        elif isinstance(value, Decimal):
            self._add_decimal(value)
        elif isinstance(value, str | UUID):
            self.kinds.add("text")
            self.is_like.add(_look(str(value)))
        elif isinstance(value, bytes | bytearray | memoryview):
            self.kinds.add("binary")
        elif isinstance(value, datetime):
            self.kinds.add("naive time" if value.tzinfo is None else "instant")
        elif isinstance(value, date):
            self.kinds.add("date")
        elif isinstance(value, Mapping):
            self._add_object(value)
        elif isinstance(value, list | tuple):
            self.kinds.add("list")
            self.element = self.element or _Seen()
            for item in value:
                self.element.add(item)
        else:
            self.kinds.add(f"type {type(value).__name__}")

    def _add_decimal(self, value: Decimal) -> None:
        if not value.is_finite():
            self.kinds.add("double")
            return
        self.kinds.add("decimal")
        _, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)
        self.scale = max(self.scale, -exponent)
        self.whole_digits = max(self.whole_digits, len(digits) + exponent)

    def _add_object(self, value: Mapping[Any, Any]) -> None:
        self.kinds.add("object")
        for name, item in value.items():
            self.members.setdefault(str(name), _Seen()).add(item)

    def type(self) -> tuple[DataType, str | None]:
        """Return a type for all of the values, and a note on why the type is uncertain.

        The note is None if the type is certain. Raises SchemaError if the values fit no column type.
        """
        kinds = self.kinds
        if not kinds:
            return _STRING, ALL_NULL
        if len(kinds) == 1:
            return self._type_of(next(iter(kinds)))
        if kinds <= {"whole", "double"}:
            return (_DOUBLE, MIXED_NUMBERS) if not self.is_beyond_64_bits else (_VARIANT, SEVERAL_KINDS)
        if kinds == {"whole", "decimal"}:
            return self._decimal()
        if kinds == {"date", "naive time"}:
            return _NTZ, "dates and times in the sample"
        return _VARIANT, SEVERAL_KINDS

    def _type_of(self, kind: str) -> tuple[DataType, str | None]:
        if kind == "whole":
            return (_BIGINT, None) if not self.is_beyond_64_bits else self._decimal()
        if kind == "decimal":
            return self._decimal()
        if kind == "text":
            is_like_times = self.is_like <= _TIMES.keys()
            return _STRING, LIKE_DATES if is_like_times else None
        if kind == "object":
            return self._struct()
        if kind == "list":
            return self._array()
        known = _TYPES.get(kind)
        if known is None:
            raise SchemaError(f"values of {kind} do not fit any column type; convert them first")
        return known, None

    def _decimal(self) -> tuple[DataType, str | None]:
        precision = max(1, self.whole_digits) + self.scale
        if precision > _MAX_DIGITS:
            return _STRING, f"numbers of more than {_MAX_DIGITS} digits, which must be delivered as text"
        return DecimalType(max(precision, self.scale), self.scale), "as many digits as the sample has"

    def _struct(self) -> tuple[DataType, str | None]:
        if not self.members or not all(_NAME.fullmatch(name) for name in self.members):
            return _VARIANT, None if self.members else "objects without members in the sample"
        lowered = {name.lower() for name in self.members}
        typed = [(name, *seen.type()) for name, seen in self.members.items()]
        is_uncertain = any(note in {ALL_NULL, SEVERAL_KINDS} for _, _, note in typed)
        if is_uncertain or len(lowered) < len(self.members):
            return _VARIANT, "objects with members of uncertain type"
        members = (Field(name, kind, position=at, comment=note) for at, (name, kind, note) in enumerate(typed))
        return StructType(tuple(members)), None

    def _array(self) -> tuple[DataType, str | None]:
        element, note = self.element.type() if self.element is not None else (_STRING, ALL_NULL)
        if note == ALL_NULL:
            return ArrayType(_STRING), "lists without values in the sample"
        if note == SEVERAL_KINDS or (self.element is not None and self.element.has_null):
            return _VARIANT, note  # protobuf records cannot carry nulls inside arrays
        return ArrayType(element), note


_TYPES: dict[str, DataType] = {
    "boolean": _BOOLEAN,
    "double": _DOUBLE,
    "binary": _BINARY,
    "instant": _TIMESTAMP,
    "naive time": _NTZ,
    "date": _DATE,
}


def columns_of_records(records: Iterable[Mapping[str, Any]], *, not_null: bool = False) -> tuple[Field, ...]:
    """Infer the columns of a sample of rows, in the order in which the columns first occur.

    A column can have a comment that says why its type is uncertain. With ``not_null``, a column is NOT NULL if every
    row of the sample has a value for it. Raises a SchemaError that names the column if its values fit no column type.
    """
    table = _Seen()
    for record in records:
        table.add(record)
    columns = []
    for name, seen in table.members.items():
        try:
            kind, comment = seen.type()
        except SchemaError as error:
            raise SchemaError(f"column {name}: {error.message}") from error
        is_full = not seen.has_null and seen.kinds and seen.count == table.count
        columns.append(Field(name, kind, nullable=not (not_null and is_full), comment=comment))
    return tuple(replace(column, position=at) for at, column in enumerate(columns))


def columns_of_text(records: Iterable[Mapping[str, str | None]], *, not_null: bool = False) -> tuple[Field, ...]:
    """Infer the columns of a sample of rows whose values are text or None, such as those of CSV files.

    Text is treated as a number, boolean, date or time only if it has the usual form of such a value. For example,
    ``007`` stays text because of its leading zeros. In a column that is not a STRING, empty text and words such as
    ``NA`` are nulls. In a STRING column, only None is a null. With ``not_null``, a column is NOT NULL if two things are
    true: every row of the sample has a value for it that is not null, and at least one of these values is neither empty
    text nor a word such as ``NA``. Raises SchemaError if a value is neither text nor None.
    """
    rows = 0
    counts: Counter[str] = Counter()
    looks: dict[str, set[str]] = {}
    nulls: set[str] = set()
    words: dict[str, set[str]] = {}
    for record in records:
        rows += 1
        counts.update(record.keys())
        for name, text in record.items():
            seen = looks.setdefault(name, set())
            if text is None:
                nulls.add(name)
            elif not isinstance(text, str):
                raise SchemaError(f"column {name} has a value of type {type(text).__name__}, not text or None")
            elif text.strip() in _NULL_WORDS:
                words.setdefault(name, set()).add(text)
            else:
                seen.add(_look(text))
    columns = []
    for at, (name, seen) in enumerate(looks.items()):
        kind, comment = _type_of_looks(seen)
        texts = sorted(map(repr, words.get(name, ())))
        if texts and not seen:
            nothing = [*texts, "NULL"] if name in nulls else texts
            comment = f"all values of the sample are {' or '.join(nothing)}"
        elif texts and kind != _STRING:
            comment = "; ".join(filter(None, [comment, f"{', '.join(texts)} is NULL here"]))
        has_null = name in nulls or counts[name] < rows or (bool(texts) and kind != _STRING)
        is_full = bool(seen) and not has_null
        columns.append(Field(name, kind, nullable=not (not_null and is_full), position=at, comment=comment))
    return tuple(columns)


def column_name_error(names: Iterable[str]) -> SchemaError | None:
    """Return an error that lists the column names that the service does not accept.

    Returns None if the service accepts all of ``names``.
    """
    odd = [name for name in names if not _NAME.fullmatch(name)]
    if not odd:
        return None
    flags = " ".join(f"--rename '{name}={_plain_name(name)}'" for name in odd[:5])
    return SchemaError(
        "the service accepts only ASCII letters, digits and _ in column names, and no digit at the start, so these are "
        f"invalid: {', '.join(map(repr, odd))}; rename them ({flags})"
    )


def _plain_name(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower()
    return plain if _NAME.fullmatch(plain) else f"_{plain}"


def _unwrapped(value: Any) -> Any:
    if isinstance(value, Enum):
        return _unwrapped(value.value)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist() if type(value).__name__ != "datetime64" else value.astype("datetime64[us]").item()
    is_missing = type(value).__name__ in {"NaTType", "NAType"} or (isinstance(value, float) and value != value)  # noqa: PLR0124
    return None if is_missing else value


def _digits(value: int) -> int:
    """Return the number of digits of ``value``, or 39 if it has more than 38.

    The result 39 means that ``value`` fits no DECIMAL. The exact number of digits is then not counted, because Python
    refuses to convert an int of more than 4,300 digits to text.
    """
    return len(str(abs(value))) if abs(value) < _BEYOND_DECIMAL else _MAX_DIGITS + 1


def _look(text: str) -> str:  # noqa: PLR0911  # one for each look
    """Return the kind of value that ``text`` looks like, such as "whole", "date" or "text".

    A number with leading zeros, such as ``007``, is "text".
    """
    text = text.strip()
    if _WHOLE.fullmatch(text):
        # Counted first: int() refuses text of more than 4,300 digits.
        if len(text.lstrip("-")) > _MAX_DIGITS:
            return "text"
        return "whole" if int(text) in _INT64 else "long"
    if _FRACTION.fullmatch(text):
        return "fraction"
    if text.lower() in {"true", "false"}:
        return "boolean"
    if not _TIME.fullmatch(text):
        return "text"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return "text"
    if len(text) == _DATE_CHARS:
        return "date"
    return "naive time" if moment.tzinfo is None else "instant"


def _type_of_looks(seen: set[str]) -> tuple[DataType, str | None]:  # noqa: PLR0911  # one for each mixture
    if not seen:
        return _STRING, ALL_NULL
    if len(seen) == 1 and (kind := _LOOKS.get(next(iter(seen)))) is not None:
        return kind, LIKE_DATES if kind in _TIMES.values() else None
    if seen == {"whole", "fraction"}:
        return _DOUBLE, MIXED_NUMBERS
    if seen == {"whole", "long"}:
        return _LOOKS["long"], "more than 64 bits in the sample"
    if seen == {"naive time", "instant"}:
        return _TIMESTAMP, "times with and without a zone, the latter taken as UTC"
    if seen == {"date", "naive time"}:
        return _NTZ, "dates and times in the sample"
    return _STRING, None


_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FRACTION = re.compile(r"-?(?:(?:0|[1-9][0-9]*)\.[0-9]*|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?[eE][+-]?[0-9]{1,3}|\.[0-9]+)")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_DATE_CHARS = len("2026-01-01")
_TIMES: dict[str, DataType] = {"date": _DATE, "naive time": _NTZ, "instant": _TIMESTAMP}
_LOOKS: dict[str, DataType] = {
    "whole": _BIGINT,
    "long": DecimalType(_MAX_DIGITS, 0),
    "fraction": _DOUBLE,
    "boolean": _BOOLEAN,
    **_TIMES,
}
