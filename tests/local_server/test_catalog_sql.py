"""Databricks SQL into catalog entries and real Delta tables, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from zerobus_local import AlreadyExists, InvalidRequest, LocalZerobusError, NotFound, UnknownTable
from zerobus_local.catalog.catalog import Catalog
from zerobus_local.catalog.reading import dataset_at
from zerobus_local.catalog.rows import plain_rows, plain_values

EVERY_TYPE = """
CREATE TABLE main.default.every_type (
  a_byte TINYINT, a_short SMALLINT NOT NULL, an_int INT, a_long BIGINT COMMENT 'the key', a_float FLOAT,
  a_double DOUBLE, a_decimal DECIMAL(10, 2), plain_decimal DECIMAL, a_bool BOOLEAN, a_string STRING, a_char CHAR(3),
  a_varchar VARCHAR(20), a_binary BINARY, a_date DATE, a_timestamp TIMESTAMP, local_time TIMESTAMP_NTZ,
  a_variant VARIANT, variants MAP<STRING, VARIANT>,
  an_array ARRAY<STRUCT<x: INT NOT NULL COMMENT 'inner', y: MAP<STRING, DOUBLE>>>
) COMMENT 'one of each'
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "data")


def test_every_delta_type_becomes_a_column_of_a_real_delta_table(catalog: Catalog) -> None:
    table = catalog.create_table(EVERY_TYPE)
    texts = {column.name: column.type_text for column in table.columns}
    assert texts["an_array"] == "array<struct<x:int,y:map<string,double>>>"
    assert texts["a_char"] == "char(3)"
    assert texts["plain_decimal"] == "decimal(10,0)"
    stored = DeltaTable(table.path).schema()
    assert stored == table.delta_schema
    by_name = {field["name"]: field for field in json.loads(stored.to_json())["fields"]}
    assert by_name["a_variant"]["type"] == "string"
    assert by_name["variants"]["type"]["valueType"] == "string"
    assert by_name["a_char"]["metadata"] == {"__CHAR_VARCHAR_TYPE_STRING": "char(3)"}
    assert by_name["a_short"]["nullable"] is False
    assert by_name["a_long"]["metadata"] == {"comment": "the key"}
    assert DeltaTable(table.path).metadata().description == "one of each"


def test_a_catalog_opened_again_on_the_folder_knows_everything(catalog: Catalog) -> None:
    catalog.execute(
        f"""CREATE CATALOG other COMMENT 'second'; CREATE SCHEMA other.s; {EVERY_TYPE};
        CREATE TABLE other.s.t (x INT, CONSTRAINT positive CHECK (x > 0)) PARTITIONED BY (x)
        TBLPROPERTIES ('k' = 'v')"""
    )
    catalog.principals.create("second")
    catalog.execute("GRANT SELECT ON TABLE other.s.t TO second")
    again = Catalog(catalog.data)
    assert again.state == catalog.state
    assert again.principals.all() == catalog.principals.all()
    assert again.table("other.s.t").properties == {"k": "v"}


def test_a_data_folder_can_be_moved(catalog: Catalog, tmp_path: Path) -> None:
    catalog.execute("CREATE TABLE main.default.t (x INT)")
    moved = Catalog(catalog.data.rename(tmp_path / "elsewhere"))
    assert DeltaTable(moved.table("main.default.t").path).version() == 0


def test_columns_beside_a_dropped_one_keep_their_rows_and_their_inner_not_null(catalog: Catalog) -> None:
    catalog.execute(
        """CREATE TABLE main.default.t (gone INT, one STRUCT<x: INT NOT NULL COMMENT 'inner', y: STRING>,
        many ARRAY<STRUCT<x: INT NOT NULL>>, by_name MAP<STRING, STRUCT<x: INT NOT NULL>>)"""
    )
    table = catalog.table("main.default.t")
    values = {"one": {"x": 1, "y": None}, "many": [{"x": 2}, {"x": 3}], "by_name": [("a", {"x": 4})]}
    rows = [{"gone": 0, **values}, {"gone": 1, "one": None, "many": None, "by_name": None}]
    columns = pa.schema(DeltaTable(table.path).schema().to_arrow())
    write_deltalake(table.path, pa.Table.from_pylist(rows, schema=columns), mode="append")
    catalog.execute("ALTER TABLE main.default.t DROP COLUMN gone")
    assert dataset_at(table.path).to_table().to_pylist() == [
        {name: row[name] for name in ("one", "many", "by_name")} for row in rows
    ]
    assert DeltaTable(table.path).schema() == catalog.table("main.default.t").delta_schema


