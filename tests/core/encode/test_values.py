"""What people really have: rows and values of many kinds, and the wire values that they become."""

from __future__ import annotations

import dataclasses
import enum
import sqlite3
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pendulum
import pydantic
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import BadRow, Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.encode.rows.messages import Messages
from zerobus_core.errors import RecordError

pytestmark = pytest.mark.matrix

ORDERS = """CREATE TABLE main.default.orders (
  id BIGINT NOT NULL, price DECIMAL(10,2), at TIMESTAMP, doc VARIANT, item STRUCT<sku: STRING, marks: ARRAY<INT>>
)"""
SECOND = 1_000_000


def wire(schema: TableSchema, row: Any, **options: Any) -> dict[str, Any]:
    encoder = encoder_for(schema, IngestOptions(record_format="protobuf", **options), is_arrow=False)
    (batch,) = encoder.encode(Chunk(0, [row]))
    return encoder.decode(batch, 0)


def wire_value(kind: str, value: Any, **options: Any) -> Any:
    return wire(TableSchema.from_sql(f"CREATE TABLE main.default.t (x {kind})"), {"x": value}, **options).get("x")


@dataclasses.dataclass
class Item:
    sku: str
    marks: list[int]


@dataclasses.dataclass
class Order:
    id: int
    item: Item


class ItemModel(pydantic.BaseModel):
    sku: str
    marks: list[int]


class OrderModel(pydantic.BaseModel):
    id: int
    item: ItemModel


@pytest.mark.parametrize(
    "row",
    [
        {"id": 1, "item": {"sku": "a", "marks": [1, 2]}},
        {"id": 1, "item": Item("a", [1, 2])},
        Order(1, Item("a", [1, 2])),
        OrderModel(id=1, item=ItemModel(sku="a", marks=[1, 2])),
        {"id": np.int64(1), "item": {"sku": np.str_("a"), "marks": np.array([1, 2])}},
        {"id": 1, "item": {"sku": "a", "marks": (1, 2)}, "price": pd.NA, "at": pd.NaT, "doc": float("nan")},
    ],
    ids=["dict", "dataclass inside", "dataclass", "pydantic", "numpy", "pandas nulls"],
)
def test_a_row_may_be_any_kind_of_record(row: Any) -> None:
    assert wire(TableSchema.from_sql(ORDERS), row) == {"id": 1, "item": {"sku": "a", "marks": [1, 2]}}


def test_a_row_of_a_database_driver_is_taken() -> None:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    row = connection.execute("SELECT 7 AS id, NULL AS price").fetchone()
    connection.close()
    assert wire(TableSchema.from_sql(ORDERS), row) == {"id": 7}


