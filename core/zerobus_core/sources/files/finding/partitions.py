"""Converts the values of ``name=value`` directories to integers, dates or text, as the table's columns need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from ....schema.types import INTEGER_KINDS, Kind, PrimitiveType, StringType, is_primitive

if TYPE_CHECKING:
    from ....schema import TableSchema
    from ....schema.types import DataType
    from .found import FoundFiles

__all__ = ["PartitionType", "partition_types"]

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

    The result depends on the type of the column in the table:

    * STRING: text.
    * DATE: a date, or text if one of the values is not a date.
    * An integer type: a 64-bit integer, or text if one of the values is not a 64-bit integer.
    * Any other type: a 64-bit integer if every value is a 64-bit integer without extra zeros or signs (7, not 007);
      otherwise text. A column that is not in the table is treated in the same way, and so are all columns if ``schema``
      is None.
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
    if kind == PrimitiveType(Kind.DATE):
        wanted = _DATE
    elif is_primitive(kind, INTEGER_KINDS):
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
