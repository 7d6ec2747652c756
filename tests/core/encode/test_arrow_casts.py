"""Whole columns and single values are judged alike: the fast way over columns may be left out, and nothing changes."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fast import examples
from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import BadRow, Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.encode.arrow import columns as arrow_columns
from zerobus_core.encode.arrow.columns import ColumnCasts
from zerobus_core.encode.values.rules import ConversionRules
from zerobus_core.encode.values.text import NULL_WORDS

pytestmark = pytest.mark.matrix

KINDS = [
    "TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "BOOLEAN", "STRING", "VARCHAR(2)", "BINARY", "DATE",
    "TIMESTAMP", "TIMESTAMP_NTZ", "DECIMAL(5,2)", "DECIMAL(38,0)", "DECIMAL(38,38)", "DECIMAL(38,30)", "VARIANT",
    "ARRAY<TINYINT>", "ARRAY<TIMESTAMP>", "MAP<STRING, TINYINT>", "MAP<INT, DATE>",
    "STRUCT<a: TINYINT NOT NULL, b: DATE>",
]  # fmt: skip

whole = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300) | st.integers(-(10**17), 10**17)
floats = st.floats() | st.integers(-300, 300).map(float) | st.just(1e300)
days = st.integers(-(2**31), 2**31 - 1) | st.integers(-719_162 - 2, -719_162 + 2) | st.integers(0, 99)
LEAVES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int8(), st.integers(-128, 127)),
    (pa.int64(), whole),
    (pa.uint64(), st.integers(0, 2**64 - 1) | st.integers(0, 300)),
    (pa.float64(), floats),
    (pa.float32(), st.floats(width=32) | st.integers(-300, 300).map(float)),
    (pa.bool_(), st.booleans()),
    (pa.string(), st.text(max_size=4)),
    (pa.large_string(), st.text(max_size=4)),
    (pa.binary(), st.binary(max_size=3)),
    (pa.date32(), days),
    (pa.timestamp("s"), st.integers(-(10**11), 10**11) | st.integers(-9, 9).map(lambda n: n * 86_400)),
    (pa.timestamp("ns"), st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-9, 9).map(lambda n: n * 500)),
    (pa.timestamp("us", "Europe/Berlin"), st.integers(-(10**15), 10**15)),
    (pa.decimal128(7, 3), st.decimals(places=3, min_value=-9999, max_value=9999)),
    (pa.decimal128(38, 5), st.decimals(places=5, min_value=-(10**32), max_value=10**32)),
    (pa.decimal256(60, 10), st.decimals(places=10, min_value=-(10**40), max_value=10**40)),
    (pa.decimal128(38, 38), st.decimals(places=38, min_value=0, max_value=0) | st.just(0)),
]


def array_of(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if pa.types.is_temporal(kind):
        size = pa.int32() if pa.types.is_date32(kind) else pa.int64()
        return pa.array(values, size).view(kind)
    return pa.array(values, kind)


@st.composite
def arrays(draw: st.DrawFn) -> pa.Array:
    kind, values = draw(st.sampled_from(LEAVES))
    leaf = array_of(kind, draw(st.lists(st.none() | values, min_size=1, max_size=12)))
    shape = draw(st.sampled_from(["flat", "flat", "dictionary", "list", "struct", "map", "pairs"]))
    if shape == "flat":
        return leaf
    if shape == "dictionary":
        return leaf.dictionary_encode() if not pa.types.is_decimal(kind) else leaf
    if shape == "struct":
        other = array_of(pa.date32(), draw(st.lists(st.none() | days, min_size=len(leaf), max_size=len(leaf))))
        mask = pa.array(draw(st.lists(st.booleans(), min_size=len(leaf), max_size=len(leaf))))
        return pa.StructArray.from_arrays([leaf, other], ["a", "b"], mask=mask)
    cuts = sorted(draw(st.lists(st.integers(0, len(leaf)), max_size=4)))
    offsets = pa.array([0, *cuts, len(leaf)], pa.int32())
    if shape == "list":
        return pa.ListArray.from_arrays(offsets, leaf)
    keys = draw(st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=len(leaf), max_size=len(leaf)))
    if shape == "map":
        return pa.MapArray.from_arrays(offsets, pa.array(keys), leaf)
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays([pa.array(keys), leaf], ["key", "value"]))


def judged(kind: str, array: pa.Array, *, rules: ConversionRules, columnwise: bool) -> tuple[list[Any], dict[int, Any]]:
    """The values that fit, and what was said about the others."""
    schema = TableSchema.from_table_info(
        {"full_name": "main.default.t", "columns": [{"name": "x", "type_text": kind, "position": 0}]}
    )
    casts = ColumnCasts(schema, rules, frozenset())
    if not columnwise:
        casts._columns["x"]._casts = dict.fromkeys([array.type])
    columns, bad = casts.cast(pa.RecordBatch.from_arrays([array], ["x"]), 0, is_strict=False)
    columns["x"].validate(full=True)
    values = columns["x"].to_pylist()
    return [None if row in bad else value for row, value in enumerate(values)], bad


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, str) and isinstance(other, str) and one != other:
        return float(one) == float(other)  # a decimal with more or fewer zeros
    return bool(one == other)


@pytest.mark.parametrize("inner_nulls", [True, False])
@given(array=arrays(), kind=st.sampled_from(KINDS), start=st.integers(0, 3))
@settings(max_examples=examples(80), deadline=None)
@example(array=pa.array([327]), kind="DECIMAL(38,38)", start=0)
@example(array=pa.array([Decimal("9e30")], pa.decimal128(38, 5)), kind="DECIMAL(38,30)", start=0)
@example(array=pa.array([Decimal("1e45")], pa.decimal256(60, 10)), kind="DECIMAL(38,0)", start=0)
def test_a_column_is_judged_as_its_values_are(inner_nulls: bool, array: pa.Array, kind: str, start: int) -> None:
    array = array.slice(min(start, len(array) - 1))
    rules = ConversionRules(parse_text=False, inner_nulls=inner_nulls)
    fast, fast_bad = judged(kind, array, rules=rules, columnwise=True)
    slow, slow_bad = judged(kind, array, rules=rules, columnwise=False)
    assert fast_bad == slow_bad
    assert same(fast, slow), (fast, slow)


numerals = st.from_regex(r"[ +-]?[0-9]{0,3}[._eE]?[0-9]{0,3} ?", fullmatch=True)
long_numerals = st.from_regex(r"-?[0-9]{0,60}(\.[0-9]{0,60})?([eE]-?[0-9]{1,3})?", fullmatch=True)
moments = st.from_regex(
    r"(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9](:[0-5][0-9](:[0-5][0-9]([.,][0-9]{1,8})?)?)?)?"
    r"(Z|[+-][01][0-9](:?[03]0)?)? ?",
    fullmatch=True,
)
words = st.sampled_from(
    [*NULL_WORDS, "nan", "NaN", "inf", "-Infinity", "infinity", "true", "FALSE", "0x1f", "1_0", "T", "nan(x)", "٣"]
)
texts = numerals | long_numerals | moments | words | st.text(max_size=4)


@given(cells=st.lists(st.none() | texts, min_size=1, max_size=6), kind=st.sampled_from(KINDS[:17]))
@settings(max_examples=examples(200), deadline=None)
@example(cells=["2026-01-01T24:00:00"], kind="TIMESTAMP")
@example(cells=["2026-01-01T00:00:60"], kind="TIMESTAMP_NTZ")
@example(cells=["1e400", "-0.0"], kind="DOUBLE")
@example(cells=["1e400", "inf", "nan(x)"], kind="FLOAT")
@example(cells=["123456789012345678901234567890123456789012345"], kind="DECIMAL(38,30)")
@example(cells=["1e60", "1e20", "0." + "1" * 39], kind="DECIMAL(38,30)")
@example(cells=["2026-01-01T00:00:00.1234567", "2026-01-01T00:00:00.1234560"], kind="TIMESTAMP")
@example(cells=["٣", "1_000", "517.0", " 5 ", "NA"], kind="INT")
def test_text_is_parsed_in_columns_as_it_is_in_values(cells: list[Any], kind: str) -> None:
    """Cast, walked, and in rows: the same texts are taken, for the same values."""
    rules = ConversionRules(parse_text=True, inner_nulls=True)
    array = pa.array(cells, pa.string())
    fast, fast_bad = judged(kind, array, rules=rules, columnwise=True)
    slow, slow_bad = judged(kind, array, rules=rules, columnwise=False)
    assert fast_bad.keys() == slow_bad.keys(), (cells, fast_bad, slow_bad)
    assert same(fast, slow), (cells, fast, slow)
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t (x {kind})")
    encoder = encoder_for(schema, IngestOptions(parse_text=True, record_format="arrow"), is_arrow=False)
    bad: list[BadRow] = []
    list(encoder.encode(Chunk(0, [{"x": cell} for cell in cells]), on_bad_row=bad.append))
    assert [row.row for row in bad] == sorted(fast_bad)


def test_columns_go_the_fast_way_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the tests above would compare the walk with itself."""
    compiled = []
    plain = arrow_columns.compiled_cast

    def counted(*args: Any) -> Any:
        compiled.append(plain(*args))
        return compiled[-1]

    monkeypatch.setattr(arrow_columns, "compiled_cast", counted)
    judged("INT", pa.array([1]), rules=ConversionRules(parse_text=False, inner_nulls=True), columnwise=True)
    assert len(compiled) == 1
    assert compiled[0] is not None
