"""Unity Catalog's answers as schemas: what is read, what is refused, and what the fingerprint distinguishes."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest

from zerobus_core import TableSchema
from zerobus_core.errors import ConfigurationError, SchemaError
from zerobus_core.schema import ArrayType, DecimalType, Kind, MapType, PrimitiveType, StringType, StructType

EVERYTHING = """CREATE TABLE main.default.everything (
  id BIGINT NOT NULL COMMENT 'the key; it\\'s unique', ti TINYINT, si SMALLINT, i INT, f FLOAT, d DOUBLE,
  dec DECIMAL(20,4), b BOOLEAN, s STRING, vc VARCHAR(10), c CHAR(3), bin BINARY, da DATE, ts TIMESTAMP,
  ntz TIMESTAMP_NTZ, v VARIANT, arr ARRAY<STRUCT<x: DOUBLE NOT NULL, tags: MAP<STRING, DATE>>>,
  m MAP<INT, STRUCT<message: DECIMAL(5,2), to: ARRAY<TIMESTAMP>>>, st STRUCT<a: STRUCT<b: STRUCT<c: BINARY>>>
)"""


def info(*columns: dict[str, Any], **facts: Any) -> dict[str, Any]:
    given = [{"nullable": True, "position": index, **column} for index, column in enumerate(columns)]
    return {
        "full_name": "main.default.t",
        "table_type": "MANAGED",
        "data_source_format": "DELTA",
        **facts,
        "columns": given,
    }


def spark(name: str, kind: Any, **metadata: Any) -> dict[str, Any]:
    return {"name": name, "type_json": json.dumps({"name": name, "type": kind, "nullable": True, "metadata": metadata})}


def output_of(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def only_type(column: dict[str, Any]) -> Any:
    return TableSchema.from_table_info(info(column)).columns[0].type


def test_type_json_is_preferred_and_type_text_stands_in() -> None:
    assert only_type({**spark("a", "long"), "type_text": "string"}) == PrimitiveType(Kind.BIGINT)
    assert only_type({"name": "a", "type_text": "decimal(5,2)", "type_json": ""}) == DecimalType(5, 2)
    assert only_type({"name": "a", "type_text": "int", "type_json": "{}"}) == PrimitiveType(Kind.INT)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("byte", "TINYINT"), ("short", "SMALLINT"), ("integer", "INT"), ("long", "BIGINT"), ("float", "FLOAT"),
        ("double", "DOUBLE"), ("boolean", "BOOLEAN"), ("string", "STRING"), ("binary", "BINARY"), ("date", "DATE"),
        ("timestamp", "TIMESTAMP"), ("timestamp_ntz", "TIMESTAMP_NTZ"), ("variant", "VARIANT"),
        ("decimal(10,2)", "DECIMAL(10,2)"), ("decimal", "DECIMAL(10,0)"), ("varchar(9)", "VARCHAR(9)"),
        ("char(2)", "CHAR(2)"),
    ],
)  # fmt: skip
def test_every_type_of_spark_json_is_read(kind: str, text: str) -> None:
    assert str(only_type(spark("a", kind))) == text
    assert only_type({"name": "a", "type_text": text.lower()}) == only_type(spark("a", kind))


def test_nested_types_keep_nullability_and_comments() -> None:
    kind = only_type(
        spark(
            "a",
            {
                "type": "struct",
                "fields": [
                    {"name": "x", "type": "integer", "nullable": False, "metadata": {"comment": "here"}},
                    {"name": "y", "type": {"type": "array", "elementType": "string", "containsNull": False}},
                    {
                        "name": "z",
                        "type": {"type": "map", "keyType": "string", "valueType": "date", "valueContainsNull": False},
                    },
                ],
            },
        )
    )
    assert isinstance(kind, StructType)
    x, y, z = kind.fields
    assert (x.nullable, x.comment, y.nullable) == (False, "here", True)
    assert y.type == ArrayType(StringType(), contains_null=False)
    assert z.type == MapType(StringType(), PrimitiveType(Kind.DATE), value_contains_null=False)


def test_the_declared_length_of_text_is_found_beside_sparks_string() -> None:
    assert only_type(spark("a", "string", __CHAR_VARCHAR_TYPE_STRING="varchar(7)")) == StringType(7)


def test_columns_are_sorted_by_position_and_gaps_stay_as_field_numbers() -> None:
    schema = TableSchema.from_table_info(
        info(
            {"name": "late", "type_text": "int", "position": 18_999},
            {"name": "b", "type_text": "int", "position": 5},
            {"name": "a", "type_text": "int", "position": 0},
            {"name": "reserved", "type_text": "int", "position": 18_998},
        )
    )
    assert [column.name for column in schema.columns] == ["a", "b", "reserved", "late"]
    numbers = re.findall(r"(\w+) = (\d+);", schema.to_proto())
    assert numbers == [("a", "1"), ("b", "6"), ("reserved", "18999"), ("late", "20000")]


def test_all_that_stands_against_a_table_is_said_at_once() -> None:
    columns = [
        spark("span", "interval day to second"),
        spark("place", {"type": "struct", "fields": [{"name": "where", "type": "geography(4326)"}]}),
        spark("nothing", "void"),
        spark("fine", "long"),
        spark("naïve", "long"),
        spark("1st", "long"),
    ]
    with pytest.raises(SchemaError) as caught:
        TableSchema.from_table_info(info(*columns, table_type="EXTERNAL", data_source_format="ICEBERG"))
    text = str(caught.value)
    for part in (
        "main.default.t: Zerobus does not support this table",
        "it is of type external",
        "its format is ICEBERG",
        "column span is INTERVAL DAY TO SECOND",
        "column place.where is GEOGRAPHY(4326)",
        "column nothing is VOID",
        "the name 'naïve' is invalid",
        "the name '1st' is invalid",
    ):
        assert part in text
    assert "fine" not in text


@pytest.mark.parametrize("table_type", ["VIEW", "MATERIALIZED_VIEW", "EXTERNAL", "FOREIGN", "METRIC_VIEW"])
def test_views_and_tables_that_are_not_managed_are_refused(table_type: str) -> None:
    with pytest.raises(SchemaError, match="supports only managed tables and streaming tables"):
        TableSchema.from_table_info(info(spark("a", "long"), table_type=table_type))


def test_streaming_tables_are_taken() -> None:
    assert TableSchema.from_table_info(info(spark("a", "long"), table_type="STREAMING_TABLE")).columns


def test_2000_columns_are_taken_and_2001_are_not() -> None:
    columns = [spark(f"c{index}", "long") for index in range(2_001)]
    assert len(TableSchema.from_table_info(info(*columns[:2_000])).columns) == 2_000
    with pytest.raises(SchemaError, match="it has 2001 columns, but Zerobus supports at most 2000"):
        TableSchema.from_table_info(info(*columns))


def test_a_table_without_columns_is_refused() -> None:
    with pytest.raises(SchemaError, match="shows no columns"):
        TableSchema.from_table_info(info())


@pytest.mark.parametrize("text", ["frob(3)", "{]", ""])
def test_a_type_that_cannot_be_read_is_named_with_its_column(text: str) -> None:
    with pytest.raises(SchemaError, match="column a"):
        TableSchema.from_table_info(info({"name": "a", "type_text": text}))


def test_a_type_nested_without_end_is_refused() -> None:
    kind: Any = "long"
    for _ in range(150):
        kind = {"type": "array", "elementType": kind}
    with pytest.raises(SchemaError, match="nested more than 100 levels deep"):
        TableSchema.from_table_info(info(spark("a", kind)))


def test_sql_that_is_nested_without_end_is_refused() -> None:
    kind = "ARRAY<" * 3_000 + "INT" + ">" * 3_000
    with pytest.raises(SchemaError, match="the SQL cannot be read: it is nested too deeply"):
        TableSchema.from_sql(f"CREATE TABLE a.b.c (x {kind})")


def test_names_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(SchemaError, match="the name 'ID' appears twice"):
        TableSchema.from_table_info(info(spark("id", "long"), spark("ID", "long")))


@pytest.mark.parametrize(
    "table", ["a.b", "a.b.c.d", "a..c", "", "main.default.a b", "main.default.naïve", None, "a.b.c/../d"]
)
def test_a_malformed_table_name_is_refused_before_anything_is_asked(table: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"expected catalog\.schema\.table"):
        TableSchema.fetch(None, table)  # type: ignore[arg-type]  # the workspace is never looked at


def test_a_schema_survives_json_sql_and_pickle() -> None:
    schema = TableSchema.from_sql(EVERYTHING)
    for twin in (
        TableSchema.from_table_info(json.loads(schema.to_json())),
        TableSchema.from_sql(schema.to_sql()),
        pickle.loads(pickle.dumps(schema)),
    ):
        assert twin == schema
        assert twin.fingerprint == schema.fingerprint
        assert twin.columns[0].comment == "the key; it's unique"
        assert hash(twin) == hash(schema)


SHAPE = "CREATE TABLE main.default.t (a INT, b STRUCT<x: INT, y: ARRAY<STRING>>, c DECIMAL(5,2))"


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("a INT", "z INT"), ("a INT", "a BIGINT"), ("a INT", "a INT NOT NULL"), ("x: INT", "x: INT NOT NULL"),
        ("y: ARRAY<STRING>", "y: ARRAY<BINARY>"), ("x: INT", "x2: INT"), ("(5,2)", "(5,3)"), ("(a INT, ", "("),
        ("c DECIMAL", "d DECIMAL"), ("ARRAY<STRING>", "ARRAY<VARCHAR(5)>"),
    ],
)  # fmt: skip
def test_the_fingerprint_changes_with_the_shape(was: str, becomes: str) -> None:
    assert was in SHAPE
    assert TableSchema.from_sql(SHAPE.replace(was, becomes)).fingerprint != TableSchema.from_sql(SHAPE).fingerprint


def test_the_fingerprint_stays_when_only_comments_or_the_name_change() -> None:
    changed = SHAPE.replace("a INT", "a INT COMMENT 'x'").replace("default.t", "other.u")
    assert TableSchema.from_sql(changed).fingerprint == TableSchema.from_sql(SHAPE).fingerprint


def test_nullable_elements_and_positions_are_part_of_the_shape() -> None:
    loose = TableSchema.from_table_info(info(spark("a", {"type": "array", "elementType": "long"})))
    tight = TableSchema.from_table_info(
        info(spark("a", {"type": "array", "elementType": "long", "containsNull": False}))
    )
    moved = TableSchema.from_table_info(info({**spark("a", {"type": "array", "elementType": "long"}), "position": 3}))
    assert len({loose.fingerprint, tight.fingerprint, moved.fingerprint}) == 3


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("CREATE TABLE a.b.c (x, b INT)", "column x cannot be read: x has no type; write for example x BIGINT"),
        ("CREATE TABLE a.b.c (x, y)", "column y cannot be read: y has no type"),
        ("CREATE TABLE a.b.c (x NOT NULL)", "column x cannot be read: x has no type"),
        ("CREATE TABLE a.b.c (LIKE d.e.f)", "column LIKE d.e.f cannot be read: it is not a column"),
        ("CREATE TABLE a.b.c (f(x), b INT)", "column F(x) cannot be read: it is not a column"),
        ("CREATE TABLE a.b.c (PRIMARY KEY (x))", "the table has no columns, only PRIMARY KEY (x)"),
        ("CREATE TABLE a.b.c ()", "the table has no columns; write each column with its type"),
        ("CREATE VIEW a.b.c (x INT) AS SELECT 1", "it is a CREATE VIEW statement, not a CREATE TABLE statement"),
        ("CREATE TABLE a.b.c (x INT); CREATE TABLE a.b.d (x INT)", "the text has 2 statements"),
        ("", "the text has 0 statements"),
        ("CREATE TABLE a.b.c (x INT) PARTITIONED BY (y STRING)", "declare y with the other columns"),
        ("CREATE TABLE a.b.c (x INT) PARTITIONED BY (x, y)", "declare y with the other columns"),
        ("CREATE TABLE a.b.c (x INT) USING CSV", "USING CSV does not make a managed Delta table"),
        ("CREATE TABLE a.b.c (x INT) LOCATION 's3://b/t'", "LOCATION 's3://b/t' does not make a managed Delta table"),
        ("CREATE EXTERNAL TABLE a.b.c (x INT)", "EXTERNAL does not make a managed Delta table"),
    ],
)
def test_sql_of_which_a_part_would_be_lost_is_refused(statement: str, message: str) -> None:
    with pytest.raises(SchemaError, match=re.escape(message)):
        TableSchema.from_sql(statement)


def test_constraints_and_a_semicolon_are_not_columns() -> None:
    schema = TableSchema.from_sql(
        "CREATE TABLE a.b.c (x INT, CONSTRAINT k PRIMARY KEY (x), CONSTRAINT p CHECK (x > 0), CHECK (x > 1), "
        "FOREIGN KEY (x) REFERENCES a.b.d, EXPECT (x > 0)) USING DELTA PARTITIONED BY (X) COMMENT 'c'; -- the end"
    )
    assert [str(column) for column in schema.columns] == ["x: INT"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("STRUCT<x>", "not a type: 'STRUCT<x>'; each member of a STRUCT needs a name and a type"),
        ("STRUCT<x: INT, y>", "not a type: 'STRUCT<x: INT, y>'; each member of a STRUCT needs a name and a type"),
        ("ARRAY<STRUCT<x: STRUCT<y>>>", "not a type: 'ARRAY<STRUCT<x: STRUCT<y>>>'; each member"),
        ("STRUCT<INT>", "a has a member without a name"),
        ("struct<a b:int>", "not a type: 'struct<a b:int>'"),
        ("STRUCT", "a is a STRUCT without members"),
        ("ARRAY", "a is an ARRAY of 0 types; write one"),
        ("ARRAY<INT, STRING>", "a is an ARRAY of 2 types; write one"),
        ("STRUCT<m: MAP<INT>>", "a.m is a MAP of 1 types; write two"),
        ("INT NOT NULL", "not a type: 'INT NOT NULL'"),
        ("INT, b INT", "not a type: 'INT, b INT'"),
        ("ARRAY<" * 3_000 + "INT" + ">" * 3_000, "not a type: 'ARRAY<ARRAY<"),
    ],
)
def test_a_type_text_of_which_a_part_would_be_lost_is_refused(text: str, message: str) -> None:
    with pytest.raises(SchemaError, match=re.escape(f"the type of column a cannot be read: {message}")):
        TableSchema.from_table_info(info({"name": "a", "type_text": text}))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("TIME", "TIME"), ("time(6)", "TIME(6)"), ("UUID", "UUID"), ("DATETIME", "DATETIME"), ("BIT", "BIT"),
        ("TIMESTAMP(3)", "TIMESTAMP(3)"), ("STRING(3)", "STRING(3)"), ("NCHAR(3)", "NCHAR(3)"),
        ("VARCHAR", "VARCHAR"), ("CHAR", "CHAR"), ("void", "VOID"),
    ],
)  # fmt: skip
def test_a_type_that_databricks_does_not_have_is_not_read_as_another(text: str, name: str) -> None:
    for read in (
        lambda: TableSchema.from_sql(f"CREATE TABLE a.b.c (x {text})"),
        lambda: TableSchema.from_table_info(info({"name": "x", "type_text": text})),
    ):
        with pytest.raises(SchemaError, match=re.escape(f"column x is {name}, a type that Zerobus does not support")):
            read()


def test_a_collated_string_is_read_from_its_text() -> None:
    assert only_type({"name": "a", "type_text": "string collate UTF8_LCASE"}) == StringType()


def test_a_column_that_is_null_in_sql_is_nullable() -> None:
    schema = TableSchema.from_sql("CREATE TABLE a.b.c (x INT NULL, y INT NOT NULL, z STRUCT<p: INT NULL, q: INT>)")
    assert [str(column) for column in schema.columns] == ["x: INT", "y: INT NOT NULL", "z: STRUCT<p: INT, q: INT>"]


def test_the_arrow_schema_is_the_services_own() -> None:
    schema = TableSchema.from_sql(EVERYTHING).arrow_schema()
    expected = {
        "id": pa.int64(), "ti": pa.int8(), "si": pa.int16(), "i": pa.int32(), "f": pa.float32(), "d": pa.float64(),
        "dec": pa.large_utf8(), "b": pa.bool_(), "s": pa.large_utf8(), "vc": pa.large_utf8(), "c": pa.large_utf8(),
        "bin": pa.large_binary(), "da": pa.date32(), "ts": pa.timestamp("us", "UTC"), "ntz": pa.timestamp("us"),
    }  # fmt: skip
    assert {name: schema.field(name).type for name in expected} == expected
    assert not schema.field("id").nullable
    assert [field.name for field in schema.field("v").type] == ["metadata", "value"]
    assert schema.field("arr").type.value_field.name == "item"
    assert (schema.field("m").type.key_field.name, schema.field("m").type.item_field.name) == ("keys", "values")


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("a ARRAY<ARRAY<INT>>", "a is ARRAY<ARRAY<INT>>, an array of arrays"),
        ("a STRUCT<b: ARRAY<MAP<INT, INT>>>", "a.b is ARRAY<MAP<INT, INT>>, an array of maps"),
        ("a MAP<INT, ARRAY<INT>>", "a is MAP<INT, ARRAY<INT>>, a map of arrays"),
        ("a ARRAY<STRUCT<m: MAP<DOUBLE, INT>>>", "a[].m is MAP<DOUBLE, INT>, a map with DOUBLE keys"),
        ("a MAP<STRUCT<x: INT>, INT>", "a map with STRUCT<x: INT> keys"),
    ],
)
def test_shapes_that_a_format_cannot_carry_are_refused_with_the_place(column: str, reason: str) -> None:
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t ({column})")
    for make in (schema.descriptor_proto, schema.to_proto, schema.arrow_schema):
        with pytest.raises(SchemaError, match=re.escape(reason)):
            make()


def test_importing_the_core_loads_no_heavy_library() -> None:
    heavy = ["databricks", "google.protobuf", "pyarrow", "sqlglot", "numpy", "pandas", "pydantic", "requests"]
    code = f"import sys, zerobus_core; print([name for name in {heavy} if name in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_encoding_rows_loads_neither_numpy_nor_pyarrow_nor_databricks() -> None:
    heavy = ["databricks", "pyarrow", "numpy", "pandas", "pydantic", "requests"]
    code = f"""
import sys
from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import Chunk
from zerobus_core.encode import encoder_for
schema = TableSchema.from_sql("CREATE TABLE main.default.t (a INT, t TIMESTAMP, v VARIANT)")
list(encoder_for(schema, IngestOptions(), is_arrow=False).encode(Chunk(0, [{{"a": 1, "v": [1.5]}}])))
print([name for name in {heavy} if name in sys.modules])
"""
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
