"""The table "What each column takes" in docs/types.md, held to the converters: each of its words is carried out.

A claim is a piece of a cell with values of that kind.  What is left of a cell without its claims must be punctuation,
so that a word that is added to the table without a claim fails here.
"""

from __future__ import annotations

import collections
import datetime as dt
import enum
import json
import re
import uuid
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pendulum
import pyarrow as pa
import pytest

from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.errors import RecordError

DOCUMENT = Path(__file__).parents[3] / "docs" / "types.md"
INTS = ["TINYINT", "SMALLINT", "INT", "BIGINT"]
REALS = ["FLOAT", "DOUBLE"]
Level = enum.IntEnum("Level", {"ONE": 1})
DAY, AT = dt.date(2024, 1, 2), dt.datetime(2024, 1, 2, 3, 4, 5, 6)
EAST = dt.timezone(dt.timedelta(hours=2))
ID = uuid.UUID(int=5)

# The first type of the row of the table: its types, what they take, and what they refuse.
TAKEN: dict[str, tuple[list[str], dict[str, list[Any]]]] = {
    "TINYINT": (INTS, {
        "`int`": [1, -128, 127], "NumPy integers": [np.int8(1), np.uint64(2)], "`IntEnum`": [Level.ONE],
        "`float` and `Decimal` without a fraction": [1.0, Decimal("2.00")],
    }),
    "FLOAT": (REALS, {
        "`float`": [0.5, 1e38], "NumPy floats": [np.float32(0.5), np.float64(2)],
        "`int` that the type holds exactly": [1, 2**53],
        "NaN and infinities are values (not in JSON)": [float("nan"), float("inf")],
    }),
    "DECIMAL(p,s)": (["DECIMAL(6,2)"], {"`Decimal`": [Decimal("1.50"), Decimal("1E+2")], "`int`": [7]}),
    "BOOLEAN": (["BOOLEAN"], {"`bool`": [True, False], "`numpy.bool_`": [np.True_]}),
    "STRING": (["STRING"], {"`str`": ["", "é", "null"], "`UUID`": [ID]}),
    "VARCHAR(n)": (["VARCHAR(3)", "CHAR(3)"], {
        "the same, up to `n` characters": ["", "abc", "äöü"], "`CHAR` is not padded": ["a"],
    }),
    "BINARY": (["BINARY"], {
        "`bytes`": [b"", b"\0\xff"], "`bytearray`": [bytearray(b"x")], "`memoryview`": [memoryview(b"x")],
        "`UUID` (its 16 bytes)": [ID],
    }),
    "DATE": (["DATE"], {
        "`date`": [DAY], "a `datetime` at midnight without time zone": [dt.datetime(2024, 1, 2)],
        ", and parsed text of one": [], "`numpy.datetime64`": [np.datetime64("2024-01-02")],
        "days since 1970-01-01": [0, -719162],
    }),
    "TIMESTAMP": (["TIMESTAMP"], {
        "`datetime`": [AT], "`pandas.Timestamp`": [pd.Timestamp("2024-01-02")],
        "`pendulum.DateTime` (Airflow's own)": [pendulum.datetime(2024, 1, 2)],
        "with a time zone converted to UTC": [AT.replace(tzinfo=EAST)], "**without one read as UTC**": [AT],
        "`numpy.datetime64`": [np.datetime64("2024-01-02T03:04:05.000006")],
        "microseconds since 1970-01-01 UTC": [0, 1_700_000_000_000_000],
    }),
    "TIMESTAMP_NTZ": (["TIMESTAMP_NTZ"], {
        "`datetime` without a time zone": [AT],
        "the same others": [pd.Timestamp("2024-01-02"), np.datetime64("2024-01-02T03:04:05"), 0],
    }),
    "VARIANT": (["VARIANT"], {
        "what has a JSON form": [None], "`dict`": [{"a": 1}],
        "`list` and other sequences": [[1, "x"], collections.deque([2**70])], "text": ["x"],
        "numbers of any size": [2**70, 1e300], "`Decimal`": [Decimal("1.10")],
        "dates and times (also pandas' and Pendulum's, with all digits)": [
            DAY, AT, dt.time(1, 2, 3, 4), pd.Timestamp("2024-01-02T03:04:05.000000007"), pendulum.date(2024, 1, 2),
        ],
        "`UUID`": [ID], "records": [collections.namedtuple("R", "a")(1)], "NaT and NA are null": [pd.NaT, pd.NA],
        "**a `str` is a string value**": ["[1]"],
        "so pass parsed JSON, or `orjson.Fragment(text)` for text that is JSON already": [orjson.Fragment("[1]")],
    }),
    "ARRAY": (["ARRAY<INT>"], {
        "`list`": [[1]], "`tuple`": [(1,)], "NumPy arrays": [np.array([1, 2])],
        "other sequences": [collections.deque([1]), range(2)],
    }),
    "MAP": (["MAP<STRING, INT>"], {
        "mappings": [{"a": 1}, collections.OrderedDict(a=1)], "lists of pairs": [[("a", 1)]],
    }),
    "STRUCT": (["STRUCT<a: INT>"], {
        "whatever a row may be": [{"a": 1}, collections.namedtuple("R", "a")(1)], ", see below": [],
    }),
}  # fmt: skip
REFUSED: dict[str, dict[str, list[Any]]] = {
    "TINYINT": {
        "out of range": [2**63, -(2**63) - 1], "a fraction": [0.5, Decimal("0.5")], "`bool`": [True], "text": ["1"],
    },
    "FLOAT": {"`bool`": [True], "`Decimal`": [Decimal(1)], "text": ["1"], "too large for 32 bits": []},
    "DECIMAL(p,s)": {
        "`float` (unless `round_floats=True`)": [0.5], "more than `s` digits after the point": [Decimal("0.001")],
        "more than `p - s` before it": [10_000, Decimal("10000.0")], "NaN": [Decimal("NaN")], "text": ["1"],
    },
    "BOOLEAN": {"0 and 1 (unless `numeric_booleans=True`)": [0, 1, 1.0], "text": ["true"]},
    "STRING": {
        "bytes": [b"x"], "numbers": [1, 0.5, Decimal(1)], "half of a surrogate pair": ["\ud800"],
        "Arrow text that is not valid UTF-8": [],
    },
    "VARCHAR(n)": {"longer text": ["abcd"]},
    "BINARY": {"text (unless `parse_base64=True`)": ["eA=="]},
    "DATE": {"other times": [AT, dt.datetime(2024, 1, 2, tzinfo=dt.UTC)], "text": ["2024-01-02"]},
    "TIMESTAMP": {
        "nanoseconds that would be lost": [pd.Timestamp("2024-01-02T03:04:05.000000007")], "`date`": [DAY],
        "years outside 1 to 9999 in UTC": [dt.datetime.min.replace(tzinfo=EAST), 2**60], "text": ["2024-01-02"],
    },
    "TIMESTAMP_NTZ": {"a time zone": [AT.replace(tzinfo=dt.UTC)]},
    "VARIANT": {
        "NaN inside of a value": [
            [float("nan")], collections.deque([float("nan")]), {"a": Decimal("NaN")}, np.array([np.nan]),
        ],
        "a `Fragment` that is not valid JSON": [orjson.Fragment("[1")],
        "objects without a JSON form": [object(), {1, 2}, b"x"], "in Arrow more than 38 digits or 100 levels": [],
    },
    "ARRAY": {"text": ["[1]"], "sets": [{1}], "mappings": [{"a": 1}], "nulls by protobuf": []},
    "MAP": {
        "null keys": [[(None, 1)]], "a key that appears twice": [[("a", 1), ("a", 2)]], "null values by protobuf": [],
    },
    "STRUCT": {"unknown": [{"b": 1}], " and missing `NOT NULL` fields": []},
}  # fmt: skip
# Claims that need another setting than the rest: columns, rows, options, and what the refusal says (None: taken).
SPECIAL: list[tuple[str, Any, dict[str, Any], str | None]] = [
    ("c DATE", [{"c": "2024-01-02 00:00:00"}], {"parse_text": True}, None),
    ("c FLOAT", [{"c": 1e39}], {}, "too large for 32 bits"),
    ("c FLOAT", [{"c": 2**24 + 1}], {}, "a FLOAT cannot hold this whole number exactly: pass float"),
    ("c FLOAT", [{"c": 0.5}, {"c": 2**24 + 1}], {}, "a FLOAT cannot hold this whole number exactly: pass float"),
    ("c FLOAT", pa.record_batch({"c": [2**24 + 1]}), {}, "a FLOAT cannot hold this whole number exactly: pass float"),
    ("c FLOAT", pa.record_batch({"c": [1e39]}), {}, "too large for 32 bits"),
    ("c DOUBLE", [{"c": float("nan")}], {"record_format": "json"}, "JSON has no NaN"),
    ("c STRING", pa.record_batch({"c": pa.array([b"\xff"]).cast(pa.string(), safe=False)}), {}, "not UTF-8"),
    ("c VARIANT", pa.record_batch({"c": pa.array([{"a": Decimal("1" * 60)}])}), {}, "more than 38 digits"),
    ("c VARIANT", [{"c": json.loads("[" * 102 + "]" * 102)}], {"record_format": "arrow"}, "deeper than 100 levels"),
    ("c ARRAY<INT>", [{"c": [None]}], {"record_format": "protobuf"}, "protobuf cannot carry a null"),
    ("c MAP<STRING, INT>", [{"c": {"a": None}}], {"record_format": "protobuf"}, "protobuf cannot carry a null"),
    ("c STRUCT<a: INT NOT NULL>", [{"c": {}}], {}, "NOT NULL"),
    ("c DECIMAL(6,2)", [{"c": 0.5}], {"round_floats": True}, None),
    ("c BOOLEAN", [{"c": 1}], {"numeric_booleans": True}, None),
    ("c BINARY", [{"c": "eA=="}], {"parse_base64": True}, None),
]  # fmt: skip


