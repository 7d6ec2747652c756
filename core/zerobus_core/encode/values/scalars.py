"""One value of a scalar type, from what people have to what the wire carries, exactly or not at all.

Every function takes a value that is not null and returns the wire value, or raises UnfitError with the reason.
Nothing is rounded, cut, clamped or parsed silently; docs/types.md is the promise in full.
"""

from __future__ import annotations

import math
import operator
import struct
import sys
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ...records import UnfitError, UnfitValue, dumped, is_record
from ...schema.types import DataType, DecimalType, Kind, PrimitiveType, StringType
from . import text
from .epochs import microseconds_of
from .json_input import JsonNumber
from .json_text import checked_text, json_text
from .missing import is_null
from .moments import plain_datetime

if TYPE_CHECKING:
    from .rules import ConversionRules

__all__ = [
    "DAY_RANGE",
    "EXACT_IN_SINGLE",
    "FLOAT32_LIMIT",
    "INTEGER_BITS",
    "MICROSECOND_RANGE",
    "is_null",
    "null_test",
    "scalar_converter",
]

Scalar = Callable[[Any], Any]

_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_NAIVE = datetime(1970, 1, 1)  # the wall-clock epoch of TIMESTAMP_NTZ
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
# Years 0001 to 9999, which are Delta's; a number outside was counted in another unit.
DAY_RANGE = (date.min.toordinal() - _EPOCH_DAY, date.max.toordinal() - _EPOCH_DAY)
MICROSECOND_RANGE = ((datetime.min - _EPOCH_NAIVE) // _MICROSECOND, (datetime.max - _EPOCH_NAIVE) // _MICROSECOND)
INTEGER_BITS = {Kind.TINYINT: 8, Kind.SMALLINT: 16, Kind.INT: 32, Kind.BIGINT: 64}
# The largest double that still rounds to a finite float32.
FLOAT32_LIMIT = 3.4028235677973366e38
# Up to here, each whole number is a single.
EXACT_IN_SINGLE = 2**24


def null_test(kind: DataType, rules: ConversionRules, *, nan_is_null: bool) -> Callable[[Any], bool]:
    """The test of whether a value stands for NULL in a column of the type; parsed text can also say so."""
    if not (rules.parse_text and text.is_parsed(kind)):
        return lambda value: is_null(value, nan_is_null=nan_is_null)
    return lambda value: text.says_nothing(value) if isinstance(value, str) else is_null(value, nan_is_null=nan_is_null)


def unwrapped(value: Any) -> Any:
    """The value inside an Enum member, a pydantic model or a NumPy scalar; any other as it is."""
    if isinstance(value, Enum):
        return unwrapped(value.value)
    if isinstance(value, UnfitValue):
        raise UnfitError(value.reason)
    if (inner := dumped(value)) is not value:  # pydantic's RootModel
        return unwrapped(inner)
    numpy = sys.modules.get("numpy")  # who has a NumPy scalar has imported NumPy
    if numpy is not None and isinstance(value, numpy.generic) and not isinstance(value, numpy.datetime64):
        return value.item()
    return value


def scalar_converter(kind: DataType, rules: ConversionRules) -> Scalar:
    """The converter of a scalar type."""
    parse_text, wire_text = rules.parse_text, rules.wire_text
    if isinstance(kind, StringType):
        return _string(kind, write_json=rules.write_json)
    if isinstance(kind, DecimalType):
        return _decimal(kind, parse_text=parse_text or wire_text, round_floats=rules.round_floats)
    if not isinstance(kind, PrimitiveType):
        raise TypeError(f"no scalar type: {kind}")
    if kind.kind in INTEGER_BITS:
        return _integer(INTEGER_BITS[kind.kind], parse_text=parse_text)
    if kind.kind in _BY_RULES:
        return _BY_RULES[kind.kind](rules)
    return _float(is_single=kind.kind is Kind.FLOAT, parse_text=parse_text, finite=rules.as_json)


def _parsable(value: str, what: str, parse_text: bool) -> str:
    if not parse_text:
        raise UnfitError(f"text is not parsed: pass {what}, or set parse_text=True")
    return value


def _integer(bits: int, *, parse_text: bool) -> Scalar:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def convert(value: Any) -> int:
        number = _whole(unwrapped(value), parse_text=parse_text)
        if not low <= number <= high:
            raise UnfitError(f"out of range, which is {low} to {high}")
        return number

    return convert


def _whole(value: Any, *, parse_text: bool) -> int:
    if isinstance(value, bool):
        raise UnfitError("a boolean is not a number")
    if isinstance(value, str):
        return text.whole_number(_parsable(value, "a number", parse_text))
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            raise UnfitError("not a finite number")
        if value != (whole := int(value)):
            raise UnfitError("has a fraction, and nothing is rounded here")
        return whole
    try:
        return int(operator.index(value))
    except TypeError:
        raise UnfitError("not a whole number") from None


def _float(*, is_single: bool, parse_text: bool, finite: bool) -> Scalar:
    def convert(value: Any) -> float:
        given = unwrapped(value)
        number = _real(given, parse_text=parse_text)
        if math.isfinite(number):
            if is_single:
                _check_single(given, number)
        elif finite:
            raise UnfitError('JSON has no NaN or infinity: use record_format="protobuf" or "arrow", or None for NULL')
        return number

    return convert


def _check_single(given: Any, number: float) -> None:
    """Floats and text become the nearest single; a whole number is not changed."""
    if abs(number) >= FLOAT32_LIMIT:
        raise UnfitError("too large for 32 bits")
    if (
        isinstance(given, int)
        and abs(number) > EXACT_IN_SINGLE
        and struct.unpack("f", struct.pack("f", number)) != (number,)
    ):
        raise UnfitError("a FLOAT cannot hold this whole number exactly: pass float(value) for the nearest one")


def _real(value: Any, *, parse_text: bool) -> float:
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bool):
        raise UnfitError("a boolean is not a number")
    if isinstance(value, int):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if number != value:
            raise UnfitError("a double cannot hold this whole number exactly")
        return number
    if isinstance(value, str):
        return text.real_number(_parsable(value, "a number", parse_text))
    if isinstance(value, JsonNumber):
        return text.real_number(str(value))
    if isinstance(value, Decimal):
        raise UnfitError("a Decimal is not rounded here: pass float(value)")
    raise UnfitError("not a number")