def test_a_protobuf_message_is_matched_by_name_and_holds_wire_text() -> None:
    columns = "doc VARIANT, price DECIMAL(10,2), id BIGINT, at TIMESTAMP, item STRUCT<marks: ARRAY<INT>>"
    other = TableSchema.from_sql(f"CREATE TABLE main.default.elsewhere ({columns})")
    message = Messages(FileDescriptorProto.FromString(other.descriptor_proto())).row
    row = message(id=5, price="19.90", doc='{"a": 1}', at=SECOND, item={"marks": [3]})
    expected = {"id": 5, "price": "19.90", "doc": '{"a": 1}', "at": SECOND, "item": {"marks": [3]}}
    assert wire(TableSchema.from_sql(ORDERS), row) == expected
    with pytest.raises(RecordError, match="the text is not a number"):
        wire(TableSchema.from_sql(ORDERS), message(id=5, price="a lot"))


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("INT", 3.0, 3),
        ("BIGINT", Decimal(7), 7),
        ("TINYINT", np.int8(-5), -5),
        ("DOUBLE", 3, 3.0),
        ("DOUBLE", np.float32(0.5), 0.5),
        ("DOUBLE", float("inf"), "inf"),
        ("DECIMAL(5,2)", Decimal("1.500"), "1.50"),
        ("DECIMAL(5,0)", Decimal("1E+3"), "1000"),
        ("DECIMAL(12,10)", Decimal("1E-9"), "0.000000001"),
        ("DECIMAL(5,2)", 7, "7"),
        ("BOOLEAN", np.bool_(True), True),
        ("STRING", uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("STRING", Colour.RED, "red"),
        ("BINARY", bytearray(b"a"), "YQ=="),
        ("BINARY", uuid.UUID(int=1), "AAAAAAAAAAAAAAAAAAAAAQ=="),
        ("DATE", date(1969, 12, 31), -1),
        ("DATE", datetime(1970, 1, 2), 1),
        ("DATE", np.datetime64("1970-01-03"), 2),
        ("DATE", pd.Timestamp("1970-01-04"), 3),
        ("TIMESTAMP", datetime(1970, 1, 1, 0, 0, 1), SECOND),
        ("TIMESTAMP", datetime(1970, 1, 1, 2, 0, 1, tzinfo=timezone(timedelta(hours=2))), SECOND),
        ("TIMESTAMP", pd.Timestamp("1970-01-01 01:00:01", tz="Europe/Paris"), SECOND),
        ("TIMESTAMP", np.datetime64("1970-01-01T00:00:01"), SECOND),
        ("TIMESTAMP", 5, 5),
        ("TIMESTAMP_NTZ", datetime(1970, 1, 1, 0, 0, 1), SECOND),
        ("VARIANT", "text", '"text"'),
        ("VARIANT", orjson.Fragment(b'{"a":1}'), '{"a":1}'),
        (
            "VARIANT",
            {"n": Decimal("1.10"), "t": datetime(2024, 1, 1, tzinfo=UTC)},
            '{"n":1.10,"t":"2024-01-01T00:00:00+00:00"}',
        ),
        ("VARIANT", [None, True, {"a": []}], '[null,true,{"a":[]}]'),
        ("MAP<STRING, INT>", [("a", 1)], {"a": 1}),
        ("INT", float("nan"), None),
        ("STRING", pd.NA, None),
    ],
)
def test_a_value_becomes_its_wire_value_exactly(kind: str, value: Any, expected: Any) -> None:
    assert wire_value(kind, value) == expected


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("INT", "12", 12),
        ("DOUBLE", "1.5", 1.5),
        ("DECIMAL(5,2)", "1.5", "1.5"),
        ("BOOLEAN", "True", True),
        ("DATE", "1970-01-02", 1),
        ("TIMESTAMP", "1970-01-01T00:00:01Z", SECOND),
        ("TIMESTAMP", "1970-01-01 02:00:01+02:00", SECOND),
        ("TIMESTAMP_NTZ", "1970-01-01T00:00:01", SECOND),
    ],
)
def test_text_is_parsed_only_where_the_user_asks_for_it(kind: str, text: str, expected: Any) -> None:
    assert wire_value(kind, text, parse_text=True) == expected
    with pytest.raises(RecordError, match="text is not parsed"):
        wire_value(kind, text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("INT", "1.5"),
        ("INT", "1_000"),
        ("INT", "٣"),
        ("DOUBLE", "1_0.5"),
        ("DOUBLE", "٣"),
        ("DECIMAL(5,2)", "٣"),
        ("DECIMAL(5,2)", "NaN"),
        ("DATE", "yesterday"),
        ("BOOLEAN", "yes"),
    ],
)
def test_text_that_cannot_be_parsed_is_refused(kind: str, text: str) -> None:
    with pytest.raises(RecordError, match="the text is"):
        wire_value(kind, text, parse_text=True)


@pytest.mark.parametrize("word", ["", "NA", "N/A", "NULL", " null "])
@pytest.mark.parametrize("kind", ["INT", "DOUBLE", "DECIMAL(5,2)", "BOOLEAN", "DATE", "TIMESTAMP"])
def test_parsed_text_may_say_that_there_is_no_value(kind: str, word: str) -> None:
    assert wire_value(kind, word, parse_text=True) is None
    with pytest.raises(RecordError, match="null in a NOT NULL column"):
        wire_value(f"{kind} NOT NULL", word, parse_text=True)


