"""Converts single values of scalar types to wire values, exactly or not at all.

A converter takes a value that is not null and returns the wire value, or raises UnfitError with the reason. Nothing
is rounded, cut, clamped or parsed silently; docs/types.md has all rules.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ...records import GivenText, UnfitError, is_record
from ...schema.types import DataType, DecimalType, Kind, PrimitiveType, StringType
from . import text
from .given import parsable, unwrapped
from .json_text import checked_text, json_text
from .missing import is_null
from .numbers import INTEGER_BITS, decimal_converter, float_converter, integer_converter
from .times import date_converter, timestamp_converter, timestamp_ntz_converter

if TYPE_CHECKING:
    from .rules import ConversionRules

__all__ = ["null_test", "scalar_converter"]

Scalar = Callable[[Any], Any]


def null_test(kind: DataType, rules: ConversionRules, *, nan_is_null: bool) -> Callable[[Any], bool]:
    """Return a function that returns whether a value stands for NULL in a column of the type ``kind``.

    If ``parse_text`` is set and text can be parsed into values of this type, some strings also stand for NULL, such as
    ``NA`` and the empty string. The module ``values.text`` lists these strings.
    """
    if not (rules.parse_text and text.is_parsed(kind)):
        return lambda value: is_null(value, nan_is_null=nan_is_null)

    def is_nothing(value: Any) -> bool:
        if isinstance(value, str):
            return text.says_nothing(value) and not isinstance(value, GivenText)
        return is_null(value, nan_is_null=nan_is_null)

    return is_nothing


def scalar_converter(kind: DataType, rules: ConversionRules) -> Scalar:
    """Return a function that converts a value to a wire value of the scalar type ``kind``.

    Raises TypeError if ``kind`` is not a scalar type.
    """
    parse_text, wire_text = rules.parse_text, rules.wire_text
    if isinstance(kind, StringType):
        return _string(kind, write_json=rules.write_json)
    if isinstance(kind, DecimalType):
        return decimal_converter(kind, parse_text=parse_text or wire_text, round_floats=rules.round_floats)
    if not isinstance(kind, PrimitiveType):
        raise TypeError(f"not a scalar type: {kind}")
    if kind.kind in INTEGER_BITS:
        return integer_converter(INTEGER_BITS[kind.kind], parse_text=parse_text)
    if kind.kind in _BY_RULES:
        return _BY_RULES[kind.kind](rules)
    return float_converter(is_single=kind.kind is Kind.FLOAT, parse_text=parse_text, finite=rules.as_json)


def _boolean(*, parse_text: bool, numeric: bool) -> Scalar:
    def convert(value: Any) -> bool:
        value = unwrapped(value)
        if isinstance(value, bool):
            return value
        if isinstance(value, str):
            return text.boolean(parsable(value, "True or False", parse_text), numeric=numeric)
        if not isinstance(value, int | float | Decimal):
            raise UnfitError("not a boolean")
        if not numeric:
            raise UnfitError(
                "only True and False are accepted: pass bool(value), or set numeric_booleans=True for 0 and 1"
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
        # The characters themselves: a subclass of str can return another text when it is printed.
        characters = str.__str__(value)
        try:
            characters.encode()
        except UnicodeEncodeError:
            raise UnfitError("not valid Unicode: it contains half of a surrogate pair") from None
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
            raise UnfitError(
                "text is not encoded automatically: pass value.encode(), or set parse_base64=True if it is base64"
            )
        return text.base64_bytes(value)

    return convert


def _binary_for(rules: ConversionRules) -> Scalar:
    to_bytes = _binary(parse_base64=rules.parse_base64)
    # The service documents no JSON form of BINARY; base64 is what protobuf's own JSON mapping and Spark use.
    return (lambda value: b64encode(to_bytes(value)).decode()) if rules.as_json else to_bytes


_BY_RULES: dict[Kind, Callable[[ConversionRules], Scalar]] = {
    Kind.VARIANT: lambda rules: checked_text if rules.wire_text or rules.parse_json else json_text,
    Kind.BINARY: _binary_for,
    Kind.BOOLEAN: lambda rules: _boolean(parse_text=rules.parse_text, numeric=rules.numeric_booleans),
    Kind.DATE: lambda rules: date_converter(parse_text=rules.parse_text),
    Kind.TIMESTAMP: timestamp_converter,
    Kind.TIMESTAMP_NTZ: timestamp_ntz_converter,
}
