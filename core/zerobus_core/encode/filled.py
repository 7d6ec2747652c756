"""The columns that a delivery fills itself: ``delivery_columns`` and ``metadata_columns``.

They are not part of the rows: a row that contains one of these columns is refused, and digests do not include them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from ..batch import Chunk, Origin
from ..errors import ConfigurationError
from ..schema.types import DataType, Kind, PrimitiveType, StringType

if TYPE_CHECKING:
    from ..options import IngestOptions
    from ..schema import TableSchema

__all__ = ["FilledColumns", "Run", "type_of_filled"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMESTAMP, _BIGINT = PrimitiveType(Kind.TIMESTAMP), PrimitiveType(Kind.BIGINT)


def type_of_filled(kind: str) -> DataType:
    """Return the type that a filled column must have.

    ``kind`` is a key of ``delivery_columns`` or ``metadata_columns``, such as ``row_number``.
    """
    return {"row_number": _BIGINT, "ingested_at": _TIMESTAMP}.get(kind, StringType())


class Run:
    """The values of the filled columns in ``rows`` consecutive rows.

    ``constants`` contains the columns whose value is the same in all of these rows: it maps a column's name to its wire
    value. ``numbers`` contains the columns whose value increases by one from row to row: it maps a column's name to its
    value in the first of these rows.
    """

    def __init__(self, rows: int, constants: dict[str, str | int], numbers: dict[str, int]) -> None:
        self.rows = rows
        self.constants = constants
        self.numbers = numbers
        """Maps the name of each column in ``numbers`` to its value in the first row."""


class FilledColumns:
    """The values of the filled columns for each row; ``names`` is the set of the columns' names, which can be empty."""

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()
        self._constants: dict[str, str | int] = {}
        self._number_of_delivery = self._number_of_source = self._name = self._path = ""
        self._origins: tuple[Origin, ...] = ()
        self._first_row = 0

    @classmethod
    def of(
        cls, schema: TableSchema, options: IngestOptions, delivery_id: str | None, started_at: datetime
    ) -> FilledColumns:
        """Return the FilledColumns for the columns that ``options`` lists.

        Raises ConfigurationError if one of these columns is missing from the table or has the wrong type, or if
        ``delivery_columns`` is set without a delivery id.
        """
        filled = cls()
        filled._fill(schema, options, delivery_id, started_at)
        return filled

    def _fill(self, schema: TableSchema, options: IngestOptions, delivery_id: str | None, started_at: datetime) -> None:
        if options.delivery_columns is not None:
            if not delivery_id:
                raise ConfigurationError("delivery_columns needs a delivery id", table=schema.table)
            _check_columns(schema, "delivery_columns", options.delivery_columns)
            self._constants[options.delivery_columns["delivery_id"]] = delivery_id
            self._number_of_delivery = options.delivery_columns["row_number"]
        metadata = options.metadata_columns or {}
        _check_columns(schema, "metadata_columns", metadata)
        if "ingested_at" in metadata:
            self._constants[metadata["ingested_at"]] = (started_at - _EPOCH) // timedelta(microseconds=1)
        self._number_of_source = metadata.get("row_number", "")
        self._name, self._path = metadata.get("file_name", ""), metadata.get("file_path", "")
        self.names = options.filled_columns

    def begin(self, chunk: Chunk) -> None:
        """Make ``chunk`` the current chunk, to which ``runs``, ``values`` and ``json_members`` refer."""
        self._first_row, self._origins = chunk.first_row, chunk.origins

    def runs(self, first_row: int, rows: int) -> Iterator[Run]:
        """Yield the values for ``rows`` rows of the current chunk, starting at position ``first_row``.

        Yields one Run for each origin of these rows. If the chunk has no origins, yields a single Run for all of the
        rows.
        """
        if not self._origins:
            yield self._run(first_row, Origin(None, first_row, rows))
            return
        for origin in Chunk(self._first_row, [], self._origins).origins_of(first_row, rows):
            yield self._run(first_row, origin)
            first_row += origin.rows

    def _run(self, first_row: int, origin: Origin) -> Run:
        constants, numbers = dict(self._constants), {}
        if self._name and origin.name is not None:
            constants[self._name] = origin.name
        if self._path and origin.path is not None:
            constants[self._path] = origin.path
        if self._number_of_delivery:
            numbers[self._number_of_delivery] = first_row
        if self._number_of_source:
            numbers[self._number_of_source] = origin.first_row
        return Run(origin.rows, constants, numbers)

    def values(self, first_row: int, rows: int) -> list[dict[str, Any]]:
        """Return one dict per row, which contains the values that ``runs`` yields for this row."""
        return [
            {**run.constants, **{name: number + index for name, number in run.numbers.items()}}
            for run in self.runs(first_row, rows)
            for index in range(run.rows)
        ]

    def json_members(self, first_row: int, rows: int) -> list[str]:
        """Return, for each row, the values that ``runs`` yields, as the text of a JSON object without its braces."""
        members: list[str] = []
        for run in self.runs(first_row, rows):
            whole = orjson.dumps({**run.constants, **dict.fromkeys(run.numbers, 0)}).decode()[1:-1]
            # The numbers come last; what is before them is the same in every row.
            tail = ",".join(f"{orjson.dumps(name).decode()}:0" for name in run.numbers)
            head, tail = whole[: len(whole) - len(tail)], tail.replace(":0", ":%d")
            members += [
                head + tail % tuple(number + index for number in run.numbers.values()) for index in range(run.rows)
            ]
        return members


def _check_columns(schema: TableSchema, option: str, names: Any) -> None:
    columns = {column.name: column for column in schema.columns}
    for kind, name in names.items():
        column, expected = columns.get(name), type_of_filled(kind)
        if column is None:
            raise ConfigurationError(f"{option} refers to {name!r}, which the table does not have", table=schema.table)
        if column.type != expected:
            raise ConfigurationError(
                f"{option} refers to {name!r}, which has the type {column.type} but must be {expected}",
                table=schema.table,
            )
