"""Any value into any column from any kind of source: it lands as it was given, or is refused by row and column.

There is no third way.  What a value has to be on the wire is worked out here from Python's own constructors, and not by
the code under test.
"""

from __future__ import annotations

import base64
import csv
import datetime as dt
import json
import math
import os
import re
import uuid
from collections import Counter
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st

from zerobus_core import IngestOptions, TableSchema
from zerobus_core.encode import encoder_for
from zerobus_core.errors import ConfigurationError, RecordError, SchemaError
from zerobus_core.ranges import RowRanges
from zerobus_core.schema import ArrayType, DecimalType, Kind, MapType, PrimitiveType, StringType, StructType
from zerobus_core.sources.recognize import options_for, source_of

KINDS = [
    "TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL(10,2)", "DECIMAL(38,0)", "BOOLEAN", "STRING",
    "VARCHAR(3)", "CHAR(3)", "BINARY", "DATE", "TIMESTAMP", "TIMESTAMP_NTZ", "VARIANT", "ARRAY<INT>",
    "ARRAY<DECIMAL(10,2)>", "ARRAY<TIMESTAMP>", "ARRAY<VARIANT>", "MAP<STRING, DOUBLE>", "MAP<STRING, VARIANT>",
    "STRUCT<x: DATE>", "STRUCT<x: BIGINT>", "STRUCT<x: STRING>",
]  # fmt: skip
# The same examples each time; others, and more of them, by ANY_VALUE_SEED=5 ANY_VALUE_EXAMPLES=5000.
SEED, EXAMPLES = os.environ.get("ANY_VALUE_SEED"), int(os.environ.get("ANY_VALUE_EXAMPLES", "200"))
EPOCH = dt.datetime(1970, 1, 1)

BOUNDS = [0, 1, -1, 127, 128, -129, 32_768, 2**31, 2**31 - 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**38]
NUMERALS = [
    "1",
    " 7 ",
    "-0.5",
    "1e3",
    "0x10",
    "1_000",
    "\u0661",
    "nan",
    "inf",
    "1.0",
    "NA",
    "",
    "null",
    "True",
    "true",
    "2.50",
]
TIMES = [
    "2024-02-29",
    "2024-01-01 00:00:00",
    "2024-01-01T01:02:03.5+02:00",
    "24:00",
    "2024-1-1",
    "0001-01-01T00:00:00+23:00",
]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(BOUNDS),
    st.integers(-200, 200),
    st.integers(1_000_000_000, 2_000_000_000_000_000),
    st.floats(),
    st.floats(-1000, 1000, width=16),
    st.decimals(-(10**9), 10**9, places=2),
    st.decimals(allow_nan=False, allow_infinity=False).filter(lambda number: -60 < number.adjusted() < 60),
    st.text(max_size=5),
    st.sampled_from(NUMERALS),
    st.sampled_from(TIMES),
    st.binary(max_size=4),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=30))])),
    st.dates().map(lambda day: dt.datetime(day.year, day.month, day.day)),
    st.times(),
    st.timedeltas(),
    st.uuids(),
)
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=3),
    st.dictionaries(st.sampled_from(["x", "y", "é"]), scalars, max_size=2),
)


whole = {"TINYINT": 7, "SMALLINT": 15, "INT": 31, "BIGINT": 63}
FITTING: dict[str, st.SearchStrategy[Any]] = {
    **{name: st.integers(-(2**bits), 2**bits - 1) for name, bits in whole.items()},
    "FLOAT": st.floats(-1000, 1000, width=32),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False),
    "DECIMAL(10,2)": st.decimals(-(10**7), 10**7, places=2),
    "DECIMAL(38,0)": st.decimals(-(10**20), 10**20, places=0),
    "BOOLEAN": st.booleans(),
    "STRING": st.text("abc é,\"'\n0", max_size=9),
    "VARCHAR(3)": st.text("abc é", max_size=3),
    "CHAR(3)": st.text("abc é", max_size=3),
    "BINARY": st.binary(max_size=9),
    "DATE": st.dates(),
    "TIMESTAMP": st.datetimes(timezones=st.just(dt.UTC)),
    "TIMESTAMP_NTZ": st.datetimes(),
    "VARIANT": st.one_of(st.text(max_size=5), st.integers(-(2**63), 2**63), st.dates(), st.times(), st.datetimes()),
}


