"""One column of each type of DuckDB, by relation and by cursor, into a matching table: each cell compared."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from zerobus_core import IngestOptions, TableSchema
from zerobus_core.encode import encoder_for
from zerobus_core.errors import ConfigurationError, RecordError, SchemaError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources.arrow.duckdb_json import reader_with_json
from zerobus_core.sources.recognize import options_for, source_of

ID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
MOMENT = 1774747800123456  # 2026-03-29 01:30:00.123456
DAY = dt.date(2026, 3, 29).toordinal() - dt.date(1970, 1, 1).toordinal()


class Json(str):
    """A text that has to be this JSON, with all digits."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and parsed(self) == parsed(other)

    __hash__ = str.__hash__


def parsed(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


# An expression, the column's type, and what arrives on the wire as JSON.
CELLS: list[tuple[str, str, Any]] = [
    ("(-128)::TINYINT", "TINYINT", -128),
    ("255::UTINYINT", "SMALLINT", 255),
    ("(-32768)::SMALLINT", "SMALLINT", -32768),
    ("65535::USMALLINT", "INT", 65535),
    ("2147483647::INTEGER", "INT", 2147483647),
    ("4294967295::UINTEGER", "BIGINT", 4294967295),
    ("9223372036854775807::BIGINT", "BIGINT", 9223372036854775807),
    ("18446744073709551615::UBIGINT", "DECIMAL(20,0)", "18446744073709551615"),
    ("'1000000000000000000000000000000'::HUGEINT", "DECIMAL(38,0)", "1" + "0" * 30),
    ("12345678901234.567891::DECIMAL(20,6)", "DECIMAL(20,6)", "12345678901234.567891"),
    ("0.5::FLOAT", "FLOAT", 0.5),
    ("0.1::DOUBLE", "DOUBLE", 0.1),
    ("true", "BOOLEAN", True),
    ("'é'", "STRING", "é"),
    ("'b'::ENUM('a', 'b')", "STRING", "b"),
    ("'\\x00\\xFF'::BLOB", "BINARY", "AP8="),
    ("DATE '2026-03-29'", "DATE", DAY),
    ("TIMESTAMP '2026-03-29 01:30:00.123456'", "TIMESTAMP_NTZ", MOMENT),
    ("TIMESTAMP_S '2026-03-29 01:30:00'", "TIMESTAMP_NTZ", MOMENT - 123456),
    ("TIMESTAMP_MS '2026-03-29 01:30:00.123'", "TIMESTAMP_NTZ", MOMENT - 456),
    ("TIMESTAMPTZ '2026-03-29 01:30:00.123456+00'", "TIMESTAMP", MOMENT),
    (f"'{ID}'::UUID", "STRING", ID),
    (f"'{ID}'::UUID", "VARIANT", Json(f'"{ID}"')),
    ("'{\"a\": [1, 1.10]}'::JSON", "VARIANT", Json('{"a": [1, 1.10]}')),
    ("'{\"a\": [1, 1.10]}'::JSON", "STRING", '{"a": [1, 1.10]}'),
    ("['{\"a\": 1}'::JSON]", "VARIANT", Json('[{"a": 1}]')),
    ("{'a': 1, 'b': [NULL, 'x']}::VARIANT", "VARIANT", Json('{"a": 1, "b": [null, "x"]}')),
    ("[1, 3]", "ARRAY<INT>", [1, 3]),
    ("[1, NULL]", "VARIANT", Json("[1, null]")),
    ("[1, 2, 3]::INTEGER[3]", "ARRAY<INT>", [1, 2, 3]),
    ("{'a': 1, 'b': 'x'}", "STRUCT<a: INT, b: STRING>", {"a": 1, "b": "x"}),
    ("{'a': 1, 'b': 'x'}", "VARIANT", Json('{"a": 1, "b": "x"}')),
    ("MAP {'k': 1}", "MAP<STRING, INT>", {"k": 1}),
    ("MAP {'k': 1}", "VARIANT", Json('{"k": 1}')),
    ("NULL::JSON", "VARIANT", None),
    ("{'j': '{\"a\": 1.10}'::JSON, 'n': 1}", "STRUCT<j: VARIANT, n: INT>", {"j": Json('{"a": 1.10}'), "n": 1}),
    ("{'j': '{\"a\": [1]}'::JSON}", "VARIANT", Json('{"j": {"a": [1]}}')),
    ("{'j': '{\"a\": 1}'::JSON}", "STRUCT<J: STRING>", {"J": '{"a": 1}'}),
    ("{'l': ['{\"a\": 1}'::JSON]}", "VARIANT", Json('{"l": [{"a": 1}]}')),
    ("{'l': ['{\"a\": 1}'::JSON]}", "STRUCT<l: ARRAY<VARIANT>>", {"l": [Json('{"a": 1}')]}),
    ("[{'j': '[1]'::JSON}]", "VARIANT", Json('[{"j": [1]}]')),
    ("[{'j': '[1]'::JSON}]", "ARRAY<STRUCT<j: VARIANT>>", [{"j": Json("[1]")}]),
    ("MAP {'k': '{\"a\": 1}'::JSON}", "MAP<STRING, VARIANT>", {"k": Json('{"a": 1}')}),
    ("MAP {'k': '{\"a\": 1}'::JSON}", "VARIANT", Json('{"k": {"a": 1}}')),
    ("{'s': {'m': MAP {'k': ['1'::JSON]}}}", "VARIANT", Json('{"s": {"m": {"k": [1]}}}')),
    ("'101'::BIT", "STRING", "101"),
    ("'10000000111111111'::BIT", "STRING", "10000000111111111"),
    ("NULL::BIT", "STRING", None),
    ("5::UHUGEINT", "DECIMAL(38,0)", "5"),
    ("'340282366920938463463374607431768211455'::UHUGEINT", "VARIANT", str(2**128 - 1)),
    ("NULL::UHUGEINT", "VARIANT", None),
]
# What DuckDB before 2.0 gives to nobody, or to Arrow as bytes.
if duckdb.__version__ < "2":
    CELLS = [cell for cell in CELLS if "::VARIANT" not in cell[0] and "UHUGEINT" not in cell[0]]
# Only the cursor, or only the relation, gives a value that the column takes.
BY_CURSOR: list[tuple[str, str, Any]] = [
    ("[1, 2]", "STRING", Json("[1, 2]")),
    ("'{\"a\": 1}'::JSON", "STRUCT<a: INT>", {"a": 1}),
    ("{'j': '{\"a\": 1}'::JSON}", "STRUCT<j: STRUCT<a: INT>>", {"j": {"a": 1}}),
]
REFUSED: list[tuple[str, str, str]] = [
    ("TIME '01:02:03'", "STRING", "pass str"),
    ("1.5::DOUBLE", "DECIMAL(9,2)", "set round_floats=True"),
    ("1", "BOOLEAN", "set numeric_booleans=True"),
    ("TIMESTAMP_NS '2026-03-29 01:30:00.123456789'", "TIMESTAMP_NTZ", "nanoseconds"),
    ("'abc'::BLOB", "STRING", "decode"),
    ("'340282366920938463463374607431768211455'::UHUGEINT", "DECIMAL(38,0)", "digits before the point"),
]


def delivered(query: str, columns: str, *, by_cursor: bool) -> dict[str, Any]:
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t ({columns})")
    with duckdb.connect() as connection:
        connection.execute("SET timezone = 'UTC'")
        options = IngestOptions(record_format="json")
        source = source_of(connection.execute(query) if by_cursor else connection.sql(query), options, schema)
        encoder = encoder_for(schema, options_for(source, options), is_arrow=source.is_arrow)
        (row,) = [
            encoder.decode(batch, index)
            for chunk in source.chunks(RowRanges())
            for batch in encoder.encode(chunk)
            for index in range(batch.rows)
        ]
        return row


@pytest.mark.parametrize("by_cursor", [False, True])
def test_each_type_of_duckdb_arrives_by_a_query_without_casts(by_cursor: bool) -> None:
    cells = [*CELLS, *(BY_CURSOR if by_cursor else [])]
    query = "SELECT " + ", ".join(f"{cell[0]} AS c{number}" for number, cell in enumerate(cells))
    columns = ", ".join(f"c{number} {cell[1]}" for number, cell in enumerate(cells))
    row = delivered(query, columns, by_cursor=by_cursor)
    wrong = [
        f"{expression} into {kind}: {row.get(f'c{number}')!r}, not {right!r}"
        for number, (expression, kind, right) in enumerate(cells)
        if not right == row.get(f"c{number}")  # noqa: SIM201  # Json decides
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("by_cursor", [False, True])
@pytest.mark.parametrize(("expression", "kind", "reason"), REFUSED)
def test_a_type_of_duckdb_that_the_column_cannot_hold_is_refused_with_a_remedy(
    expression: str, kind: str, reason: str, by_cursor: bool
) -> None:
    if "UHUGEINT" in expression and duckdb.__version__ < "2" and not by_cursor:
        pytest.skip("DuckDB before 2.0 gives UHUGEINT to Arrow as bytes, so the relation is refused")
    with pytest.raises(RecordError) as caught:
        delivered(f"SELECT {expression} AS c", f"c {kind}", by_cursor=by_cursor)
    assert "row 0, field c:" in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("interval", ["1 month", "1 month -29 days", "1 day", "00:00:01"])
def test_an_interval_of_duckdbs_cursor_is_refused_for_a_month_has_30_days_in_it(interval: str) -> None:
    with pytest.raises(RecordError, match="30 days of a month.*cast it to text in the query"):
        delivered(f"SELECT INTERVAL '{interval}' AS c", "c STRING", by_cursor=True)
    with pytest.raises(RecordError, match="30 days of a month"):
        delivered(f"SELECT [{{'i': INTERVAL '{interval}'}}] AS c", "c VARIANT", by_cursor=True)
    text = delivered(f"SELECT INTERVAL '{interval}'::VARCHAR AS c", "c STRING", by_cursor=True)
    assert text["c"].startswith("1 ") or text["c"] == interval


UNIONS = [
    ("union_value(j := '{\"a\": 1}'::JSON)", "VARIANT", "json"),
    ("[union_value(j := '{\"a\": 1}'::JSON)]", "VARIANT", "json"),
    ("{'u': union_value(j := '{\"a\": 1}'::JSON)}", "VARIANT", "json"),
    ("union_value(t := TIMESTAMP_NS '2026-03-29 01:30:00.123456789')", "TIMESTAMP_NTZ", "nanoseconds"),
    ("union_value(i := INTERVAL '1 month')", "VARIANT", "interval"),
]


@pytest.mark.parametrize(("expression", "kind", "form"), UNIONS)
def test_a_union_whose_value_may_have_a_form_of_its_own_is_refused(expression: str, kind: str, form: str) -> None:
    query = f"SELECT {expression} AS c"
    with pytest.raises(RecordError, match=f"does not say which member of the UNION this is, and one is {form}"):
        delivered(query, f"c {kind}", by_cursor=True)
    if form == "json":
        with pytest.raises(SchemaError, match="holds JSON as a member of a union"):
            delivered(query, f"c {kind}", by_cursor=False)


def test_a_number_of_a_union_with_json_needs_no_member() -> None:
    query = "SELECT union_value(i := 7)::UNION(i INT, j JSON) AS c"
    assert delivered(query, "c VARIANT", by_cursor=True) == {"c": Json("7")}


def test_nanoseconds_inside_of_a_struct_of_duckdbs_cursor_are_not_cut_off() -> None:
    query = "SELECT {'t': TIMESTAMP_NS '2026-03-29 01:30:00.123456789'} AS c"
    with pytest.raises(RecordError, match="cuts the nanoseconds off"):
        delivered(query, "c STRUCT<t: TIMESTAMP_NTZ>", by_cursor=True)


NESTED = ["[{}]", "array_value({})", "{{'b': {}}}", "MAP {{'k': {}}}", "MAP {{{}: 1}}", "union_value(m := {})",
          "[[{{'b': MAP {{'k': [{}]}}}}]]"]  # fmt: skip
MISREAD = ["'340282366920938463463374607431768211455'::UHUGEINT", "5::UHUGEINT", "'101'::BIT"]
NANOSECONDS = "TIME_NS '12:30:00.123456789'"
MISREAD_EVERYWHERE = ["'12:30:00+02'::TIMETZ", "123::BIGNUM"]
if duckdb.__version__ >= "2":  # before, DuckDB itself refuses TIME_NS
    MISREAD_EVERYWHERE.append(NANOSECONDS)


def relation_of(query: str) -> duckdb.DuckDBPyRelation:
    relation = duckdb.sql(query)
    assert relation is not None
    return relation


def rows_of_relation(query: str, *settings: str, **options: Any) -> list[Any]:
    with duckdb.connect() as connection:
        for setting in settings:
            connection.execute(f"SET {setting}")
        source = source_of(connection.sql(query), IngestOptions(**options))
        return [row for chunk in source.chunks(RowRanges()) for row in chunk.rows.to_pylist()]  # type: ignore[union-attr]


@pytest.mark.parametrize("nesting", NESTED)
@pytest.mark.parametrize("expression", [*MISREAD, *MISREAD_EVERYWHERE])
def test_a_nested_value_that_duckdb_gives_to_arrow_in_another_form_is_refused(expression: str, nesting: str) -> None:
    kind = str(relation_of(f"SELECT {expression}").types[0])
    query = f"SELECT 1 AS n, {nesting.format(expression)} AS c"
    reason = rf'column c of the DuckDB relation holds "?{kind}"? inside of .* CAST .*VARCHAR in place of "?{kind}'
    with pytest.raises(ConfigurationError, match=reason):
        rows_of_relation(query)


@pytest.mark.parametrize("expression", MISREAD_EVERYWHERE)
def test_a_value_that_duckdb_gives_to_arrow_with_parts_missing_is_refused(expression: str) -> None:
    with pytest.raises(ConfigurationError, match="column c of the DuckDB relation .* CAST it to .*VARCHAR in"):
        rows_of_relation(f"SELECT {expression} AS c")
    text = relation_of(f"SELECT {expression}::VARCHAR").fetchall()[0][0]
    assert rows_of_relation(f"SELECT {expression}::VARCHAR AS c") == [{"c": text}]


@pytest.mark.parametrize("kind", ["HUGEINT", "UHUGEINT", "BIT"])
@pytest.mark.parametrize("nesting", ["{}", "{{'b': {}}}"])
def test_numbers_and_bits_that_duckdb_gives_to_arrow_as_bytes_are_refused(kind: str, nesting: str) -> None:
    query = f"SELECT {nesting.format(f'1::{kind}')} AS c"
    if (kind, nesting) == ("BIT", "{}") and not hasattr(pa, "opaque"):  # pyarrow before 18 has the plain bytes
        assert rows_of_relation(query, "arrow_lossless_conversion = true") == [{"c": f"{1:032b}"}]
        return
    with pytest.raises(ConfigurationError, match=f"column c of the DuckDB relation .*{kind}.*CAST"):
        rows_of_relation(query, "arrow_lossless_conversion = true")


def test_bits_in_large_buffers_are_text() -> None:
    rows = rows_of_relation("SELECT '101'::BIT AS c", "arrow_large_buffer_size = true")
    assert rows == [{"c": "101"}]


@pytest.mark.parametrize("options", [{"drop": ["c"]}, {"select": ["n"]}])
def test_a_column_that_is_left_out_is_not_refused(options: dict[str, Any]) -> None:
    assert [row["n"] for row in rows_of_relation("SELECT 1 AS n, ['101'::BIT] AS c", **options)] == [1]


@pytest.mark.parametrize(
    ("expression", "cast", "right"),
    [
        ("['340282366920938463463374607431768211455'::UHUGEINT]", "VARCHAR[]", [str(2**128 - 1)]),
        ("{'b': 5::UHUGEINT}", "STRUCT(b DECIMAL(38, 0))", {"b": Decimal(5)}),
        ("MAP {'101'::BIT: 1}", "MAP(VARCHAR, INTEGER)", [("101", 1)]),
        ("union_value(m := '101'::BIT)", "UNION(m VARCHAR)", "101"),
    ],
)
def test_a_nested_value_arrives_with_the_cast_that_the_error_asks_for(expression: str, cast: str, right: Any) -> None:
    assert rows_of_relation(f"SELECT CAST({expression} AS {cast}) AS c") == [{"c": right}]


@pytest.mark.parametrize(
    ("query", "is_rebuilt"),
    [
        ("SELECT 1 AS n, [1] AS l, {'a': 'x'} AS s", False),
        ("SELECT {'JSON': 1} AS s", False),
        ("SELECT '1'::JSON AS j", True),
        ("SELECT {'j': '1'::JSON} AS j", True),
        ("SELECT '1'::BIT AS b", True),
    ],
)
def test_a_relation_without_values_to_correct_is_read_as_it_is(query: str, is_rebuilt: bool) -> None:
    relation = relation_of(query)
    reader = pa.RecordBatchReader.from_stream(relation)
    assert (reader_with_json(relation, reader) is not reader) is is_rebuilt


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        (NANOSECONDS, "VARIANT"),
        (f"[{NANOSECONDS}]", "VARIANT"),
        (f"{{'t': {NANOSECONDS}}}", "STRUCT<t: VARIANT>"),
        ("MAP {TIMESTAMP_NS '2026-03-29 01:30:00.123456789': 1}", "MAP<TIMESTAMP_NTZ, INT>"),
        ("[MAP {TIMESTAMP_NS '2026-03-29 01:30:00.123456789': 1}]", "ARRAY<MAP<TIMESTAMP_NTZ, INT>>"),
    ],
)
def test_nanoseconds_that_duckdbs_cursor_cuts_off_are_refused_at_every_place(expression: str, kind: str) -> None:
    if NANOSECONDS in expression and NANOSECONDS not in MISREAD_EVERYWHERE:
        pytest.skip("DuckDB before 2.0 itself refuses TIME_NS")
    with pytest.raises(RecordError, match="cuts the nanoseconds off.*VARCHAR"):
        delivered(f"SELECT {expression} AS c", f"c {kind}", by_cursor=True)
