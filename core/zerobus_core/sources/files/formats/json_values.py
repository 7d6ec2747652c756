"""Parses JSON texts into rows, with exact numbers wherever the table needs them.

Each line is parsed with orjson, which is fast but rounds some numbers: numbers with a fraction or an exponent, and
whole numbers beyond 64 bits, become doubles. Python's json module is slower and gives exact numbers. So a line is
parsed again with the json module if one of these is true:

* A DECIMAL, integer or VARIANT column has a double. These columns need every number exactly.
* A DOUBLE or FLOAT column has a double so large that it can be a whole number beyond 64 bits. Such a whole number is
  refused if the column would round it, so it is needed exactly.
* A field without a column has a double, and the line has a number that a double changes. Such fields can be collected
  in a VARIANT or in the rescue column. A number in them is a double if the double is written with the same value, and a
  Decimal otherwise.

A line is also parsed again if orjson refuses it, or if an object in it might have the same key twice. Names of columns,
and of the fields of a STRUCT, are compared without case, as everywhere in a delivery.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from ....bad_rows import LETTER_KEY, row_of_letter
from ....encode.values.json_text import may_have_key_twice
from ....records import UnreadableRecord
from .exact_json import EXACT_DECODER, KeyTwiceError, UnfitNumberError, settler
from .rounded_numbers import LONG_DIGITS, Fields, has_float, is_huge, may_lose_digits

if TYPE_CHECKING:
    from ....schema.types import Field

__all__ = ["JsonValues", "LineWithKeyTwice", "UnreadableLine"]


class UnreadableLine(UnreadableRecord):
    """A line that cannot be read as JSON. It is yielded in place of a row, and fits no table."""

    reason = "the line cannot be read as JSON"

    def __new__(cls, text: str, why: str = "") -> UnreadableLine:  # noqa: D102  # text is immutable, and has no __init__
        line = super().__new__(cls, text)
        line.reason = f"{cls.reason}: {why}" if why else cls.reason
        return line


class LineWithKeyTwice(UnreadableLine):
    """A line in which an object has the same key twice, so that it is unclear which of the two values is meant."""

    reason = "the line has one key twice in one object"


class JsonValues:
    """Parses JSON texts into rows. Numbers are exact wherever the types of ``columns`` require it.

    If ``columns`` is empty, numbers can be rounded to doubles.
    """

    def __init__(self, columns: Sequence[Field] = ()) -> None:
        self._settle = settler(columns)
        self._fields = Fields(columns) if columns else None

    def row(self, line: bytes) -> Any:
        """Return the row in ``line``, which must not be blank.

        For a dead letter, the row is the record in it. For a line that cannot be read, the row is an UnreadableLine.
        """
        try:
            value = orjson.loads(line)
            if not may_have_key_twice(line, value):
                if isinstance(value, dict) and LETTER_KEY in value:
                    return row_of_letter(line)
                return self._exact_row(line) if self._is_rounded(line, value) else value
        except (orjson.JSONDecodeError, RecursionError):
            pass  # orjson refuses valid JSON with integers beyond any double or with half a surrogate pair
        return self._exact_row(line)

    def rows(self, lines: Sequence[bytes]) -> list[Any]:
        """Return the row of each line, like ``row``, but usually much faster: ordinary lines are checked together."""
        try:
            values = list(map(orjson.loads, lines))
            names = _names_of_plain_objects(lines, values)
            if names is not None and not self._are_some_rounded(lines, values, names):
                return values
            pairs = zip(lines, values, strict=True)
            return [value if self._is_settled(line, value) else self.row(line) for line, value in pairs]
        except (orjson.JSONDecodeError, RecursionError):
            return list(map(self.row, lines))

    def _is_settled(self, line: bytes, value: Any) -> bool:
        is_plain = type(value) is dict and LETTER_KEY not in value
        return is_plain and not may_have_key_twice(line, value) and not self._is_rounded(line, value)

    def _are_some_rounded(self, lines: Sequence[bytes], values: Sequence[dict[str, Any]], names: set[str]) -> bool:
        """Return whether a number that is needed exactly might be rounded in ``values``, whose keys are ``names``."""
        if self._fields is None:
            return False
        checks = self._fields.checks_of_all(names)
        if checks is None or checks.find_in_columns(values):
            return True
        return checks.find_in_others(values) and may_lose_digits(b"\n".join(lines))

    def _is_rounded(self, line: bytes, row: Any) -> bool:
        if self._fields is None or not isinstance(row, dict):
            return False
        checks, get = self._fields.checks_of(row), row.get
        if float in map(type, map(get, checks.plain)) or any(check(get(name)) for name, check in checks.nested):
            return True
        if any(map(is_huge, map(get, checks.reals))) and LONG_DIGITS.search(line) is not None:
            return True
        return any(map(has_float, map(get, checks.others))) and may_lose_digits(line)

    def _exact_row(self, line: bytes) -> Any:
        kind: type[UnreadableLine]
        try:
            value = EXACT_DECODER.decode(line.decode(errors="surrogatepass"))
            return row_of_letter(line) if isinstance(value, dict) and LETTER_KEY in value else self._settle(value)
        except KeyTwiceError:
            kind, why = LineWithKeyTwice, ""
        except json.JSONDecodeError as error:
            kind, why = UnreadableLine, f"{error.msg[:1].lower()}{error.msg[1:]} at character {error.pos + 1}"
        except UnicodeDecodeError as error:
            kind, why = UnreadableLine, f"byte {error.start + 1} is not UTF-8"
        except RecursionError:
            kind, why = UnreadableLine, "it is nested too deeply"
        except (ValueError, ArithmeticError) as error:
            kind, why = UnreadableLine, str(error) if isinstance(error, UnfitNumberError) else ""
        return kind(line.decode(errors="replace").rstrip("\r\n"), why)


def _names_of_plain_objects(lines: Sequence[bytes], values: Sequence[Any]) -> set[str] | None:
    """Return the keys of all values if each is certainly an object without repeated keys and no dead letter, else None.

    ``values`` are the parsed ``lines``. The keys are those at the top of the objects.
    """
    if set(map(type, values)) != {dict}:
        return None
    names: set[str] = set().union(*values)
    # A line cannot have fewer keys than its value, so if the sums are equal, the numbers are equal in every line.
    return None if LETTER_KEY in names or may_have_key_twice(b"".join(lines), values) else names