def _boolean(*, parse_text: bool, numeric: bool) -> Scalar:
    def convert(value: Any) -> bool:
        value = unwrapped(value)
        if isinstance(value, bool):
            return value
        if isinstance(value, str):
            return text.boolean(_parsable(value, "True or False", parse_text), numeric=numeric)
        if not isinstance(value, int | float | Decimal):
            raise UnfitError("not a boolean")
        if not numeric:
            raise UnfitError(
                "only True and False are taken: pass bool(value), or set numeric_booleans=True for 0 and 1"
            )
        if value not in {0, 1}:
            raise UnfitError("neither 0 nor 1")
        return bool(value)

    return convert


def _string(kind: StringType, *, write_json: bool) -> Scalar:
    length = kind.length

    def convert(value: Any) -> str:
        value = unwrapped(value)
        if isinstance(value, UUID):
            value = str(value)
        if write_json and _is_json_like(value):
            value = json_text(value)
        if not isinstance(value, str):
            raise UnfitError(f"not text: {_text_hint(value)}")
        # The characters themselves, whatever a subclass makes of them when it is printed.
        characters = str.__str__(value)
        try:
            characters.encode()
        except UnicodeEncodeError:
            raise UnfitError("not valid Unicode: it holds half of a surrogate pair") from None
        if length is not None and len(characters) > length:
            raise UnfitError(f"longer than {length} characters: it has {len(characters)}")
        return characters

    return convert


