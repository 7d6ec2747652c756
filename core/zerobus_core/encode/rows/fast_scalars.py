"""The fast path for a column whose values all have the usual type; ``scalars`` handles all other columns.

A fast path takes the values of a column and the set of their types. If a value is null or needs the exact converter,
the fast path returns None. Otherwise, it returns a new list with the converted values, or the same list if no value
changes.

A fast path must never accept a value that the exact converter of the type refuses; the tests compare the two. There are
two exceptions, which are refused later, when the records are made. The first is invalid Unicode. The second is integers
out of range in INT and BIGINT columns, if the records are not JSON.
"""

from __future__ import annotations

import math
import re
import struct
import sys
from base64 import b64encode
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import repeat
from operator import itemgetter, sub
from typing import Any

from ...schema.types import DataType, DecimalType, Kind, PrimitiveType, StringType
from ..values.epochs import DOUBTFUL
from ..values.numbers import EXACT_IN_SINGLE, FLOAT32_LIMIT, INTEGER_BITS
from ..values.times import DAY_RANGE, MICROSECOND_RANGE

__all__ = ["NULL", "Column", "FastPath", "Types", "decimal_pattern", "fast_path", "money_length"]

Column = list[Any]
Types = AbstractSet[type]
"""The set of the types of a column's values."""

NULL = frozenset({type(None)})
_BOOL, _BYTES, _DATE, _DATETIME = frozenset({bool}), frozenset({bytes}), frozenset({date}), frozenset({datetime})
_DECIMAL, _FLOAT, _INT, _STR = frozenset({Decimal}), frozenset({float}), frozenset({int}), frozenset({str})
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH_NAIVE, _EPOCH_UTC = datetime(1970, 1, 1), datetime(1970, 1, 1, tzinfo=UTC)
_EXACT_IN_DOUBLE = 2**53
# From this scale on, str(Decimal) can use an exponent ("1.2E-7"), so the position of the point proves nothing.
_SCIENTIFIC_SCALE = 4
_POINT = frozenset({"."})
_STRUCT_CODES = {8: "b", 16: "h", 32: "i", 64: "q"}


@dataclass(frozen=True, slots=True)
class FastPath:
    """Converts a column's values.

    ``plain`` is the set of types whose values need no check. It is None if every value needs a check.
    """

    run: Callable[[Column, Types], Column | None]
    plain: frozenset[type] | None = None

    def __call__(self, values: Column, types: Types) -> Column | None:
        """Return the converted values, or the list ``values`` itself if no value changes.

        ``types`` is the set of the values' types. Return None if a value is null or needs the exact converter.
        """
        return self.run(values, types)


def fast_path(kind: DataType, *, as_json: bool) -> FastPath | None:
    """Return the fast path for a scalar type; return None if every value needs the exact converter."""
    if isinstance(kind, StringType):
        return _plain(_STR) if kind.length is None else FastPath(_bounded_text(kind.length))
    if isinstance(kind, DecimalType):
        return FastPath(_decimals(kind))
    if not isinstance(kind, PrimitiveType):
        return None
    if kind.kind in INTEGER_BITS:
        # Protobuf itself checks the ranges of 32-bit and 64-bit integers; JSON does not.
        is_checked = kind.kind in {Kind.INT, Kind.BIGINT} and not as_json
        return _plain(_INT) if is_checked else FastPath(_integers(INTEGER_BITS[kind.kind]))
    if as_json and kind.kind in _JSON_ONLY:
        return _JSON_ONLY[kind.kind]
    return _BY_KIND.get(kind.kind)


def _plain(types: frozenset[type]) -> FastPath:
    return FastPath(lambda values, given: values if types.issuperset(given) else None, types)


def _within(values: Column, low: float, high: float) -> bool:
    return not values or (low <= min(values) and max(values) <= high)


def _integers(bits: int) -> Callable[[Column, Types], Column | None]:
    code = _STRUCT_CODES[bits]

    def run(values: Column, types: Types) -> Column | None:
        if not _INT.issuperset(types):
            return None
        try:
            struct.pack(f"{len(values)}{code}", *values)  # takes a third of the time of min and max
        except struct.error:
            return None
        return values

    return run


def _bounded_text(length: int) -> Callable[[Column, Types], Column | None]:
    def run(values: Column, types: Types) -> Column | None:
        is_fit = _STR.issuperset(types) and max(map(len, values), default=0) <= length
        return values if is_fit else None

    return run


def _doubles(values: Column, types: Types) -> Column | None:
    if _FLOAT.issuperset(types):
        return values
    whole = [value for value in values if type(value) is not float]
    is_fit = _INT.issuperset(map(type, whole)) and _within(whole, -_EXACT_IN_DOUBLE, _EXACT_IN_DOUBLE)
    return list(map(float, values)) if is_fit else None


def _singles(values: Column, types: Types) -> Column | None:
    # A NaN or an infinity makes the sum not finite; such a column needs the exact converter.
    doubles = _doubles(values, types)
    if doubles is None or not math.isfinite(sum(doubles)) or not _within(doubles, *_SINGLE_RANGE):
        return None
    if doubles is not values:  # some values are whole numbers
        whole = [value for value in values if type(value) is not float]
        return doubles if _within(whole, -EXACT_IN_SINGLE, EXACT_IN_SINGLE) else None
    return doubles


