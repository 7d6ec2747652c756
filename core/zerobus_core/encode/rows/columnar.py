"""Encodes rows as protobuf messages column by column: converts the rows to Arrow arrays, which ptars serializes.

ptars is young (0.0.x), and silently skips values that it does not expect. So ptars is used for a table only if it
writes the same bytes as protobuf's C implementation for sample rows of the table's types.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from ...schema.types import ArrayType, DataType, Field, Kind, MapType, PrimitiveType, StructType

if TYPE_CHECKING:
    from ...records import TupleRows
    from ..values.rules import ConversionRules
    from .messages import Messages

__all__ = ["ColumnarRecords", "columnar_records", "ptars_handler"]

logger = logging.getLogger("zerobus_core")

_INTEGERS = {Kind.TINYINT: 8, Kind.SMALLINT: 16, Kind.INT: 32, Kind.DATE: 32}
_SCALARS: dict[Kind, list[Any]] = {
    **{
        kind: [0, 1, -1, 127, -(1 << (bits - 1)), (1 << (bits - 1)) - 1]
        for kind, bits in {**_INTEGERS, Kind.BIGINT: 64, Kind.TIMESTAMP: 64, Kind.TIMESTAMP_NTZ: 64}.items()
    },
    Kind.FLOAT: [0.0, -0.0, 1.5, math.inf, -math.inf, math.nan],
    Kind.DOUBLE: [0.0, -0.0, 1.1, math.inf, -math.inf, math.nan],
    Kind.BOOLEAN: [False, True],
    Kind.BINARY: [b"", b"\x00\xff" * 100],
    Kind.VARIANT: ["null", '{"a":1}'],
}
_TEXTS = ["", "a", "aa", "\N{GREEK SMALL LETTER ALPHA}\N{MUSICAL SYMBOL G CLEF}", "long " * 50]
_SAMPLE_ROWS = 12


class ColumnarRecords:
    """Serializes rows of one table. Not thread-safe."""

    def __init__(self, fields: Sequence[Field], rules: ConversionRules, handler: Any) -> None:
        from .arrays import RowArrays  # pyarrow is optional

        self._arrays = RowArrays(fields, rules)
        self._handler = handler

    def records(self, rows: list[dict[str, Any]] | TupleRows) -> list[bytes]:
        """Return a message for each row; raise the errors that ``RowArrays.record_batch`` raises."""
        records: list[bytes] = self._handler.record_batch_to_array(self._arrays.record_batch(rows)).to_pylist()
        return records

    def wire_records(self, rows: list[dict[str, Any]]) -> list[bytes]:
        """Return a message for each row; the rows are dicts of wire values."""
        records: list[bytes] = self._handler.record_batch_to_array(self._arrays.wire_batch(rows)).to_pylist()
        return records


def columnar_records(fields: Sequence[Field], rules: ConversionRules, messages: Messages) -> ColumnarRecords | None:
    """Return the columnar serializer for ``messages``; None if ptars is missing or fails the check with sample rows.

    Also return None if the table has an ARRAY, MAP or STRUCT column, because its rows are encoded faster without ptars.
    """
    if any(isinstance(field.type, StructType | ArrayType | MapType) for field in fields):
        return None
    handler = ptars_handler(messages.row.DESCRIPTOR)
    if handler is None:
        return None
    columnar = ColumnarRecords(fields, rules, handler)
    samples = list(_sample_rows(fields))
    try:
        is_same = columnar.wire_records(samples) == messages.serialized(samples)
    except Exception as error:  # noqa: BLE001 - whatever fails, protobuf serializes the rows instead
        logger.debug("ptars cannot serialize sample rows: %r", error)
        is_same = False
    if not is_same:
        logger.warning("ptars serializes rows of this table differently from protobuf, so it is not used for them")
    return columnar if is_same else None


def ptars_handler(descriptor: Any) -> Any:
    """Return ptars' serializer of a message type; None if ptars is not installed."""
    try:
        import ptars  # optional
    except ImportError:
        return None
    return ptars.HandlerPool([descriptor.file]).get_for_message(descriptor)


def _sample_rows(fields: Sequence[Field]) -> Iterator[dict[str, Any]]:
    """Yield rows of wire values: usual ones, extreme ones, and nulls where they are allowed."""
    columns = [cycle([*_samples(field.type), None] if field.nullable else _samples(field.type)) for field in fields]
    names = [field.name for field in fields]
    for values in islice(zip(*columns, strict=True), _SAMPLE_ROWS):
        yield dict(zip(names, values, strict=True))


def _samples(kind: DataType) -> list[Any]:
    return _SCALARS[kind.kind] if isinstance(kind, PrimitiveType) else _TEXTS  # STRING and DECIMAL
