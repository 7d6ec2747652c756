"""Collects the reasons why values do not fit the table, and builds the error that lists these reasons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import BadField, RecordError
from ..records import GivenText, short_repr
from ..wording import plural

__all__ = [
    "FOREIGN_ERRORS",
    "MAX_BAD_FIELDS",
    "MISSING",
    "WHOLE_ROW",
    "RowProblems",
    "record_error",
    "shown_name",
    "unknown_column_hint",
]

# The most bad fields in one error: enough to see a pattern, few enough to read.
MAX_BAD_FIELDS = 20
# The path of a problem that concerns the whole row rather than one field.
WHOLE_ROW = "(the whole row)"


# Errors that a record's own methods can raise when its members are read, or that an unforeseen value can cause. They
# become a problem of the row; they do not crash the encoder.
FOREIGN_ERRORS = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RuntimeError)


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


class RowProblems:
    """The bad fields of one row, at most MAX_BAD_FIELDS of them."""

    __slots__ = ("fields", "row")

    def __init__(self, row: int) -> None:
        self.row = row
        self.fields: list[BadField] = []

    def add(self, path: str, value: Any, expected: str, reason: str) -> None:
        """Add a bad field: the value at ``path`` was refused because of ``reason``."""
        if len(self.fields) < MAX_BAD_FIELDS:
            is_missing = value is MISSING
            self.fields.append(
                BadField(
                    row=self.row,
                    path=path,
                    value_type="nothing" if is_missing else _type_name(value),
                    value_repr="" if is_missing else short_repr(value),
                    expected=expected,
                    reason=reason,
                )
            )

    def add_failure(self, record: Any, error: Exception) -> None:
        """Add one bad field for the whole row, which could not be encoded because of ``error``."""
        self.add(WHOLE_ROW, record, "a row of the table", f"cannot be encoded: {type(error).__name__}: {error}")


def _type_name(value: Any) -> str:
    return "str" if isinstance(value, GivenText) else type(value).__name__


def shown_name(name: object) -> str:
    """Return a column's name for a message, quoted unless it is an ASCII identifier."""
    return name if isinstance(name, str) and name.isascii() and name.isidentifier() else repr(name)


def unknown_column_hint(name: str, columns: Iterable[str]) -> str:
    """Return advice about a name that is not in ``columns``; return an empty string if there is no advice."""
    if not name.strip():
        return (
            f", a column without a name, for example from a delimiter at the end of the header or from pandas' index: "
            f"leave it out with drop=[{name!r}] (--drop {name!r})"
        )
    columns = list(columns)
    own = next((column for column in columns if column.lower() == name.strip().lower()), None)
    if own is not None:
        return f" (did you mean {own}? pass CsvFormat(skip_blanks=True) to ignore leading blanks, or use rename)"
    import difflib

    near = next(iter(difflib.get_close_matches(name, columns, n=1)), None)
    return f" (did you mean {near}?)" if near else ""


def record_error(table: str, fields: Sequence[BadField]) -> RecordError:
    """Return a RecordError that lists the first MAX_BAD_FIELDS of ``fields``, which can be from several rows."""
    rows = len({field.row for field in fields})
    shown = "\n".join(f"  {field}" for field in fields[:MAX_BAD_FIELDS])
    more = f"\n  and {len(fields) - MAX_BAD_FIELDS} more" if len(fields) > MAX_BAD_FIELDS else ""
    return RecordError(
        f"{rows} {plural(rows, 'row does', 'rows do')} not fit the table, so no row of the batch was sent:\n"
        f"{shown}{more}",
        fields=tuple(fields[:MAX_BAD_FIELDS]),
        table=table,
    )