def test_names_are_kept_in_lower_case_and_found_in_any(catalog: Catalog) -> None:
    catalog.execute("CREATE TABLE Main.Default.Flights (FlightNo INT)")
    assert catalog.table("MAIN.default.FLIGHTS").full_name == "main.default.flights"
    assert [column.name for column in catalog.table("main.default.flights").columns] == ["FlightNo"]


def test_an_added_column_comes_last_and_a_dropped_one_leaves_a_gap(catalog: Catalog) -> None:
    catalog.execute(
        """CREATE TABLE main.default.t (a INT, b INT, c INT);
        ALTER TABLE main.default.t ADD COLUMN d STRING COMMENT 'new';
        ALTER TABLE main.default.t DROP COLUMN b;
        ALTER TABLE main.default.t ADD COLUMNS (e INT, f INT)"""
    )
    table = catalog.table("main.default.t")
    positions = {column.name: column.position for column in table.columns}
    assert positions == {"a": 0, "c": 2, "d": 3, "e": 4, "f": 5}
    assert DeltaTable(table.path).schema() == table.delta_schema


def test_a_table_that_is_replaced_is_another_table(catalog: Catalog) -> None:
    before = catalog.create_table("CREATE TABLE main.default.t (x INT)")
    after = catalog.create_table("CREATE OR REPLACE TABLE main.default.t (y STRING)")
    assert after.table_id != before.table_id
    assert DeltaTable(after.path).schema() == after.delta_schema


def test_if_not_exists_keeps_what_is_there(catalog: Catalog) -> None:
    before = catalog.create_table("CREATE TABLE main.default.t (x INT)")
    assert catalog.create_table("CREATE TABLE IF NOT EXISTS main.default.t (y STRING)") == before


def test_a_dropped_table_is_gone_with_its_rows_and_its_grants(catalog: Catalog) -> None:
    path = catalog.create_table("CREATE TABLE main.default.t (x INT)").path
    catalog.execute("DROP TABLE main.default.t")
    assert not path.exists()
    assert not [grant for grant in catalog.state.grants if grant.full_name == "main.default.t"]
    with pytest.raises(UnknownTable, match="does not exist"):
        catalog.table("main.default.t")
    catalog.execute("DROP TABLE IF EXISTS main.default.t")


def test_a_schema_that_is_not_empty_is_dropped_only_with_cascade(catalog: Catalog) -> None:
    catalog.execute("CREATE CATALOG c; CREATE SCHEMA c.s; CREATE TABLE c.s.t (x INT)")
    with pytest.raises(InvalidRequest, match="CASCADE"):
        catalog.execute("DROP SCHEMA c.s")
    with pytest.raises(InvalidRequest, match="CASCADE"):
        catalog.execute("DROP CATALOG c")
    catalog.execute("DROP CATALOG c CASCADE")
    assert "c" not in catalog.state.catalogs
    assert not (catalog.data / "tables" / "c" / "s" / "t").exists()


def test_what_a_crash_left_over_does_not_stand_in_the_way(catalog: Catalog) -> None:
    folder = catalog.data / "tables" / "main" / "default" / "t"
    (folder / "_delta_log").mkdir(parents=True)
    (folder / "_delta_log" / "00000000000000000000.json").write_text("half a lo")
    assert DeltaTable(catalog.create_table("CREATE TABLE main.default.t (x INT)").path).version() == 0


def test_defaults_and_clustering_are_accepted_with_a_note(catalog: Catalog) -> None:
    [result] = catalog.execute("CREATE TABLE main.default.t (x INT DEFAULT 3, v VARIANT) CLUSTER BY (x)")
    notes = " ".join(result.notes)
    assert "does not apply DEFAULT 3" in notes
    assert "VARIANT is stored as its JSON text" in notes
    assert "clustering" in notes


def test_checks_stand_in_the_delta_table(catalog: Catalog) -> None:
    table = catalog.create_table("CREATE TABLE main.default.t (x INT CHECK (x < 9), CONSTRAINT p CHECK (x > 0))")
    catalog.execute("ALTER TABLE main.default.t ADD CONSTRAINT odd CHECK (x % 2 = 1)")
    catalog.execute("ALTER TABLE main.default.t DROP CONSTRAINT p")
    expected = {"delta.constraints.x_check": "x < 9", "delta.constraints.odd": "x % 2 = 1"}
    assert DeltaTable(table.path).metadata().configuration == expected
    assert {check.name for check in catalog.table("main.default.t").checks} == {"x_check", "odd"}


