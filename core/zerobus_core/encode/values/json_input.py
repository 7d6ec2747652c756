"""Parses JSON text into values. Keeps every digit of a number, and refuses an object that has the same key twice."""

from __future__ import annotations

import json
from decimal import Context, Decimal, InvalidOperation
from functools import partial
from typing import Any

from ...records import UnfitError

__all__ = ["JsonNumber", "parsed_json", "plain_number"]


class JsonNumber(Decimal):
    """A number that is written with a fraction or an exponent in JSON text.

    FLOAT and DOUBLE columns get the nearest double.
    """


# The caller's own context might not trap an exponent that is out of range, and then the number would become NaN.
_number = partial(JsonNumber, context=Context(traps=[InvalidOperation]))


def parsed_json(text: str) -> Any:
    """Parse a JSON text.

    Raises UnfitError for invalid or too deeply nested text, for an object that has the same key twice, and for a number
    whose exponent is out of range for a Decimal.
    """
    try:
        return json.loads(text, parse_float=_number, parse_constant=_refuse, object_pairs_hook=_members)
    except RecursionError:
        raise UnfitError("nested too deeply") from None
    except InvalidOperation:
        raise UnfitError("holds a number whose exponent is out of range") from None
    except ValueError as error:
        raise UnfitError(f"not JSON text: {error}") from None


def plain_number(number: Decimal) -> float | Decimal:
    """Return the double that is written with the digits of ``number``; return ``number`` if there is none.

    ``json_text`` writes a double with its exponent, but a Decimal without one: 1E+300 would become 301 digits.
    """
    double = float(number)
    return double if Decimal(repr(double)).as_tuple() == number.as_tuple() else number


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise UnfitError("has the same key twice in a JSON object")
    return members


def _refuse(word: str) -> Any:
    raise UnfitError(f"not JSON text: {word} is not a JSON value")
