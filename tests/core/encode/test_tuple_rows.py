"""Rows of a query are encoded as tuples: as the same dicts would be, with the same errors."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from zerobus_core import IngestOptions, RecordError, TableSchema
from zerobus_core.batch import BadRow, Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.ranges import RowRanges
from zerobus_core.records import TupleRows
from zerobus_core.sources import source_of
from zerobus_core.sources.rows.row_blocks import RowBlocks

SCHEMA = TableSchema.from_sql("CREATE TABLE main.default.t (id BIGINT NOT NULL, name STRING, n INT)")
FORMATS = ["protobuf", "json"]


def encoded(rows: Any, record_format: str) -> list[Any]:
    encoder = encoder_for(SCHEMA, IngestOptions(record_format=record_format), is_arrow=False)
    return [record for batch in encoder.encode(Chunk(0, rows)) for record in batch.payload]


@pytest.mark.parametrize("record_format", FORMATS)
@pytest.mark.parametrize(
    "names", [("id", "name", "n"), ("n", "id", "name"), ("N", "Id", "NAME"), ("name", "id"), ("id",)]
)
def test_tuples_become_the_records_of_the_same_dicts(names: tuple[str, ...], record_format: str) -> None:
    values: dict[str, Any] = {"id": 7, "name": "a", "n": 3}
    rows = TupleRows(names, [tuple(values[name.lower()] for name in names)] * 3)
    assert encoded(rows, record_format) == encoded(list(rows), record_format)


@pytest.mark.parametrize("record_format", FORMATS)
@pytest.mark.parametrize(
    ("names", "row"),
    [
        (("name", "n"), ("a", 1)),  # no id
        (("id", "name"), (None, "a")),
        (("id", "name", "m"), (1, "a", 2)),  # no such column
        (("id", "ID"), (1, 2)),  # one column twice
        (("id", "n"), (1, 2**31)),
    ],
)
def test_tuples_that_do_not_fit_are_refused_as_dicts_are(
    names: tuple[str, ...], row: tuple[Any, ...], record_format: str
) -> None:
    rows = TupleRows(names, [row, row])
    with pytest.raises(RecordError) as of_dicts:
        encoded(list(rows), record_format)
    with pytest.raises(RecordError) as of_tuples:
        encoded(rows, record_format)
    assert str(of_tuples.value) == str(of_dicts.value)


@pytest.mark.parametrize("record_format", FORMATS)
def test_the_records_before_and_after_a_bad_tuple_are_kept(record_format: str) -> None:
    encoder = encoder_for(SCHEMA, IngestOptions(record_format=record_format), is_arrow=False)
    bad: list[BadRow] = []
    rows = TupleRows(("id", "n"), [(number, "many" if number == 5 else number) for number in range(10)])
    batches = list(encoder.encode(Chunk(100, rows), on_bad_row=bad.append))
    assert [(batch.first_row, batch.rows) for batch in batches] == [(100, 5), (106, 4)]
    assert [(each.row, each.record) for each in bad] == [(105, {"id": 5, "n": "many"})]


def cursor() -> sqlite3.Cursor:
    connection = sqlite3.connect(":memory:")
    numbers = "WITH RECURSIVE t(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM t WHERE id < 2499)"
    return connection.execute(f"{numbers} SELECT id, 'n' || id AS name FROM t")


def test_a_cursor_gives_tuples_only_if_it_is_told_to() -> None:
    options = IngestOptions(batch_rows=1_500)
    given: dict[bool, list[Any]] = {}
    for as_tuples in (False, True):
        source = source_of(cursor(), options, SCHEMA)
        if as_tuples:
            source.give_tuples()
        chunks = [chunk for chunk in source.chunks(RowRanges()) if len(chunk.rows)]
        assert [isinstance(chunk.rows, TupleRows) for chunk in chunks] == [as_tuples] * 2
        assert [(chunk.first_row, len(chunk.rows)) for chunk in chunks] == [(0, 1_500), (1_500, 1_000)]
        given[as_tuples] = [row for chunk in chunks for row in chunk.rows]
    assert given[True] == given[False] == [{"id": number, "name": f"n{number}"} for number in range(2_500)]


def test_a_source_that_changes_columns_reads_dicts() -> None:
    source = source_of(cursor(), IngestOptions(rename={"name": "title"}))
    source.give_tuples()
    assert all(isinstance(chunk.rows, list) for chunk in source.chunks(RowRanges()))


def test_rows_that_are_lists_come_as_dicts_since_a_driver_can_fill_them_again() -> None:
    fetched = [[[1, 2], [3, 4]], []]

    class Cursor:
        description = (("id",), ("n",))

        def fetchmany(self, size: int) -> list[list[int]]:
            return fetched.pop(0)

    source = source_of(Cursor(), IngestOptions(), SCHEMA)
    source.give_tuples()
    assert [row for chunk in source.chunks(RowRanges()) for row in chunk.rows] == [{"id": 1, "n": 2}, {"id": 3, "n": 4}]


def test_blocks_of_tuples_and_of_dicts_make_one_chunk_of_dicts() -> None:
    blocks = RowBlocks([TupleRows(("id",), [(1,), (2,)]), [{"id": 3}], TupleRows(("id",), [(4,)])])
    assert blocks.take_chunk(10, lambda: 0.0) == [{"id": 1}, {"id": 2}, {"id": 3}, {"id": 4}]
    assert len(blocks.take_chunk(10, lambda: 0.0)) == 0
