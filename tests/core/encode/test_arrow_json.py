"""Arrow data that is JSON by its type: the value in a VARIANT, the text in a STRING, refused elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.rows import in_any_order
from zerobus_core import IngestOptions, TableSchema, ingest
from zerobus_core.batch import Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.encode.arrow.columns import ColumnCasts
from zerobus_core.encode.values.rules import ConversionRules
from zerobus_core.errors import RecordError, SchemaError
from zerobus_local import LocalZerobus

if not hasattr(pa, "json_"):
    pytest.skip("this pyarrow has no JSON type", allow_module_level=True)

FORMATS = ["protobuf", "json", "arrow"]
TEXTS = ['{"a": 1, "b": [true, null]}', "[1, 2]", '"text"', "1.50", "null", "123456789012345678901234567890", None]


def json_array(texts: list[str | None], storage: Any = None) -> pa.Array:
    storage = storage or pa.string()
    return pa.ExtensionArray.from_storage(pa.json_(storage), pa.array(texts, storage))


def delivered(zerobus: LocalZerobus, table: str, columns: str, records: Any, **options: Any) -> list[Any]:
    zerobus.create_table(f"CREATE OR REPLACE TABLE {table} ({columns})")
    ingest(zerobus.workspace, table, records, options=IngestOptions(timeout=60, **options))
    return zerobus.read(table).to_pylist()  # in any order


def values(rows: list[Any]) -> list[Any]:
    return [None if row["v"] is None else json.loads(row["v"]) for row in rows]


def wanted(texts: list[str | None]) -> list[Any]:
    return [None if text is None else json.loads(text) for text in texts]


@pytest.mark.parametrize("storage", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
@pytest.mark.parametrize("record_format", FORMATS)
def test_json_becomes_the_variant_of_its_value(
    record_format: str, storage: Any, zerobus: LocalZerobus, table_name: str
) -> None:
    table = pa.table({"v": json_array(TEXTS, storage)})
    seen = delivered(zerobus, table_name, "v VARIANT", table, record_format=record_format)
    assert in_any_order(values(seen)) == in_any_order(wanted(TEXTS))
    texts = {row["v"] for row in seen}
    assert {None, "null"} <= texts  # JSON's null is a value, and not NULL
    assert texts & {"1.5", "1.50"}


def nested() -> dict[str, pa.Array]:
    item = json_array(['{"a": 1}', None, "[2]"])
    offsets = pa.array([0, 2, 3], pa.int32())
    keys = pa.array(["x", "y", "z"])
    return {
        "list": pa.ListArray.from_arrays(offsets, item),
        "large list": pa.LargeListArray.from_arrays(pa.array([0, 2, 3], pa.int64()), item),
        "fixed list": pa.FixedSizeListArray.from_arrays(json_array(['{"a": 1}', None, "[2]", "3"]), 2),
        "struct": pa.StructArray.from_arrays([item.slice(0, 2), pa.array([1, 2])], ["j", "n"]),
        "map": pa.MapArray.from_arrays(offsets, keys, item),
        "dictionary": pa.DictionaryArray.from_arrays(pa.array([1, 0]), json_array(['{"a": 1}', "[2]"])),
        "list of structs": pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays([item], ["j"])),
    }


MEANT: dict[str, tuple[str, list[Any]]] = {
    "list": ("ARRAY<VARIANT>", [[{"a": 1}, None], [[2]]]),
    "large list": ("ARRAY<VARIANT>", [[{"a": 1}, None], [[2]]]),
    "fixed list": ("ARRAY<VARIANT>", [[{"a": 1}, None], [[2], 3]]),
    "struct": ("STRUCT<j: VARIANT, n: BIGINT>", [{"j": {"a": 1}, "n": 1}, {"j": None, "n": 2}]),
    "map": ("MAP<STRING, VARIANT>", [{"x": {"a": 1}, "y": None}, {"z": [2]}]),
    "dictionary": ("VARIANT", [[2], {"a": 1}]),
    "list of structs": ("ARRAY<STRUCT<j: VARIANT>>", [[{"j": {"a": 1}}, {"j": None}], [{"j": [2]}]]),
}


def loaded(value: Any) -> Any:
    """What the local server reads, with the JSON texts of its VARIANTs as values."""
    if isinstance(value, str):
        return json.loads(value) if value[:1] in "[{123" else value
    if isinstance(value, dict):
        return {key: loaded(item) for key, item in value.items()}
    if isinstance(value, list):
        pairs = all(isinstance(item, tuple) for item in value)
        return {key: loaded(item) for key, item in value} if pairs and value else [loaded(item) for item in value]
    return value


@pytest.mark.parametrize("record_format", ["json", "arrow"])
@pytest.mark.parametrize("kind", MEANT)
def test_json_inside_of_other_types_becomes_a_variant_inside_of_the_column(
    kind: str, record_format: str, zerobus: LocalZerobus, table_name: str
) -> None:
    column, meant = MEANT[kind]
    table = pa.table({"v": nested()[kind]})
    seen = delivered(zerobus, table_name, f"v {column}", table, record_format=record_format)
    assert in_any_order(loaded(row["v"]) for row in seen) == in_any_order(meant)


@pytest.mark.parametrize("record_format", FORMATS)
@pytest.mark.parametrize("kind", sorted(MEANT))
def test_json_inside_of_other_types_is_a_value_in_a_variant(
    kind: str, record_format: str, zerobus: LocalZerobus, table_name: str
) -> None:
    table = pa.table({"v": nested()[kind]})
    seen = delivered(zerobus, table_name, "v VARIANT", table, record_format=record_format)
    assert in_any_order(values(seen)) == in_any_order(MEANT[kind][1])


@pytest.mark.parametrize("record_format", FORMATS)
def test_json_is_text_in_a_string(record_format: str, zerobus: LocalZerobus, table_name: str) -> None:
    table = pa.table({"v": json_array(TEXTS)})
    seen = delivered(zerobus, table_name, "v STRING", table, record_format=record_format)
    assert in_any_order(row["v"] for row in seen) == in_any_order(TEXTS)


@pytest.mark.parametrize("column", ["BIGINT", "STRUCT<a: BIGINT>", "ARRAY<BIGINT>", "BINARY", "DATE"])
def test_json_in_another_column_is_refused(column: str, zerobus: LocalZerobus, table_name: str) -> None:
    with pytest.raises(RecordError):
        delivered(zerobus, table_name, f"v {column}", pa.table({"v": json_array(['{"a": 1}'])}))


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{'a': 1}", "not JSON text"), ('{"a": NaN}', "not JSON text"), ("", "not JSON text"),
     ('{"a": 1, "a": 2}', "the same key twice"), ('[{"a": 1, "b": {"c": 1, "c": 1}}]', "the same key twice")],
)  # fmt: skip
@pytest.mark.parametrize("record_format", FORMATS)
def test_text_that_is_not_json_is_a_bad_row(
    text: str, reason: str, record_format: Any, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    table = pa.table({"v": json_array(['{"a": 1}', text]), "n": [1, 2]})
    with pytest.raises(RecordError, match=f"row 1, field v: .*{reason}"):
        delivered(zerobus, table_name, "v VARIANT, n INT", table, record_format=record_format)
    options: dict[str, Any] = {"on_bad_record": "dead_letter", "dead_letter_uri": f"{tmp_path}/bad.jsonl"}
    assert values(delivered(zerobus, table_name, "v VARIANT, n INT", table, **options)) == [{"a": 1}]


@pytest.mark.parametrize("record_format", FORMATS)
def test_deeply_nested_json_arrives_whole_or_is_a_bad_row(
    record_format: Any, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    text = "[" * 995 + "]" * 995
    table = pa.table({"v": json_array([text, "[1]"]), "n": ["1", "2"]})
    letters = tmp_path / "bad.jsonl"
    options: dict[str, Any] = {"on_bad_record": "dead_letter", "dead_letter_uri": str(letters)}
    seen = delivered(zerobus, table_name, "v VARIANT, n STRING", table, record_format=record_format, **options)
    if record_format == "arrow":
        (letter,) = map(json.loads, letters.read_text().splitlines())
        assert letter["record"]["n"] == "1"
        assert text in letter["record"]["v"]["$unfit"]
        assert "nested deeper than 100 levels" in json.dumps(letter)
        assert [row["v"] for row in seen] == ["[1]"]
    else:
        assert not letters.exists()
        assert in_any_order([row["v"] for row in seen]) == in_any_order([text, "[1]"])


def test_deeply_nested_json_whose_text_looks_like_a_key_is_a_bad_row() -> None:
    text = '["x\\":",' * 995 + "1" + "]" * 995
    schema = TableSchema.from_sql("CREATE TABLE main.default.t (v VARIANT)")
    encoder = encoder_for(schema, IngestOptions(record_format="json"), is_arrow=True)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000)  # Hypothesis raises it for its own tests
    try:
        with pytest.raises(RecordError, match="row 0, field v: nested too deeply"):
            list(encoder.encode(Chunk(0, pa.record_batch({"v": json_array([text])}))))
    finally:
        sys.setrecursionlimit(limit)


def test_a_dead_letter_holds_the_value_of_json(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    table = pa.table({"v": json_array(['{"a": 1}', "[2]"]), "s": json_array(["[1]", "[2]"]), "n": ["1", "bad"]})
    options: dict[str, Any] = {"on_bad_record": "dead_letter", "dead_letter_uri": f"{tmp_path}/bad.jsonl"}
    delivered(zerobus, table_name, "v VARIANT, s STRING, n INT", table, parse_text=True, **options)
    (letter,) = map(json.loads, (tmp_path / "bad.jsonl").read_text().splitlines())
    assert letter["record"] == {"v": [2], "s": "[2]", "n": "bad"}


def test_json_of_parquet_files_and_of_pandas_is_json(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"v": json_array(TEXTS)}), tmp_path / "a.parquet")
    seen = delivered(zerobus, table_name, "v VARIANT", tmp_path / "a.parquet")
    assert in_any_order(values(seen)) == in_any_order(wanted(TEXTS))
    duckdb.sql(f"""COPY (SELECT '{{"a":1}}'::JSON AS v) TO '{tmp_path}/b.parquet'""")
    assert values(delivered(zerobus, table_name, "v VARIANT", tmp_path / "b.parquet")) == [{"a": 1}]
    frame = pd.DataFrame({"v": pd.array(['{"a": 1}', None], dtype=pd.ArrowDtype(pa.json_()))})
    assert in_any_order(values(delivered(zerobus, table_name, "v VARIANT", frame))) == in_any_order([{"a": 1}, None])
    seen = delivered(zerobus, table_name, "v VARIANT", iter([frame, frame]))
    assert in_any_order(values(seen)) == in_any_order([{"a": 1}, None] * 2)


def test_json_of_a_duckdb_relation_is_json(zerobus: LocalZerobus, table_name: str) -> None:
    query = """
        SELECT '{"a": 1}'::JSON AS v, ['[1]'::JSON, NULL] AS l, {'x': '2'::JSON, 'y': 't'} AS s,
            MAP {'k': '{"b": 2}'::JSON} AS m, '{"a": 1}' AS t
    """
    columns = "v VARIANT, l ARRAY<VARIANT>, s STRUCT<x: VARIANT, y: STRING>, m MAP<STRING, VARIANT>, t VARIANT"
    (row,) = delivered(zerobus, table_name, columns, duckdb.sql(query))
    assert {name: loaded(row[name]) for name in "vlsm"} == {
        "v": {"a": 1}, "l": [[1], None], "s": {"x": 2, "y": "t"}, "m": {"k": {"b": 2}},
    }  # fmt: skip
    assert json.loads(row["t"]) == '{"a": 1}'  # text is a string


@pytest.mark.parametrize("record_format", FORMATS)
def test_maps_are_objects_in_a_variant(record_format: Any, zerobus: LocalZerobus, table_name: str) -> None:
    maps = pa.array([[("x", [("y", 1)])], None, []], pa.map_(pa.string(), pa.map_(pa.string(), pa.int64())))
    table = pa.table({"v": maps, "l": pa.ListArray.from_arrays([0, 1, 2, 3], maps)})
    seen = delivered(zerobus, table_name, "v VARIANT, l VARIANT", table, record_format=record_format)
    assert in_any_order(values(seen)) == in_any_order([{"x": {"y": 1}}, None, {}])
    assert '[{"x":{"y":1}}]' in {row["l"].replace(" ", "") for row in seen}
    for pairs, key in (([("x", 1), ("x", 2)], pa.string()), ([(1, 1)], pa.int64())):
        wrong = pa.table({"v": pa.array([pairs], pa.map_(key, pa.int64()))})
        with pytest.raises(RecordError, match="row 0, field v"):
            delivered(zerobus, table_name, "v VARIANT", wrong, record_format=record_format)


def test_json_whose_type_is_in_the_metadata_only_is_json(zerobus: LocalZerobus, table_name: str) -> None:
    field = pa.field("v", pa.string(), metadata={"ARROW:extension:name": "arrow.json"})
    table = pa.table({"v": ["[1]", None]}, schema=pa.schema([field]))
    assert values(delivered(zerobus, table_name, "v VARIANT", table)) == [[1], None]
    inner = pa.struct([field.with_name("j")])
    table = pa.table({"v": pa.array([{"j": "[1]"}], inner)}, schema=pa.schema([pa.field("v", inner)]))
    assert values(delivered(zerobus, table_name, "v VARIANT", table)) == [{"j": [1]}]


VARIANT_TYPE = pa.struct([("metadata", pa.binary()), ("value", pa.binary())])
IN_UNIONS: list[tuple[pa.Field, str]] = [
    (pa.field("m", pa.json_()), "JSON"),
    (pa.field("m", pa.list_(pa.struct([("j", pa.json_())]))), "JSON"),
    (pa.field("m", pa.map_(pa.string(), pa.int64())), "a map"),
    (pa.field("m", pa.list_(pa.map_(pa.string(), pa.int64()))), "a map"),
    (pa.field("m", VARIANT_TYPE, metadata={"ARROW:extension:name": "arrow.parquet.variant"}), "a VARIANT"),
    (pa.field("m", pa.sparse_union([pa.field("n", pa.json_())])), "JSON"),
]


@pytest.mark.parametrize(("member", "what"), IN_UNIONS)
@pytest.mark.parametrize("is_inside", [False, True])
def test_a_member_of_a_union_that_is_not_supported_is_named(member: pa.Field, what: str, is_inside: bool) -> None:
    union = pa.sparse_union([pa.field("n", pa.int64()), member])
    source = pa.schema([pa.field("v", pa.list_(union) if is_inside else union)])
    schema = TableSchema.from_sql("CREATE TABLE main.default.t (v VARIANT)")
    with pytest.raises(SchemaError, match=f"column v holds {what} as a member of a union"):
        ColumnCasts(schema, ConversionRules(), frozenset()).are_whole(source)


UUID = b"0123456789abcdef"
OTHERS: dict[str, tuple[pa.Array, dict[str, Any]]] = {
    "arrow.uuid": (
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([UUID], pa.binary(16))),
        {"STRING": "30313233-3435-3637-3839-616263646566", "BINARY": UUID},
    ),
    "arrow.bool8": (
        pa.ExtensionArray.from_storage(pa.bool8(), pa.array([5], pa.int8())),
        {"BOOLEAN": True, "VARIANT": "true"},
    ),
    "arrow.opaque": (
        pa.ExtensionArray.from_storage(pa.opaque(pa.string(), "inet", "pg"), pa.array(["::1"])),
        {"STRING": "::1", "VARIANT": '"::1"'},
    ),
    "arrow.fixed_shape_tensor": (
        pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.int32(), [2]), pa.array([[1, 2]], pa.list_(pa.int32(), 2))
        ),
        {"ARRAY<INT>": [1, 2], "VARIANT": "[1,2]"},
    ),
}  # fmt: skip
COLUMNS = ["STRING", "BINARY", "BOOLEAN", "INT", "BIGINT", "DOUBLE", "VARIANT", "ARRAY<INT>", "DECIMAL(10,0)", "DATE"]


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("name", OTHERS)
def test_other_extension_types_arrive_as_their_value_or_are_refused(
    name: str, column: str, zerobus: LocalZerobus, table_name: str
) -> None:
    array, meant = OTHERS[name]
    allowed = {**meant, "VARIANT": meant.get("VARIANT", f'"{meant.get("STRING")}"')}
    table = pa.table({"v": array})
    try:
        seen = delivered(zerobus, table_name, f"v {column}", table)
    except (RecordError, SchemaError) as error:
        seen, named = [], "field v" in str(error) or "column v" in str(error)
    else:
        named = [row["v"] for row in seen] == [allowed.get(column, "refused")]
    assert named
