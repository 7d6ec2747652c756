"""Rows as protobuf and JSON records: what is taken, what is refused, and how batches are cut."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import BadRow, Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.errors import ConfigurationError, RecordError
from zerobus_core.options import MAX_RECORD_BYTES

FORMATS = ["protobuf", "json"]


def schema_of(**columns: str) -> TableSchema:
    """A table whose columns are given as SQL types."""
    return TableSchema.from_sql(
        f"CREATE TABLE main.default.t ({', '.join(f'{name} {text}' for name, text in columns.items())})"
    )


def decoded(schema: TableSchema, rows: list[Any], record_format: Any = "protobuf", **options: Any) -> list[Any]:
    encoder = encoder_for(schema, IngestOptions(record_format=record_format, **options), is_arrow=False)
    return [encoder.decode(batch, index) for batch in encoder.encode(Chunk(0, rows)) for index in range(batch.rows)]


@pytest.mark.parametrize("record_format", FORMATS)
def test_values_take_the_wire_form_of_their_type(record_format: str) -> None:
    schema = schema_of(
        i="INT", s="STRING", d="DATE", t="TIMESTAMP", n="TIMESTAMP_NTZ", x="DECIMAL(10,2)", f="DOUBLE", b="BOOLEAN"
    )
    row = {
        "i": 1,
        "s": "é",
        "d": date(1970, 1, 3),
        "t": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        "n": datetime(1970, 1, 1, 0, 0, 2),
        "x": Decimal("19.99"),
        "f": 0.5,
        "b": True,
    }
    (out,) = decoded(schema, [row], record_format)
    assert {**out, "t": out["t"], "n": int(out["n"])} == {
        "i": 1, "s": "é", "d": 2, "t": 1_000_000, "n": 2_000_000, "x": "19.99", "f": 0.5, "b": True,
    }  # fmt: skip


def test_records_of_every_kind_are_taken() -> None:
    @dataclasses.dataclass
    class Point:
        a: int
        b: str

    pair = namedtuple("pair", "a b")
    rows = [{"a": 1, "b": "x"}, Point(1, "x"), pair(1, "x")]
    assert decoded(schema_of(a="INT", b="STRING"), rows) == [{"a": 1, "b": "x"}] * 3


def test_a_bad_field_is_named_with_row_path_type_and_reason() -> None:
    encoder = encoder_for(schema_of(a="TINYINT NOT NULL", b="STRING"), IngestOptions(), is_arrow=False)
    rows = [{"a": 1}, {"a": 300}, {"b": 5, "c": 1}]
    with pytest.raises(RecordError) as caught:
        list(encoder.encode(Chunk(10, rows)))
    assert [(field.row, field.path) for field in caught.value.fields] == [(11, "a"), (12, "a"), (12, "b"), (12, "c")]
    assert "out of range, which is -128 to 127" in str(caught.value)
    assert caught.value.table == "main.default.t"


def test_a_bad_row_is_handed_over_and_ends_its_batch() -> None:
    encoder = encoder_for(schema_of(a="INT"), IngestOptions(), is_arrow=False)
    bad: list[BadRow] = []
    batches = list(encoder.encode(Chunk(5, [{"a": 1}, {"a": "x"}, {"a": 3}]), on_bad_row=bad.append))
    assert [(batch.first_row, batch.rows) for batch in batches] == [(5, 1), (7, 1)]
    assert [(row.row, row.record) for row in bad] == [(6, {"a": "x"})]


@pytest.mark.parametrize("record_format", FORMATS)
def test_batches_keep_the_bounds_on_rows_and_bytes(record_format: Any) -> None:
    options = IngestOptions(record_format=record_format, batch_rows=3, batch_bytes=100)
    encoder = encoder_for(schema_of(s="STRING"), options, is_arrow=False)
    rows = [{"s": "a"}] * 4 + [{"s": "b" * 60}] * 2 + [{"s": "c" * 500}]
    batches = list(encoder.encode(Chunk(0, rows)))
    assert [batch.rows for batch in batches] == [3, 2, 1, 1]
    assert all(batch.nbytes <= 100 for batch in batches[:-1])
    assert [batch.nbytes for batch in batches] == [sum(len(r) for r in batch.payload) for batch in batches]
    assert [batch.first_row for batch in batches] == [0, 3, 5, 6]


@pytest.mark.parametrize("is_arrow", [False, True])
@pytest.mark.parametrize("record_format", FORMATS)
def test_the_size_of_a_record_is_its_bytes_and_not_its_characters(record_format: Any, is_arrow: bool) -> None:
    snowmen, too_long = "\N{SNOWMAN}" * 30, "\N{SNOWMAN}" * (MAX_RECORD_BYTES // 3 + 1)
    texts = [snowmen] * 5 + [too_long, "\N{SNOWMAN}" * (MAX_RECORD_BYTES // 3 - 10)]
    options = IngestOptions(record_format=record_format, batch_bytes=250)
    encoder = encoder_for(schema_of(s="STRING"), options, is_arrow=is_arrow)
    rows = pa.RecordBatch.from_pydict({"s": texts}) if is_arrow else [{"s": text} for text in texts]
    bad: list[BadRow] = []
    batches = list(encoder.encode(Chunk(0, rows), on_bad_row=bad.append))
    assert [batch.rows for batch in batches] == [2, 2, 1, 1]
    assert [row.row for row in bad] == [5]
    sizes = [sum(len(r.encode() if isinstance(r, str) else r) for r in batch.payload) for batch in batches]
    assert [batch.nbytes for batch in batches] == sizes


@pytest.mark.parametrize("record_format", FORMATS)
def test_delivery_columns_are_filled_and_refused_in_rows(record_format: Any) -> None:
    schema = schema_of(a="INT", who="STRING NOT NULL", nr="BIGINT NOT NULL")
    options = IngestOptions(record_format=record_format, delivery_columns={"delivery_id": "who", "row_number": "nr"})
    encoder = encoder_for(schema, options, is_arrow=False, delivery_id="d1")
    (batch,) = encoder.encode(Chunk(7, [{"a": 1}, {}]))
    rows = [encoder.decode(batch, index) for index in range(2)]
    assert [(row.get("a"), row["who"], int(row["nr"])) for row in rows] == [(1, "d1", 7), (None, "d1", 8)]
    with pytest.raises(RecordError, match="the delivery fills this column itself"):
        list(encoder.encode(Chunk(0, [{"a": 1, "nr": 4}])))


def test_delivery_columns_that_the_table_has_not_are_refused() -> None:
    options = IngestOptions(delivery_columns={"delivery_id": "who", "row_number": "nr"})
    with pytest.raises(ConfigurationError, match="'who', which the table does not have"):
        encoder_for(schema_of(nr="BIGINT"), options, is_arrow=False, delivery_id="d1")
    with pytest.raises(ConfigurationError, match="'nr', which has the type INT but must be BIGINT"):
        encoder_for(schema_of(who="STRING", nr="INT"), options, is_arrow=False, delivery_id="d1")


def test_a_table_that_protobuf_cannot_carry_goes_as_json_and_says_why() -> None:
    encoder = encoder_for(schema_of(m="ARRAY<ARRAY<INT>>"), IngestOptions(), is_arrow=False)
    assert encoder.record_format == "json"
    assert "m is ARRAY<ARRAY<INT>>, an array of arrays" in encoder.record_format_reason
    (batch,) = encoder.encode(Chunk(0, [{"m": [[1], []]}]))
    assert batch.payload == ['{"m":[[1],[]]}']


@pytest.mark.parametrize("record_format", FORMATS)
def test_a_record_above_the_limit_is_a_bad_row_and_one_below_travels_alone(record_format: Any) -> None:
    encoder = encoder_for(schema_of(s="STRING"), IngestOptions(record_format=record_format), is_arrow=False)
    fits, too_large = {"s": "x" * (MAX_RECORD_BYTES - 20)}, {"s": "x" * (MAX_RECORD_BYTES + 1)}
    bad: list[BadRow] = []
    batches = list(encoder.encode(Chunk(0, [{"s": "a"}, fits, too_large, {"s": "b"}]), on_bad_row=bad.append))
    assert [(batch.first_row, batch.rows) for batch in batches] == [(0, 1), (1, 1), (3, 1)]
    assert [row.row for row in bad] == [2]
    assert "too large" in bad[0].fields[0].reason