def test_a_text_column_keeps_words_that_elsewhere_say_that_there_is_no_value() -> None:
    assert wire_value("STRING", "NA", parse_text=True) == "NA"
    assert wire_value("MAP<STRING, INT>", {"NA": 1}, parse_text=True) == {"NA": 1}


def test_a_whole_number_may_be_written_as_data_frames_write_it() -> None:
    assert wire_value("INT", " 517.0", parse_text=True) == 517


@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE"])
def test_text_is_infinite_only_if_it_says_so(kind: str) -> None:
    assert wire_value(kind, "-Infinity", parse_text=True) == "-inf"
    with pytest.raises(RecordError, match="too large"):
        wire_value(kind, "1e400", parse_text=True)


@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMP_NTZ"])
def test_nanoseconds_in_text_are_not_cut_off(kind: str) -> None:
    assert wire_value(kind, "1970-01-01T00:00:00.123456000", parse_text=True) == 123456
    with pytest.raises(RecordError, match="has nanoseconds"):
        wire_value(kind, "1970-01-01T00:00:00.1234567", parse_text=True)


@pytest.mark.parametrize("record_format", ["protobuf", "json", "arrow"])
def test_the_dates_of_airflow_are_dates_as_any_other(record_format: Any) -> None:
    """Its DateTime is pendulum's, which subtracts from its own kind only."""
    berlin = pendulum.timezone("Europe/Berlin")
    schema = TableSchema.from_sql("CREATE TABLE main.default.t (at TIMESTAMP, wall TIMESTAMP_NTZ, day DATE)")
    rows = [
        {
            "at": pendulum.datetime(2026, 7, 2, 3, 4, 5, 678901, tz=berlin),
            "wall": pendulum.naive(1, 1, 2, 3, 4, 5, 678901),
            "day": pendulum.date(2026, 7, 2),
        },
        {"at": pendulum.datetime(1, 1, 2), "day": pendulum.naive(2026, 7, 2)},
        # The second of the two hours between two and three.
        {"at": pendulum.datetime(2026, 10, 25, 2, 30, tz=berlin, fold=1)},
    ]
    standard = [
        {
            "at": datetime(2026, 7, 2, 1, 4, 5, 678901, tzinfo=UTC),
            "wall": datetime(1, 1, 2, 3, 4, 5, 678901),
            "day": date(2026, 7, 2),
        },
        {"at": datetime(1, 1, 2, tzinfo=UTC), "day": date(2026, 7, 2)},
        {"at": datetime(2026, 10, 25, 1, 30, tzinfo=UTC)},
    ]
    encoder = encoder_for(schema, IngestOptions(record_format=record_format), is_arrow=False)

    def decoded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        (batch,) = encoder.encode(Chunk(0, rows))
        return [encoder.decode(batch, index) for index in range(batch.rows)]

    assert decoded(rows) == decoded(standard)


@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMP_NTZ", "DATE"])
@pytest.mark.parametrize("seconds", [86_400 << 44, -86_400 << 44])
def test_a_numpy_time_beyond_all_years_does_not_wrap_around(kind: str, seconds: int) -> None:
    with pytest.raises(RecordError, match="outside of the years|not a day number"):
        wire_value(kind, np.datetime64(seconds, "s"))


class Shouting(str):
    __slots__ = ()

    def __str__(self) -> str:
        return self.upper() + "!"


def test_text_of_a_subclass_is_its_characters_and_not_what_it_prints() -> None:
    assert wire_value("STRING", Shouting("quiet")) == "quiet"