def fitting(kind: str) -> st.SearchStrategy[Any]:
    """Values that the type takes for sure."""
    if kind.startswith("ARRAY"):
        return st.lists(fitting(kind[6:-1]), min_size=1, max_size=3)
    if kind.startswith("MAP"):
        return st.dictionaries(st.sampled_from(["x", "y"]), fitting(kind[12:-1]), min_size=1, max_size=2)
    return st.fixed_dictionaries({"x": fitting(kind[10:-1])}) if kind.startswith("STRUCT") else FITTING[kind]


CASES = st.sampled_from(KINDS).flatmap(
    lambda kind: st.tuples(
        st.just(kind),
        st.one_of(values.map(lambda value: (value, False)), fitting(kind).map(lambda value: (value, True))),
    )
)


def parsed(kind: Any, text: str) -> Any:
    """What Python reads in a text that stands for a value of the type.  Raises ValueError."""
    text = text.strip()
    if text in {"", "NA", "N/A", "NULL", "null"}:
        return None
    if isinstance(kind, DecimalType):
        return Decimal(text)
    if kind.kind in {Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT}:
        return int(Decimal(text)) if text.isascii() and "_" not in text and "e" not in text.lower() else math.nan
    if kind.kind in {Kind.FLOAT, Kind.DOUBLE}:
        return float(text) if text.isascii() and "_" not in text else math.nan
    if kind.kind is Kind.BOOLEAN:
        return {"true": True, "false": False}[text.lower()]
    return dt.datetime.fromisoformat(text)


def is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float | Decimal) and math.isnan(value))


def is_equal(kind: Any, value: Any, wire: Any, *, parses: bool) -> bool:  # noqa: PLR0911  # one for each family of types
    """Whether what is on the wire is the value."""
    if isinstance(kind, ArrayType):
        wire = wire or []
        items = list(value)
        return len(items) == len(wire) and all(
            is_equal(kind.element, item, other, parses=parses) for item, other in zip(items, wire, strict=True)
        )
    if isinstance(kind, MapType):
        wire, value = wire or {}, value or {}  # no pairs are a map, too
        return set(wire) == set(value) and all(
            is_equal(kind.value, item, wire[key], parses=parses) for key, item in value.items()
        )
    if isinstance(kind, StructType):
        return all(
            is_equal(field.type, value.get(field.name), (wire or {}).get(field.name), parses=parses)
            for field in kind.fields
        )
    if kind == PrimitiveType(Kind.VARIANT):
        return wire is None if value is None else is_json(value, json.loads(wire, parse_float=Decimal))
    if isinstance(kind, StringType):
        return wire is None if value is None else wire == (str(value) if isinstance(value, uuid.UUID) else value)
    if (
        isinstance(value, str) and kind.kind is not Kind.BINARY
        if isinstance(kind, PrimitiveType)
        else isinstance(value, str)
    ):
        if not parses:
            return False
        value = parsed(kind, value)
    if parses and isinstance(value, float) and isinstance(kind, DecimalType):
        value = Decimal(repr(value))  # a number in a file is text
    return is_scalar_equal(kind, value, wire)


def is_scalar_equal(kind: Any, value: Any, wire: Any) -> bool:  # noqa: PLR0911  # one for each family of types
    is_real = isinstance(kind, PrimitiveType) and kind.kind in {Kind.FLOAT, Kind.DOUBLE}
    if is_null(value) and not (is_real and value is not None):
        return wire is None
    if wire is None:
        return False
    if isinstance(kind, DecimalType):
        return not isinstance(value, bool | float) and Decimal(wire) == Decimal(value)
    if kind.kind is Kind.BOOLEAN:
        return isinstance(value, bool) and wire is value
    if isinstance(value, bool):
        return False
    if kind.kind is Kind.BINARY:
        data = value.bytes if isinstance(value, uuid.UUID) else value
        return isinstance(data, bytes) and base64.b64decode(wire) == data
    if kind.kind is Kind.DATE:
        return int(wire) == days_of(value)
    if kind.kind in {Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ}:
        return int(wire) == microseconds_of(value)
    if is_real:
        return is_real_equal(value, float(wire), is_single=kind.kind is Kind.FLOAT)
    return int(wire) == value


