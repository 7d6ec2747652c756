"""Forty bad values and what is said about each, kept in a file that a person can read.

After a change that is meant: ``UPDATE_GOLDEN=1 python -m pytest tests/core/encode/test_messages.py`` and read the diff.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.errors import RecordError

GOLDEN = Path(__file__).parent / "golden" / "bad_values.txt"
TABLE = """CREATE TABLE main.sales.orders (
  id BIGINT NOT NULL, tiny TINYINT, small SMALLINT, whole INT, single FLOAT, ratio DOUBLE, price DECIMAL(10,2),
  paid BOOLEAN, name STRING, code VARCHAR(5), raw BINARY, day DATE, at TIMESTAMP, wall TIMESTAMP_NTZ, doc VARIANT,
  marks ARRAY<INT>, items ARRAY<STRUCT<sku: STRING NOT NULL, price: DECIMAL(10,2)>>, tags MAP<STRING, STRING>,
  counts MAP<INT, INT>,
  place STRUCT<city: STRING, zip: STRUCT<code: INT>>
)"""

WEST = timezone(-timedelta(hours=5))
# What is wrong with the row, the row without its id, and the record format.
CASES: list[tuple[str, Any, str]] = [
    ("a missing NOT NULL column", {"id": ...}, "protobuf"),
    ("NULL in a NOT NULL column", {"id": None}, "protobuf"),
    ("a column that is missing from the table", {"colour": "red"}, "protobuf"),
    ("a column twice, in two cases", {"name": "x", "Name": "y"}, "protobuf"),
    ("a column with a slip of the pen", {"prize": 1}, "protobuf"),
    ("a name that is not text", {7: 1}, "protobuf"),
    ("a number too large for TINYINT", {"tiny": 128}, "protobuf"),
    ("a number too small for SMALLINT", {"small": -32_769}, "protobuf"),
    ("a number too large for INT", {"whole": 3_000_000_000}, "protobuf"),
    ("a number too large for BIGINT", {"id": 2**63}, "json"),
    ("a boolean for a number", {"whole": True}, "protobuf"),
    ("a number for a boolean", {"paid": 1}, "protobuf"),
    ("text for a number", {"whole": "12"}, "protobuf"),
    ("a fraction for a whole number", {"whole": 1.5}, "protobuf"),
    ("too large for 32 bits", {"single": 1e39}, "protobuf"),
    ("NaN in JSON", {"ratio": float("nan")}, "json"),
    ("a whole number that a double cannot hold", {"ratio": 2**53 + 1}, "protobuf"),
    ("a Decimal for a double", {"ratio": Decimal("0.1")}, "protobuf"),
    ("a float for a DECIMAL", {"price": 19.99}, "protobuf"),
    ("too many digits after the point", {"price": Decimal("19.999")}, "protobuf"),
    ("too many digits before the point", {"price": Decimal("123456789.00")}, "protobuf"),
    ("a Decimal that is not a number", {"price": Decimal("NaN")}, "protobuf"),
    ("bytes for text", {"name": b"caf\xc3\xa9"}, "protobuf"),
    ("a number for text", {"name": 42}, "json"),
    ("half of a surrogate pair", {"name": "smile \ud83d"}, "protobuf"),
    ("text too long for VARCHAR", {"code": "abcdef"}, "protobuf"),
    ("text for bytes", {"raw": "abc"}, "protobuf"),
    ("a datetime with a time for a DATE", {"day": datetime(2024, 1, 1, 12)}, "protobuf"),
    ("text for a DATE", {"day": "2024-01-01"}, "protobuf"),
    ("milliseconds for a DATE", {"day": 1_704_067_200_000}, "protobuf"),
    ("a date for a TIMESTAMP", {"at": date(2024, 1, 1)}, "protobuf"),
    ("nanoseconds for a TIMESTAMP", {"at": 1_704_067_200_000_000_000}, "protobuf"),
    ("nanoseconds in a pandas Timestamp", {"at": pd.Timestamp("2024-01-01 00:00:00.000000001")}, "protobuf"),
    ("nanoseconds in a NumPy datetime64", {"at": np.datetime64("2024-01-01T00:00:00.000000001")}, "protobuf"),
    ("a moment after the year 9999 in UTC", {"at": datetime.max.replace(tzinfo=WEST)}, "protobuf"),
    ("a time zone for TIMESTAMP_NTZ", {"wall": datetime(2024, 1, 1, tzinfo=UTC)}, "protobuf"),
    ("what has no JSON form in a VARIANT", {"doc": {"when": object}}, "protobuf"),
    ("NaN in a VARIANT", {"doc": {"ratio": [1.0, float("inf")]}}, "protobuf"),
    ("a null in an array, by protobuf", {"marks": [1, None, 3]}, "protobuf"),
    ("text for an array", {"marks": "123"}, "protobuf"),
    ("deep inside an array of structs", {"items": [{"sku": "a"}, {"price": "x"}]}, "protobuf"),
    ("an unknown field of a struct", {"items": [{"sku": "a", "prize": 1}]}, "protobuf"),
    ("a null in a map, by protobuf", {"tags": {"a": "b", "c": None}}, "protobuf"),
    ("a key of another type", {"counts": {"one": 1}}, "protobuf"),
    ("a list for a struct", {"place": ["Paris", 75_001]}, "protobuf"),
    ("deep inside a struct", {"place": {"city": 1, "zip": {"code": "75001"}}}, "protobuf"),
    ("a very long value", {"whole": "x" * 10_000}, "protobuf"),
    ("three fields at once", {"tiny": 999, "paid": "yes", "day": 1.5}, "protobuf"),
    ("no record at all", [1, 2, 3], "protobuf"),
]  # fmt: skip


def error_for(row: Any, record_format: Any) -> RecordError:
    if isinstance(row, dict):
        row = {name: value for name, value in {"id": 1, **row}.items() if value is not ...}
    options = IngestOptions(record_format=record_format)
    encoder = encoder_for(TableSchema.from_sql(TABLE), options, is_arrow=False)
    with pytest.raises(RecordError) as caught:
        list(encoder.encode(Chunk(1_041, [{"id": 0}, row])))
    return caught.value


def test_forty_bad_values_are_explained_as_in_the_golden_file() -> None:
    assert len(CASES) >= 40
    parts = [f"# {what}\n{error_for(row, record_format)}\n" for what, row, record_format in CASES]
    # numpy before 2 writes its own name in full.
    text = "\n".join(parts).replace("numpy.datetime64", "np.datetime64")
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_an_error_over_many_rows_is_bounded_and_pickles() -> None:
    encoder = encoder_for(TableSchema.from_sql(TABLE), IngestOptions(), is_arrow=False)
    with pytest.raises(RecordError) as caught:
        list(encoder.encode(Chunk(0, [{"id": "x", "name": "y" * 100_000, "whole": "z" * 100_000}] * 5_000)))
    assert len(caught.value.fields) == 20
    assert len(str(caught.value)) < 6_000
    assert pickle.loads(pickle.dumps(caught.value)).fields == caught.value.fields


def test_a_value_whose_repr_fails_is_refused_all_the_same() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("boo")

    assert "<no repr: RuntimeError>" in str(error_for({"name": Hostile()}, "protobuf"))


def test_a_record_that_fails_when_it_is_read_is_a_bad_row() -> None:
    class Broken(Mapping[str, Any]):
        def __getitem__(self, name: str) -> Any:
            raise ValueError("disk on fire")

        def __iter__(self) -> Any:
            return iter(["id"])

        def __len__(self) -> int:
            return 1

    assert "disk on fire" in str(error_for(Broken(), "protobuf"))
