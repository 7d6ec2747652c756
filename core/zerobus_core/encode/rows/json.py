"""Encodes rows as JSON objects with orjson."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson

from ...column_options import RESCUE, RESCUED
from ...schema.types import ArrayType, DataType, Field, Kind, MapType, PrimitiveType, StructType
from ..batching import byte_size
from ..values.json_input import parsed_json
from .encoder import RowEncoder

if TYPE_CHECKING:
    from ...batch import Batch, RecordFormat
    from ...options import IngestOptions
    from ...schema import TableSchema
    from ..filled import FilledColumns

__all__ = ["JsonEncoder", "json_records"]

# Written between the rows of a block, to split the text there. If a row has this number in an array or a text, there
# are more parts than rows, which is noticed. Below 2**32, since orjson takes longer for larger numbers.
_MARK = 72_635_481


class JsonEncoder(RowEncoder):
    """Encodes rows as JSON objects.

    Dates become days, timestamps become microseconds, decimals and VARIANT become text, and bytes become base64.
    """

    descriptor: bytes | None = None

    def __init__(self, schema: TableSchema, options: IngestOptions, *, reason: str, filled: FilledColumns) -> None:
        super().__init__(schema, options, reason=reason, as_json=True, filled=filled)
        # If rows are digested, equal rows must become equal text: with every column, in the table's order.
        self._is_flat = not any(isinstance(field.type, StructType | ArrayType | MapType) for field in self._fields)
        self._ordered = _ordered_of(StructType(self._fields))
        self._has_rescue = options.extra_columns == RESCUE
        if self._has_rescue:
            self._add_field(Field(name=RESCUED, type=PrimitiveType(Kind.VARIANT), position=-1))

    @property
    def record_format(self) -> RecordFormat:
        """Always ``json``: the payloads are lists of text."""
        return "json"

    def _payloads(self, rows: list[dict[str, Any]], first_row: int) -> tuple[list[str], int]:
        records, nbytes = self._with_rescue(rows) if self._has_rescue else self._records(rows)
        if not self._reserved:
            return records, nbytes
        members = self._filled.json_members(first_row, len(records))
        records = [_extended(record, f"{filled}}}") for record, filled in zip(records, members, strict=True)]
        return records, sum(map(byte_size, records))

    def _with_rescue(self, rows: list[dict[str, Any]]) -> tuple[list[str], int]:
        rest = [row.get(RESCUED) for row in rows]
        if self._is_digested:
            rows = list(map(self._ordered, rows))
        # The rescue column is a column of the table, but only the service can fill it: it refuses even a null for it.
        own, _ = json_records(
            [{name: value for name, value in row.items() if value is not None and name != RESCUED} for row in rows]
        )
        records = list(map(_joined, own, rest))
        return records, sum(map(byte_size, records))

    def _records(self, rows: list[dict[str, Any]]) -> tuple[list[str], int]:
        if self._is_digested and not (self._is_flat and self._are_in_order(rows)):
            rows = list(map(self._ordered, rows))
        return json_records(rows)

    def _are_in_order(self, rows: list[dict[str, Any]]) -> bool:
        """Return whether each row has every column, in the table's order."""
        # No row has a key twice, so the joined keys are the repeated names only if each row has all names, in order.
        return [*chain.from_iterable(rows)] == [field.name for field in self._fields] * len(rows)

    def _without_filled(self, records: list[str], first_row: int) -> list[str]:
        if not self._reserved:
            return records
        members = self._filled.json_members(first_row, len(records))
        return [record[: -len(filled) - 1] for record, filled in zip(records, members, strict=True)]

    def decode(self, batch: Batch, index: int) -> dict[str, Any]:
        """Decode a row to JSON-compatible wire values."""
        record = batch.payload[index]
        assert isinstance(record, str)
        # Fields for the rescue column can have numbers with more digits than a double.
        decoded: dict[str, Any] = parsed_json(record) if self._has_rescue else orjson.loads(record)
        return decoded


def json_records(rows: list[dict[str, Any]]) -> tuple[list[str], int]:
    """Return the JSON text of each row, and the size of all of them in bytes.

    Values that orjson cannot write raise TypeError. One call of orjson for all rows takes an eighth of the time that
    one call per row takes.
    """
    marked: list[Any] = [_MARK] * (2 * len(rows))
    marked[::2] = rows
    data, border = orjson.dumps(marked), f",{_MARK},"  # the last border ends with ] and not with a comma
    if data.isascii():
        records = data.decode()[1 : -len(border)].split(border)
    else:  # with one emoji, the text of the whole block would have four bytes per character
        records = list(map(bytes.decode, data[1 : -len(border)].split(border.encode())))
    if len(records) == len(rows):
        return records, len(data) - len("[") - len(rows) * len(border)
    alone = list(map(orjson.dumps, rows))
    return list(map(bytes.decode, alone)), sum(map(len, alone))


def _joined(record: str, rest: str | None) -> str:
    """Return the JSON object ``record`` with the members of the JSON object ``rest`` added."""
    return record if not rest or rest == "{}" else _extended(record, rest[1:])


def _extended(record: str, members: str) -> str:
    """Return the JSON object ``record`` with ``members`` added, which end with the closing brace."""
    return f"{record[:-1]}{',' if len(record) > len('{}') else ''}{members}"


def _ordered_of(kind: StructType) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that puts the members of a row in the order of the fields of ``kind``.

    The function also puts the members of structs inside the row in order, and sorts maps by key. It adds missing
    members as None.
    """
    names = [field.name for field in kind.fields]
    inner = {field.name: convert for field in kind.fields if (convert := _inside_of(field.type)) is not None}

    def convert_struct(row: dict[str, Any]) -> dict[str, Any]:
        out = {name: row.get(name) for name in names}
        for name, convert in inner.items():
            if out[name] is not None:
                out[name] = convert(out[name])
        return out

    return convert_struct


def _inside_of(kind: DataType) -> Callable[[Any], Any] | None:
    """Return a function that orders a value's struct members and map entries; see ``_ordered_of``.

    Return None if the type contains no struct and no map.
    """
    if isinstance(kind, StructType):
        return _ordered_of(kind)
    if isinstance(kind, ArrayType) and (of_element := _inside_of(kind.element)) is not None:
        return lambda values: [None if value is None else of_element(value) for value in values]
    if isinstance(kind, MapType):
        of_value = _inside_of(kind.value) or (lambda value: value)
        return lambda pairs: {key: None if value is None else of_value(value) for key, value in sorted(pairs.items())}
    return None
