"""JSON text as values, where the user has asked for it: every digit is kept, and nothing is read in two ways."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from ...records import UnfitError

__all__ = ["JsonNumber", "parsed_json"]


class JsonNumber(Decimal):
    """A number with a fraction or an exponent as JSON writes it; FLOAT and DOUBLE take the nearest double."""


def parsed_json(text: str) -> Any:
    """The value of a JSON text.  Raises UnfitError for other text, and for an object that has one key twice."""
    try:
        return json.loads(text, parse_float=JsonNumber, parse_constant=_refuse, object_pairs_hook=_members)
    except RecursionError:
        raise UnfitError("nested too deeply") from None
    except ValueError as error:
        raise UnfitError(f"not JSON text: {error}") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise UnfitError("has one key twice in a JSON object")
    return members


def _refuse(word: str) -> Any:
    raise UnfitError(f"not JSON text: {word} is not a value of JSON")