def _finite_doubles(values: Column, types: Types) -> Column | None:
    doubles = _doubles(values, types)
    return doubles if doubles is not None and math.isfinite(sum(doubles)) else None


# Without the limit itself, which needs the exact converter.
_SINGLE_RANGE = (math.nextafter(-FLOAT32_LIMIT, 0), math.nextafter(FLOAT32_LIMIT, 0))


def _base64(values: Column, types: Types) -> Column | None:
    return [b64encode(value).decode() for value in values] if _BYTES.issuperset(types) else None


def _dates(values: Column, types: Types) -> Column | None:
    if _DATE.issuperset(types):
        return list(map(sub, map(date.toordinal, values), repeat(_EPOCH_DAY)))
    return values if _INT.issuperset(types) and _within(values, *DAY_RANGE) else None


def _timestamps(values: Column, types: Types) -> Column | None:
    if not _DATETIME.issuperset(types):
        return _microseconds(values, types)
    for epoch in (_EPOCH_NAIVE, _EPOCH_UTC):
        try:
            converted = _since(epoch, values)
        except TypeError:  # a value with a time zone minus one without, or the reverse
            continue
        # A UTC offset can move times of the first and the last day out of the range.
        return converted if epoch is _EPOCH_NAIVE or _within(converted, *MICROSECOND_RANGE) else None
    return None


def _wall_clock_times(values: Column, types: Types) -> Column | None:
    if not _DATETIME.issuperset(types):
        return _microseconds(values, types)
    try:
        return _since(_EPOCH_NAIVE, values)
    except TypeError:  # one has a time zone
        return None


def _microseconds(values: Column, types: Types) -> Column | None:
    """Return ``values`` if they are clearly numbers of microseconds; return None otherwise.

    All of them must be whole numbers within MICROSECOND_RANGE. In addition, either all of them must be above the range
    DOUBTFUL, or all of them must be below it.
    """
    if not _INT.issuperset(types) or not _within(values, *MICROSECOND_RANGE):
        return None
    return values if not values or min(values) >= DOUBTFUL[1] or max(values) < DOUBTFUL[0] else None


def _since(epoch: datetime, values: Column) -> Column:
    differences = list(map(sub, values, repeat(epoch)))
    if (pa := sys.modules.get("pyarrow")) is not None:  # takes a third of the time of the code below
        counted: Column = pa.array(differences, pa.duration("us")).view(pa.int64()).to_pylist()
        return counted
    # As exact as dividing each difference by a microsecond, in a quarter of the time.
    return [d.days * 86_400_000_000 + d.seconds * 1_000_000 + d.microseconds for d in differences]


def decimal_pattern(kind: DecimalType) -> str:
    """Return a regular expression for the texts of Decimals that are wire values of this type as they are."""
    before, scale = kind.precision - kind.scale, kind.scale
    whole = f"(?:0|[1-9][0-9]{{0,{before - 1}}})" if before else "0"
    fraction = f"(?:\\.[0-9]{{1,{scale}}})?" if scale else ""
    return f"-?{whole}{fraction}"


def money_length(kind: DecimalType) -> int | None:
    """Return the length up to which the text of an amount of money is a wire value; None if there is no such length.

    The text of an amount of money has exactly ``scale`` digits after the point. A text that is not longer than this
    length has few enough digits before the point.
    """
    has_short_scale = 0 < kind.scale < _SCIENTIFIC_SCALE and kind.precision > kind.scale
    return kind.precision + 1 if has_short_scale else None


def _decimals(kind: DecimalType) -> Callable[[Column, Types], Column | None]:
    # One match over the joined column takes a third of the time of one match per value.
    column = re.compile(f"(?:{decimal_pattern(kind)},)*+")
    longest, at_point = money_length(kind), itemgetter(-kind.scale - 1)

    def is_money(text: list[str]) -> bool:
        try:
            return longest is not None and _POINT.issuperset(map(at_point, text)) and max(map(len, text)) <= longest
        except IndexError:  # a number that is too short to have a point there
            return False

    def run(values: Column, types: Types) -> Column | None:
        if not _DECIMAL.issuperset(types):
            return None
        text = list(map(str, values))
        if not text or is_money(text):
            return text
        return text if column.fullmatch(",".join(text) + ",") else None

    return run


_BY_KIND = {
    Kind.FLOAT: FastPath(_singles),
    Kind.DOUBLE: FastPath(_doubles, _FLOAT),
    Kind.BOOLEAN: _plain(_BOOL),
    Kind.BINARY: _plain(_BYTES),
    Kind.DATE: FastPath(_dates),
    Kind.TIMESTAMP: FastPath(_timestamps),
    Kind.TIMESTAMP_NTZ: FastPath(_wall_clock_times),
}
_JSON_ONLY = {
    Kind.FLOAT: FastPath(_singles),
    Kind.DOUBLE: FastPath(_finite_doubles),
    Kind.BINARY: FastPath(_base64),
}
