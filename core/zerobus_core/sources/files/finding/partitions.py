"""Converts the values of ``name=value`` directories to integers, dates or text, as the table's columns need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from ....schema.types import Kind, PrimitiveType, StringType

if TYPE_CHECKING:
    from ....schema import TableSchema
    from ....schema.types import DataType
    from .found import FoundFiles

__all__ = ["PartitionType", "partition_types"]

_WHOLE = {Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT}
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class PartitionType:
    """The type of a partition column.

    ``parse`` converts the text in a directory's name to a value. ``arrow`` is the name of the pyarrow function that
    returns the Arrow type.
    """

    parse: Callable[[str], Any]
    arrow: str

    def takes_all(self, texts: Iterable[str]) -> bool:
        """Return whether every text can be converted to the type."""
        try:
            for text in texts:
                self.parse(text)
        except ValueError:
            return False
        return True


def partition_types(found: FoundFiles, schema: TableSchema | None = None) -> dict[str, PartitionType]:
    """Return the type of each partition column, by name.

    The type is a date for a DATE column of the table, a 64-bit integer for an integer column, and text for a STRING
    column. For any other column, and without a table, the type is a 64-bit integer if every value is an integer without
    extra zeros or signs (7, not 007), otherwise text. The type of a DATE or integer column is also text if one of its
    values cannot be converted.
    """
    values: dict[str, set[str]] = {}
    for file in found.files:
        for name, value in file.partitions:
            values.setdefault(name, set()).update(() if value is None else (value,))
    kinds = {column.name: column.type for column in schema.columns} if schema else {}
    return {name: _type_for(kinds.get(name), texts) for name, texts in values.items()}


def _type_for(kind: DataType | None, texts: set[str]) -> PartitionType:
    if isinstance(kind, StringType):
        return _TEXT
    wanted = _CANONICAL
    if isinstance(kind, PrimitiveType) and kind.kind is Kind.DATE:
        wanted = _DATE
    elif isinstance(kind, PrimitiveType) and kind.kind in _WHOLE:
        wanted = _NUMBER
    # A value that the column cannot hold stays text, so that the error shows it as it is written.
    return wanted if wanted.takes_all(texts) else _TEXT


def _number(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (number := int(text)) not in _INT64:
        raise ValueError("not a whole number that fits in 64 bits")
    return number


def _canonical(text: str) -> int:
    # 007 is text; an integer would lose its zeros.
    if str(number := _number(text)) != text:
        raise ValueError("a number with extra zeros or signs")
    return number


_TEXT = PartitionType(str, "string")
_DATE = PartitionType(date.fromisoformat, "date32")
_NUMBER = PartitionType(_number, "int64")
_CANONICAL = PartitionType(_canonical, "int64")