def test_a_select_is_answered_from_the_delta_tables(catalog: Catalog) -> None:
    catalog.execute("CREATE TABLE main.default.t (x INT); CREATE TABLE main.default.u (x INT)")
    [result] = catalog.execute(
        "WITH c AS (SELECT count(*) AS n FROM main.default.t) SELECT n, count(u.x) FROM c, main.default.u GROUP BY n"
    )
    assert result.rows.num_columns == 2


@pytest.mark.parametrize(
    ("sql", "kind", "says"),
    [
        ("CREATE TABLE main.default.t (x INT", InvalidRequest, "line 1, column 3"),
        (
            "CREATE TABLE main.default.u (x INT);\n\nCREATE TABLE main.default.t (x INT y INT)",
            InvalidRequest,
            "line 3",
        ),
        ("CREATE TABLE main.default.t (x INTERVAL)", InvalidRequest, "column x: type INTERVAL"),
        ("CREATE TABLE main.default.t (x ARRAY<STRUCT<y: VOID>>)", InvalidRequest, r"column x\.element\.y: type VOID"),
        ("CREATE TABLE main.default.t (x DECIMAL(39, 2))", InvalidRequest, "1 <= p <= 38"),
        ("CREATE TABLE main.default.t (x DECIMAL(3, 4))", InvalidRequest, "0 <= s <= p"),
        ("CREATE TABLE main.default.t (x VARCHAR)", InvalidRequest, "column x: .* from 1 to 65535"),
        ("CREATE TABLE main.default.t (x INT, X STRING)", InvalidRequest, "column X appears twice"),
        ("CREATE TABLE main.default.t (`x y` INT)", InvalidRequest, "column name 'x y'"),
        ("CREATE TABLE main.default.t (größe INT)", InvalidRequest, "column name 'größe'"),
        ("CREATE TABLE main.default.t (s STRUCT<`a.b`: INT>)", InvalidRequest, r"field s\.a\.b"),
        ("CREATE TABLE main.default.`../../../t` (x INT)", InvalidRequest, "table name '../../../t'"),
        ("CREATE TABLE main.`..`.t (x INT)", InvalidRequest, "schema name '..'"),
        ("CREATE TABLE main.default.`a/b` (x INT)", InvalidRequest, "table name 'a/b'"),
        ("CREATE CATALOG `..`", InvalidRequest, "catalog name '..'"),
        ("CREATE SCHEMA main.`.`", InvalidRequest, "schema name '.'"),
        ("CREATE TABLE t (x INT)", InvalidRequest, r"catalog\.schema\.table"),
        ("CREATE TABLE main.default.t", InvalidRequest, "has no columns"),
        ("CREATE TABLE main.default.t AS SELECT 1", InvalidRequest, "has no columns"),
        (
            "CREATE TABLE main.default.t (x INT) LOCATION 's3://b/t'",
            InvalidRequest,
            "does not make a managed Delta table",
        ),
        ("CREATE TABLE main.default.t (x INT) USING PARQUET", InvalidRequest, "does not make a managed Delta table"),
        ("CREATE TABLE main.default.t (x INT) PARTITIONED BY (y)", InvalidRequest, "PARTITIONED BY refers to 'y'"),
        ("CREATE TABLE main.default.t (x INT) PARTITIONED BY (y INT)", InvalidRequest, "declare the column with"),
        ("CREATE TABLE main.default.t (x INT GENERATED ALWAYS AS (1))", InvalidRequest, "column x: .*not supported"),
        (
            "CREATE TABLE main.default.t (x BIGINT GENERATED ALWAYS AS IDENTITY)",
            InvalidRequest,
            "column x: .*not supported",
        ),
        ("CREATE TABLE main.default.t (x INT, CONSTRAINT c CHECK (nope > 1))", InvalidRequest, "constraint c"),
        ("CREATE TABLE main.default.t (x NOPE)", InvalidRequest, "line 1, column 35: NOPE is not a type$"),
        ("CREATE TABLE main.default.t (x INT,\ny NOPE(3))", InvalidRequest, "line 2, column 6: NOPE is not a type$"),
        ("CREATE TABLE main.default.t (x ARRAY<NOPE>)", InvalidRequest, "NOPE is not a type$"),
        ("CREATE TABLE main.default.t (x INT y INT)", InvalidRequest, r"Expecting \)"),
        ("SELECT CAST('x' AS BIGINT)", InvalidRequest, "^the query failed: Cast error: Cannot cast string 'x'"),
        ("CREATE TABLE main.nope.t (x INT)", NotFound, "CREATE SCHEMA main.nope first"),
        ("CREATE SCHEMA nope.s", NotFound, "CREATE CATALOG nope first"),
        ("CREATE CATALOG main", AlreadyExists, "IF NOT EXISTS"),
        ("CREATE VIEW main.default.v AS SELECT 1", InvalidRequest, "CREATE VIEW is not supported"),
        ("INSERT INTO main.default.t VALUES (1)", UnknownTable, "does not exist"),
        ("UPDATE main.default.t SET a = 1", InvalidRequest, "line 1: UPDATE is not a statement"),
        ("INSERT OVERWRITE main.default.t SELECT 1", InvalidRequest, "is not supported by the local catalog"),
        ("DELETE FROM main.default.t", UnknownTable, "does not exist"),
        ("DESCRIBE main.default.t", UnknownTable, "does not exist"),
        ("SHOW TABLES IN main.nope", NotFound, "schema main.nope does not exist"),
        ("DROP TABLE main.default.t", UnknownTable, "does not exist"),
        ("ALTER TABLE main.default.t ADD COLUMN x INT", UnknownTable, "does not exist"),
        ("SELECT * FROM main.default.t", UnknownTable, "does not exist"),
        ("SELECT nope(1)", InvalidRequest, "the query failed"),
        ("GRANT FLY ON TABLE main.default.t TO p", InvalidRequest, "column 9: expected a privilege .*found 'FLY'"),
        ("GRANT SELECT ON TABLE main.default TO p", InvalidRequest, "needs 3 parts"),
        ("GRANT USE CATALOG ON SCHEMA main.default TO p", InvalidRequest, "cannot be granted on a SCHEMA"),
        ("GRANT USE CATALOG ON CATALOG main TO nobody", NotFound, "service principal 'nobody'"),
        ("REVOKE USE CATALOG ON CATALOG main", InvalidRequest, "expected FROM, found the end"),
        ("CREATE CATALOG c COMMENT 'x' nonsense", InvalidRequest, "expected the end of the statement"),
        ("", InvalidRequest, "no SQL statement"),
        (";;", InvalidRequest, "no SQL statement"),
        ("SELECT 'unterminated", InvalidRequest, "cannot be read"),
        ("CREATE TABLE main.default.t (x " + "ARRAY<" * 2000 + "INT" + ">" * 2000 + ")", InvalidRequest, "nested"),
        (f"CREATE TABLE main.default.t ({', '.join(f'c{i} INT' for i in range(2001))})", InvalidRequest, "2000"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
def test_bad_sql_is_refused_with_what_where_and_what_to_do(
    catalog: Catalog, sql: str, kind: type[LocalZerobusError], says: str
) -> None:
    before = {path for path in catalog.data.parent.rglob("*") if "main/default/u" not in str(path)}
    with pytest.raises(kind, match=says):
        catalog.execute(sql)
    assert not [name for name in catalog.state.tables if name.table == "t"]
    left = {path for path in catalog.data.parent.rglob("*") if "main/default/u" not in str(path)} - before
    assert all(path.is_relative_to(catalog.data) and not path.is_file() for path in left)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("ALTER TABLE main.default.t ADD COLUMN x INT", "column x .* already exists"),
        ("ALTER TABLE main.default.t ADD COLUMN X INT", "column X .* already exists"),
        ("ALTER TABLE main.default.t ADD COLUMN y INT NOT NULL", "must be nullable"),
        ("ALTER TABLE main.default.t ADD COLUMN y INT FIRST", "FIRST and AFTER"),
        ("ALTER TABLE main.default.t DROP COLUMN y", "no column y; it has x, z"),
        ("ALTER TABLE main.default.t DROP COLUMN z", "constraint positive .* uses z"),
        ("ALTER TABLE main.default.t DROP COLUMN x", "partitioned by x"),
        ("ALTER TABLE main.default.t RENAME COLUMN x TO y", "not supported"),
        ("ALTER TABLE main.default.t ADD CONSTRAINT positive CHECK (x > 1)", "already exists"),
        ("ALTER TABLE main.default.t ADD CONSTRAINT c CHECK (y > 1)", "constraint c: .*cannot be added"),
        ("ALTER TABLE main.default.t DROP CONSTRAINT c", "no constraint c"),
        ("CREATE TABLE main.default.t (x INT)", "already exists"),
        (
            "CREATE OR REPLACE TABLE main.default.t (x INT, CONSTRAINT c CHECK (y > 1))",
            "constraint c: .*cannot be added",
        ),
    ],
)
def test_a_refused_alteration_changes_nothing(catalog: Catalog, sql: str, says: str) -> None:
    table = catalog.create_table(
        "CREATE TABLE main.default.t (x INT, z INT, CONSTRAINT positive CHECK (z > 0)) PARTITIONED BY (x)"
    )
    version = DeltaTable(table.path).version()
    with pytest.raises(LocalZerobusError, match=says):
        catalog.execute(sql)
    assert catalog.table("main.default.t") == table
    assert DeltaTable(table.path).version() == version


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT 1=1" + " AND 1=1" * 20_000, "nested too deeply"),
        ("SELECT 1" + " + 1" * 300, "nested too deeply"),
        ("SELECT 1" + " UNION ALL SELECT 1" * 2_000, "more than 128 SELECTs"),
        ("SELECT 1" + " UNION ALL SELECT 1" * 200, "more than 128 SELECTs"),
        ("SELECT 1 FROM (SELECT 1) a" + "".join(f" CROSS JOIN (SELECT 1) b{n}" for n in range(100)), "more than 128"),
        (
            "WITH c0 AS (SELECT 1 AS x)"
            + "".join(f", c{n + 1} AS (SELECT x FROM c{n})" for n in range(100))
            + " SELECT x FROM c100",
            "more than 128",
        ),
        (f"CREATE TABLE main.default.t (x INT, CONSTRAINT c CHECK ({' AND '.join(['x > 0'] * 2_000)}))", "nested too"),
        ("SELECT 1;" * 20_000, "20000 statements; a script can have at most 1000"),
    ],
    ids=lambda value: value[:40],
)
def test_sql_that_an_engine_could_break_down_over_is_refused_before_it_gets_there(
    catalog: Catalog, sql: str, says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        catalog.execute(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1=1" + " AND 1=1" * 250,
        "SELECT 1" + " + 1" * 250,
        "SELECT 1" + " UNION ALL SELECT 1" * 120,
        "SELECT 1 FROM (SELECT 1) a" + "".join(f" CROSS JOIN (SELECT 1) b{n}" for n in range(60)),
        "SELECT 1;" * 30,
    ],
    ids=lambda value: value[:40],
)
def test_long_sql_within_the_bounds_is_answered(catalog: Catalog, sql: str) -> None:
    assert catalog.execute(sql)[-1].rows.num_rows >= 1