def is_real_equal(value: Any, wire: float, *, is_single: bool) -> bool:
    nearest = np.float32(float(value)).item() if is_single else float(value)
    if isinstance(value, int) and value != nearest:  # a whole number is not rounded
        return False
    return wire == nearest or (math.isnan(nearest) and math.isnan(wire))


def days_of(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return (value - EPOCH).days if value.tzinfo is None and value.time() == dt.time() else None
    return value.toordinal() - EPOCH.toordinal() if isinstance(value, dt.date) else value


def microseconds_of(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        epoch = EPOCH if value.tzinfo is None else EPOCH.replace(tzinfo=dt.UTC)
        return (value - epoch) // dt.timedelta(microseconds=1)
    return value if isinstance(value, int) else None


def is_json(value: Any, found: Any) -> bool:  # noqa: PLR0911  # one for each family of types
    if isinstance(value, dict):
        return isinstance(found, dict) and set(value) == set(found) and all(is_json(value[k], found[k]) for k in value)
    if isinstance(value, list):
        return isinstance(found, list) and len(value) == len(found) and all(map(is_json, value, found))
    if value is None or isinstance(value, bool | str):
        return found == value and type(found) is type(value)
    if isinstance(value, dt.datetime):
        return isinstance(found, str) and dt.datetime.fromisoformat(found) == value
    if isinstance(value, dt.date | dt.time | uuid.UUID):
        return bool(found == (str(value) if isinstance(value, uuid.UUID) else value.isoformat()))
    if isinstance(value, float):
        return isinstance(found, int | Decimal) and float(found) == value
    return isinstance(value, int | Decimal) and isinstance(found, int | Decimal) and Decimal(found) == Decimal(value)


def as_json(value: Any) -> Any:
    """The value as JSON has it; text of what JSON has no form for."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return list(map(as_json, value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)


def as_cell(value: Any) -> str:
    value = as_json(value)
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def written_csv(value: Any, folder: Path) -> tuple[Any, Any]:
    text = as_cell(value)
    assume("\0" not in text)
    try:
        with (folder / "x.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["n", "c"], ["0", text], ["1", text]])
    except UnicodeEncodeError:
        assume(False)
    return folder / "x.csv", text


def written_json(value: Any, folder: Path) -> tuple[Any, Any]:
    value = as_json(value)
    lines = "".join(json.dumps({"n": number, "c": value}) + "\n" for number in range(2))
    (folder / "x.jsonl").write_text(lines)
    return folder / "x.jsonl", value


def arrow_table(value: Any) -> Any:
    try:
        return pa.table({"n": [0, 1], "c": [value, value]})
    except Exception:  # noqa: BLE001  # whatever Arrow has no column for
        return assume(False)


def has_equal(column: Any, value: Any) -> bool:
    """Whether a library holds the value that it was given, and not one that it made of it."""
    try:
        found = column.to_pylist() if isinstance(column, pa.ChunkedArray) else list(column)
    except (OverflowError, ValueError):  # a time that Python has none for
        return False
    return len(found) == 2 and repr(found[0]) == repr(value)


def arrow_source(value: Any, _: Path) -> tuple[Any, Any]:
    table = arrow_table(value)
    assume(has_equal(table["c"], value))
    return table, value


def parquet_source(value: Any, folder: Path) -> tuple[Any, Any]:
    table, value = arrow_source(value, folder)
    try:
        pq.write_table(table, folder / "x.parquet")
        assume(has_equal(pq.read_table(folder / "x.parquet")["c"], value))
    except (pa.ArrowException, OverflowError, ValueError):  # what Parquet has no column for
        assume(False)
    return folder / "x.parquet", value


def pandas_source(value: Any, _: Path) -> tuple[Any, Any]:
    # pandas has no other NULL for floats than NaN.
    given_value = None if isinstance(value, float) and math.isnan(value) else value
    return pd.DataFrame({"n": [0, 1], "c": pd.Series([value, value], dtype=object)}), given_value


def polars_source(value: Any, _: Path) -> tuple[Any, Any]:
    try:
        frame = pl.DataFrame({"n": [0, 1], "c": [value, value]})
    except (Exception, pl.exceptions.PanicException):  # noqa: BLE001  # whatever Polars has no column for
        assume(False)
    assume(has_equal(frame["c"].to_list(), value))
    return frame, value


SOURCES: dict[str, Callable[[Any, Path], tuple[Any, Any]]] = {
    "dicts": lambda value, _: ([{"n": 0, "c": value}, {"n": 1, "c": value}], value),
    "arrow": arrow_source,
    "pandas": pandas_source,
    "polars": polars_source,
    "csv": written_csv,
    "json lines": written_json,
    "parquet": parquet_source,
}


def delivered(columns: str, records: Any) -> tuple[list[dict[str, Any]], bool]:
    """The rows on the wire, and whether text was parsed."""
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t ({columns})")
    source = source_of(records, IngestOptions(), schema)
    options = options_for(source, IngestOptions())
    encoder = encoder_for(schema, options, is_arrow=source.is_arrow)
    rows = [
        encoder.decode(batch, index)
        for chunk in source.chunks(RowRanges())
        for batch in encoder.encode(chunk)
        for index in range(batch.rows)
    ]
    return rows, options.parse_text or isinstance(records, Path)


# What a reason has to have: what to do, or what the column takes.
REMEDIES = re.compile(
    r"pass |set \w+|use |out of range, which is|outside of the years|longer than \d+|more than \d+ digits|"
    r"not a (list|mapping|date|datetime|number|whole number|decimal number|finite number|boolean)|not bytes|"
    r"nanoseconds|has a fraction|too large for|cannot hold|not valid Unicode|the text (is|has)|a boolean is not|"
    r"cannot be null|no such|twice|cannot carry a null|days since 1970"
)


def check_refusal(error: RecordError, *, fits: bool) -> None:
    assert not fits, error
    for field in error.fields:
        assert f"row {field.row}, field {field.path}: {field.reason}" in str(error)
        assert field.row in {0, 1}
        assert field.path.partition("[")[0].partition(".")[0] == "c"
        assert field.expected
        assert REMEDIES.search(field.reason), f"no remedy: {field.reason}"


def check_schema_error(error: SchemaError | ConfigurationError) -> None:
    assert "column c" in str(error), error


@pytest.mark.parametrize("kind_of_source", SOURCES)
def test_any_value_lands_as_it_was_given_or_is_refused_by_row_and_column(
    kind_of_source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=SEED is None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )
    @given(case=CASES)
    def check(case: tuple[str, tuple[Any, bool]]) -> None:
        kind, (value, fits) = case
        records, given_value = SOURCES[kind_of_source](value, tmp_path)
        column = TableSchema.from_sql(f"CREATE TABLE main.default.t (c {kind})").columns[0].type
        try:
            rows, parses = delivered(f"n BIGINT, c {kind}", records)
        except RecordError as error:
            outcomes["refused"] += 1
            check_refusal(error, fits=fits and kind_of_source == "dicts")
            return
        except (SchemaError, ConfigurationError) as error:
            outcomes["refused"] += 1
            check_schema_error(error)
            return
        outcomes["landed"] += 1
        assert len(rows) == 2
        for row in rows:
            try:
                is_right = given_equal(column, given_value, row.get("c"), parses)
            except (ValueError, ArithmeticError, InvalidOperation, KeyError, TypeError, AttributeError):
                is_right = False
            assert is_right, f"{given_value!r} landed as {row.get('c')!r} in {kind}"

    (check if SEED is None else seed(int(SEED))(check))()
    with capsys.disabled():
        print(f"\n{kind_of_source}: {outcomes['landed']} values landed as given, {outcomes['refused']} were refused")
    assert outcomes["landed"] > EXAMPLES // 8
    assert outcomes["refused"] > EXAMPLES // 8


def given_equal(column: Any, value: Any, wire: Any, parses: bool) -> bool:
    is_real = isinstance(column, PrimitiveType) and column.kind in {Kind.FLOAT, Kind.DOUBLE}
    if value is None or (is_null(value) and not is_real):
        return wire is None
    return is_equal(column, value, wire, parses=parses)