def table() -> dict[str, tuple[list[str], str, str]]:
    """The rows of the table: the types in the first cell, and the other two cells."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("## What each column takes")[2].partition("\n* ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {re.findall(r"`([^`]+)`", first)[0]: (re.findall(r"`([^`]+)`", first), *rest) for first, *rest in rows}


def test_each_word_of_the_table_is_a_claim() -> None:
    assert set(table()) == set(TAKEN) == set(REFUSED)
    for name, (_, taken, refused) in table().items():
        for cell, claims in ((taken, TAKEN[name][1]), (refused, REFUSED[name])):
            rest = cell
            for claim in sorted(claims, key=len, reverse=True):
                assert claim in rest, f"{name}: the table no longer says {claim!r}"
                rest = rest.replace(claim, "", 1)
            assert not re.sub(r"[\s,;:]|(?<!\w)(and|or|in)(?!\w)", "", rest), f"{name}: no claim for {rest!r}"


def places(kind: str, value: Any) -> dict[str, tuple[str, Any]]:
    """Columns and the value of each, by what the value is in."""
    return {
        "column": (kind, value),
        "STRUCT": (f"STRUCT<x: {kind}>", {"x": value}),
        "ARRAY": (f"ARRAY<{kind}>", [value]),
        "MAP": (f"MAP<STRING, {kind}>", {"k": value}),
    }


def encoded(columns: str, rows: Any, **options: Any) -> list[Any]:
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t ({columns})")
    chosen = IngestOptions(**options)
    encoder = encoder_for(schema, chosen, is_arrow=isinstance(rows, pa.RecordBatch))
    return [encoder.decode(batch, index) for batch in encoder.encode(Chunk(0, rows)) for index in range(batch.rows)]


def forms(value: Any) -> list[Any]:
    """The value as a row, and as Arrow data if Arrow has it."""
    rows: list[Any] = [[{"c": value}]]
    try:
        array = pa.array([value])
        if repr(array.to_pylist()) == repr([value]):
            rows.append(pa.record_batch({"c": array}))
    except Exception:  # noqa: BLE001  # whatever Arrow has no type for
        pass
    return rows


def of_row(name: str) -> list[str]:
    return TAKEN[name][0]


@pytest.mark.parametrize("name", TAKEN)
def test_what_the_table_says_is_taken_is_taken_in_every_place(name: str) -> None:
    for kind in of_row(name):
        for claim, values in TAKEN[name][1].items():
            for value in values:
                for place, (column, inner) in places(kind, value).items():
                    if place in {"ARRAY", "MAP"} and pd.api.types.is_scalar(value) and pd.isna(value):
                        continue  # a null inside; NaN of floats is tried by the other places
                    for rows in forms(inner):
                        record_format = "arrow" if kind in REALS else "auto"
                        found = encoded(f"c {column}", rows, record_format=record_format)
                        assert len(found) == 1, (kind, claim, place)


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_table_says_is_refused_is_refused_in_every_place(name: str) -> None:
    for kind in of_row(name):
        for claim, values in REFUSED[name].items():
            for value in values:
                for place, (column, inner) in places(kind, value).items():
                    for rows in forms(inner):
                        with pytest.raises(RecordError) as caught:
                            print(kind, claim, place, value, encoded(f"c {column}", rows))
                        assert "row 0, field c" in str(caught.value), (kind, claim, place)


@pytest.mark.parametrize(("columns", "rows", "options", "reason"), SPECIAL)
def test_claims_that_depend_on_the_format_or_an_option(
    columns: str, rows: Any, options: Mapping[str, Any], reason: str | None
) -> None:
    if reason is None:
        assert len(encoded(columns, rows, **options)) == 1
        return
    with pytest.raises(RecordError, match=reason):
        encoded(columns, rows, **options)


@pytest.mark.parametrize("name", [name for name in TAKEN if name not in {"BINARY"}])
def test_what_the_columns_take_a_variant_takes_too(name: str) -> None:
    for values in TAKEN[name][1].values():
        for value in values:
            is_number = isinstance(value, float) and not np.isfinite(value)
            if not is_number and not (pd.api.types.is_scalar(value) and pd.isna(value)):
                assert len(encoded("c VARIANT", [{"c": [value]}])) == 1, (name, value)