def test_a_check_as_long_as_the_bounds_allow_holds(catalog: Catalog) -> None:
    condition = " AND ".join(["x > 0"] * 240)
    table = catalog.create_table(f"CREATE TABLE main.default.t (x INT, CONSTRAINT c CHECK ({condition}))")
    delta = DeltaTable(table.path)
    write_deltalake(delta, pa.table({"x": pa.array([1], pa.int32())}), mode="append")
    with pytest.raises(DeltaError):
        write_deltalake(delta, pa.table({"x": pa.array([-1], pa.int32())}), mode="append")


def test_a_select_with_two_columns_of_one_name_is_refused_where_one_would_be_lost(catalog: Catalog) -> None:
    rows = catalog.execute("SELECT a.x, b.x FROM (SELECT 1 AS x) a, (SELECT 2 AS x) b")[0].rows
    assert rows is not None
    with pytest.raises(InvalidRequest, match="several columns of the result are called x: rename them with AS"):
        plain_rows(rows)
    assert plain_values(rows) == [(1, 2)]


def test_a_table_name_can_have_255_characters(catalog: Catalog) -> None:
    names = ["n" * 230, "n" * 254 + "a", "n" * 254 + "b"]
    for name in names:
        catalog.execute(f"CREATE TABLE main.default.{name} (id BIGINT)")
    for name in names:
        path = catalog.table(f"main.default.{name}").path
        assert DeltaTable(path).version() == 0
        assert {folder.name for folder in path.parent.iterdir()} == set(names)


def test_the_name_of_a_column_constraint_is_checked_and_can_be_dropped(catalog: Catalog) -> None:
    with pytest.raises(InvalidRequest, match="constraint name 'bad name' cannot be used"):
        catalog.execute("CREATE TABLE main.default.t (x INT CONSTRAINT `bad name` CHECK (x > 0))")
    catalog.execute("CREATE TABLE main.default.t (x INT CONSTRAINT `Good` CHECK (x > 0))")
    assert [check.name for check in catalog.table("main.default.t").checks] == ["good"]
    catalog.execute("ALTER TABLE main.default.t DROP CONSTRAINT `Good`")