def _text_hint(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return "pass value.decode()"
    return "pass json.dumps(value), or set write_json=True" if _is_json_like(value) else "pass str(value)"


def _is_json_like(value: Any) -> bool:
    return isinstance(value, list | tuple | dict) or is_record(value)


def _binary(*, parse_base64: bool) -> Scalar:
    def convert(value: Any) -> bytes:
        value = unwrapped(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        if isinstance(value, UUID):
            return value.bytes
        if not isinstance(value, str):
            raise UnfitError("not bytes")
        if not parse_base64:
            raise UnfitError("text is not encoded here: pass value.encode(), or set parse_base64=True if it is base64")
        return text.base64_bytes(value)

    return convert


def _binary_for(rules: ConversionRules) -> Scalar:
    to_bytes = _binary(parse_base64=rules.parse_base64)
    # The service documents no JSON form of BINARY; base64 is what protobuf's own JSON mapping and Spark use.
    return (lambda value: b64encode(to_bytes(value)).decode()) if rules.as_json else to_bytes


def _date(parse_text: bool) -> Scalar:
    low, high = DAY_RANGE

    def convert(value: Any) -> int:
        value = _from_numpy_time(unwrapped(value), "D")
        if isinstance(value, str):
            value = text.day(_parsable(value, "a date", parse_text))
        if isinstance(value, datetime):
            if value.tzinfo is not None or value.time() != time.min or _nanoseconds(value):
                raise UnfitError("has a time or a time zone: pass value.date()")
            return value.toordinal() - _EPOCH_DAY
        if isinstance(value, date):
            return value.toordinal() - _EPOCH_DAY
        if isinstance(value, int) and not isinstance(value, bool):
            if not low <= value <= high:
                raise UnfitError(f"no day number, which counts from 1970-01-01 and is {low} to {high}")
            return int(value)
        raise UnfitError("not a date")

    return convert


def _timestamp(read: Callable[[Any], datetime | int]) -> Scalar:
    def convert(value: Any) -> int:
        moment = read(unwrapped(value))
        if isinstance(moment, int):
            return moment
        if moment.utcoffset() is None:
            return (moment.replace(tzinfo=None) - _EPOCH_NAIVE) // _MICROSECOND
        microseconds = (moment - _EPOCH_UTC) // _MICROSECOND
        if not _is_in_range(microseconds):
            raise UnfitError("outside of the years 0001 to 9999 in UTC")
        return microseconds

    return convert


def _timestamp_ntz(read: Callable[[Any], datetime | int]) -> Scalar:
    def convert(value: Any) -> int:
        moment = read(unwrapped(value))
        if isinstance(moment, int):
            return moment
        if moment.utcoffset() is not None:
            raise UnfitError("has a time zone, and TIMESTAMP_NTZ has none: pass value.replace(tzinfo=None)")
        return (moment.replace(tzinfo=None) - _EPOCH_NAIVE) // _MICROSECOND

    return convert


def _moment(rules: ConversionRules) -> Callable[[Any], datetime | int]:
    """Reads a value as a datetime, or as microseconds since the epoch that are in range."""
    parse_text, epoch_unit = rules.parse_text, "us" if rules.wire_text else rules.epoch_unit

    def read(value: Any) -> datetime | int:
        if type(value).__name__ == "datetime64":
            return _in_range(_from_numpy_time(value, "us"))
        if isinstance(value, str):
            value = text.moment(_parsable(value, "a datetime", parse_text))
        if isinstance(value, datetime):
            if _nanoseconds(value):
                raise UnfitError("has nanoseconds, and the column counts microseconds: pass value.floor('us')")
            return plain_datetime(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return _in_range(microseconds_of(int(value), epoch_unit))
        raise UnfitError("a date has no time: pass a datetime" if isinstance(value, date) else "not a datetime")

    return read


def _in_range(microseconds: int) -> int:
    if not _is_in_range(microseconds):
        raise UnfitError("outside of the years 0001 to 9999 when read as microseconds since 1970; is it nanoseconds?")
    return microseconds


def _nanoseconds(value: datetime) -> int:
    extra: int = getattr(value, "nanosecond", 0)  # pandas.Timestamp
    return extra


def _is_in_range(microseconds: int) -> bool:
    low, high = MICROSECOND_RANGE
    return low <= microseconds <= high


# The units that a column is too coarse for; whatever else is lost is out of range.
_FINER = {"us": {"ns", "ps", "fs", "as"}, "D": {"h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"}}
_TOO_FINE = {"us": "has nanoseconds, and the column counts microseconds", "D": "has a time: pass a date"}


def _from_numpy_time(value: Any, unit: str) -> Any:
    """A NumPy datetime64 as a whole number of the unit; any other value as it is."""
    if type(value).__name__ != "datetime64":
        return value
    whole = value.astype(f"datetime64[{unit}]")
    # NumPy wraps around in casts, and again when it compares two units: so back to the value's own, as numbers.
    if int(whole.astype(value.dtype).astype("int64")) != int(value.astype("int64")):
        is_finer = sys.modules["numpy"].datetime_data(value.dtype)[0] in _FINER[unit]
        raise UnfitError(_TOO_FINE[unit] if is_finer else "outside of the years 0001 to 9999")
    return int(whole.astype("int64"))


def _decimal(kind: DecimalType, *, parse_text: bool, round_floats: bool) -> Scalar:
    before, scale = kind.precision - kind.scale, kind.scale
    unit = Decimal(1).scaleb(-scale)
    exact = Context(prec=kind.precision + 2, traps=[Inexact, InvalidOperation])

    def convert(value: Any) -> str:
        value = unwrapped(value)
        number = (
            _rounded(value, scale) if round_floats and isinstance(value, float) else _exact_number(value, parse_text)
        )
        if number and number.adjusted() >= before:
            raise UnfitError(f"has more than {before} digits before the point")
        if -int(number.as_tuple().exponent) <= scale:  # finite, so the exponent is a number
            return format(number, "f")
        try:
            return format(number.quantize(unit, context=exact), "f")
        except (Inexact, InvalidOperation):
            raise UnfitError(f"has more than {scale} digits after the point, and nothing is rounded here") from None

    return convert


def _exact_number(value: Any, parse_text: bool) -> Decimal:
    if isinstance(value, str):
        return text.decimal_number(_parsable(value, "a Decimal", parse_text))
    if isinstance(value, bool):
        raise UnfitError("a boolean is not a number")
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise UnfitError("not a finite number")
        return value
    if isinstance(value, float):
        raise UnfitError("a float is not exact: pass Decimal(str(value)), or set round_floats=True")
    raise UnfitError("not a decimal number")


def _rounded(value: float, scale: int) -> Decimal:
    """The decimal of as many digits after the point that is nearest to the shortest text of the float; half up."""
    if not math.isfinite(value):
        raise UnfitError("not a finite number")
    number = Decimal(repr(value))
    if -int(number.as_tuple().exponent) <= scale:
        return number
    return number.quantize(Decimal(1).scaleb(-scale), context=_ROUNDING)


# A double has at most 309 digits before the point.
_ROUNDING = Context(prec=400, rounding=ROUND_HALF_UP)

_BY_RULES: dict[Kind, Callable[[ConversionRules], Scalar]] = {
    Kind.VARIANT: lambda rules: checked_text if rules.wire_text or rules.parse_json else json_text,
    Kind.BINARY: _binary_for,
    Kind.BOOLEAN: lambda rules: _boolean(parse_text=rules.parse_text, numeric=rules.numeric_booleans),
    Kind.DATE: lambda rules: _date(rules.parse_text),
    Kind.TIMESTAMP: lambda rules: _timestamp(_moment(rules)),
    Kind.TIMESTAMP_NTZ: lambda rules: _timestamp_ntz(_moment(rules)),
}