@pytest.mark.parametrize("record_format", ["protobuf", "json", "arrow"])
@pytest.mark.parametrize("is_message_first", [True, False])
def test_dicts_and_messages_in_one_block_keep_rules_of_their_own(record_format: Any, is_message_first: bool) -> None:
    schema = TableSchema.from_sql(ORDERS)
    message = Messages(FileDescriptorProto.FromString(schema.descriptor_proto())).row
    rows = [message(id=1, doc='{"a":1}', price="1.50"), {"id": 2, "doc": "5", "price": Decimal("2.50")}]
    encoder = encoder_for(schema, IngestOptions(record_format=record_format), is_arrow=False)
    (batch,) = encoder.encode(Chunk(0, rows if is_message_first else rows[::-1]))
    found = {row["id"]: row["doc"] for row in (encoder.decode(batch, index) for index in (0, 1))}
    assert found == {1: '{"a":1}', 2: '"5"'}
    with pytest.raises(RecordError, match="text is not parsed"):
        list(encoder.encode(Chunk(0, [rows[0], {"id": 3, "price": "2.50"}])))


class Broken:
    def keys(self) -> list[str]:
        raise AttributeError("disk on fire")

    def __getitem__(self, name: str) -> Any:
        raise AttributeError(name)


@pytest.mark.parametrize("record_format", ["protobuf", "json", "arrow"])
def test_a_record_that_fails_when_it_is_asked_for_members_is_a_bad_row(record_format: Any) -> None:
    encoder = encoder_for(TableSchema.from_sql(ORDERS), IngestOptions(record_format=record_format), is_arrow=False)
    bad: list[BadRow] = []
    (batch,) = encoder.encode(Chunk(0, [{"id": 1}, Broken()]), on_bad_row=bad.append)
    assert (batch.rows, [row.row for row in bad]) == (1, [1])
    assert "disk on fire" in str(bad[0].fields[0])


@dataclasses.dataclass
class Measure:
    ratio: float


class Ratio(enum.Enum):
    UNKNOWN = float("nan")


@pytest.mark.parametrize(
    "value",
    [
        {"a": np.float32("nan")},
        [np.array([1.0, float("nan")])],
        np.array([[1.0], [float("inf")]]),
        Measure(float("nan")),
        {"a": [Ratio.UNKNOWN]},
    ],
    ids=["numpy scalar", "numpy array", "numpy matrix", "dataclass", "enum"],
)
def test_nan_in_a_variant_is_refused_wherever_it_hides(value: Any) -> None:
    """orjson writes null for it."""
    with pytest.raises(RecordError, match="JSON has no NaN or infinity"):
        wire_value("VARIANT", value)
    assert wire_value("VARIANT", [None, np.array([1.0]), Measure(1.5)]) == '[null,[1.0],{"ratio":1.5}]'


@pytest.mark.parametrize("record_format", ["protobuf", "json", "arrow"])
def test_a_fragment_that_is_no_json_is_refused(record_format: Any) -> None:
    encoder = encoder_for(TableSchema.from_sql(ORDERS), IngestOptions(record_format=record_format), is_arrow=False)
    with pytest.raises(RecordError, match="not JSON text"):
        list(encoder.encode(Chunk(0, [{"id": 1, "doc": {"a": orjson.Fragment("{bad")}}])))


@pytest.mark.parametrize("record_format", ["protobuf", "json", "arrow"])
@pytest.mark.parametrize(
    "value",
    [[(Decimal("1.0"), 1), (Decimal("1.00"), 2)], {"1.0": 1, "1.00": 2}, {"0": 1, "-0": 2}],
    ids=["pairs", "text", "zeros"],
)
def test_one_number_written_in_two_ways_is_one_key_of_a_map(record_format: Any, value: Any) -> None:
    schema = TableSchema.from_sql("CREATE TABLE main.default.t (x MAP<DECIMAL(5,2), INT>)")
    encoder = encoder_for(schema, IngestOptions(record_format=record_format, parse_text=True), is_arrow=False)
    with pytest.raises(RecordError, match="the key appears twice"):
        list(encoder.encode(Chunk(0, [{"x": {"1": 1, "2": 2}}, {"x": value}])))
