"""ZerobusIngestComponent: from YAML to rows in the table."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster.components.testing.utils import create_defs_folder_sandbox

from zerobus_core.workspace import ClientCredentials
from zerobus_dagster import ZerobusIngestComponent, ZerobusResource
from zerobus_local import LocalZerobus

# Dagster reads YAML through a function that pydantic deprecates, and marks its links to YAML lines as beta.
pytestmark = [
    pytest.mark.matrix,
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated:DeprecationWarning:dagster"),
    pytest.mark.filterwarnings(
        "ignore:Class `(LocalFileCodeReference|CodeReferencesMetadataValue)` is currently in beta"
    ),
]

ROWS = [{"id": n, "carrier": "UA", "delay": n / 2} for n in range(100)]


def fetch_flights(context: dg.AssetExecutionContext) -> list[dict[str, Any]]:
    """What a project would have in a module of its own."""
    context.log.info("fetching")
    return ROWS


@contextmanager
def loaded(
    attributes: dict[str, Any], files: dict[str, list[dict[str, Any]]] | None = None
) -> Iterator[dg.Definitions]:
    """The definitions of a project whose one component has these attributes, and these Parquet files next to it."""
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(
            component_cls=ZerobusIngestComponent,
            defs_path="flights",
            defs_yaml_contents={"type": "zerobus_dagster.ZerobusIngestComponent", "attributes": attributes},
        )
        for name, rows in (files or {}).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows), path)
        with sandbox.load_component_and_build_defs(defs_path=folder) as (_, definitions):
            yield definitions


def run(definitions: dg.Definitions, instance: dg.DagsterInstance, **options: Any) -> dg.ExecuteInProcessResult:
    job = definitions.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, raise_on_error=False, **options)


def with_resource(definitions: dg.Definitions, zerobus: ZerobusResource) -> dg.Definitions:
    return dg.Definitions.merge(definitions, dg.Definitions(resources={"zerobus": zerobus}))


@pytest.fixture
def environment(server: LocalZerobus, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = server.workspace.credentials
    assert isinstance(credentials, ClientCredentials)
    monkeypatch.setenv("ZEROBUS_SERVER_ENDPOINT", server.workspace.endpoint)
    monkeypatch.setenv("DATABRICKS_HOST", server.workspace.workspace_url)
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", credentials.client_id)
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", credentials.client_secret)


@pytest.mark.usefixtures("environment")
def test_files_beside_the_yaml_are_pushed_and_checked_with_names_of_variables_only(
    server: LocalZerobus, table: str, instance: dg.DagsterInstance
) -> None:
    attributes = {
        "table": table,
        "source": "data/*.parquet",
        "connection": {"client_id_env": "DATABRICKS_CLIENT_ID"},
        "delivery_check": {"min_rows": 100},
        "options": {"batch_rows": 10},
    }
    with loaded(attributes, {"data/1.parquet": ROWS[:40], "data/2.parquet": ROWS[40:]}) as definitions:
        result = run(definitions, instance)
    assert result.success
    assert server.read(table).sort_by("id").to_pylist() == ROWS
    (check,) = result.get_asset_check_evaluations()
    assert check.passed
    (node,) = [event for event in result.all_events if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION]
    assert node.asset_key == dg.AssetKey(table.split("."))


@pytest.mark.usefixtures("environment")
def test_rows_of_files_beside_the_yaml_have_the_name_of_their_file(
    server: LocalZerobus, instance: dg.DagsterInstance
) -> None:
    table = "main.default.with_files"
    server.create_table(f"CREATE TABLE {table} (id BIGINT, carrier STRING, delay DOUBLE, file STRING, number BIGINT)")
    columns = {"file_name": "file", "row_number": "number"}
    attributes = {
        "table": table,
        "source": "data/*.parquet",
        "connection": {"client_id_env": "DATABRICKS_CLIENT_ID"},
        "options": {"metadata_columns": columns},
    }
    with loaded(attributes, {"data/1.parquet": ROWS[:40], "data/2.parquet": ROWS[40:]}) as definitions:
        result = run(definitions, instance)
    assert result.success
    found = [(row["file"], row["number"]) for row in server.read(table).sort_by("id").to_pylist()]
    assert found == [*(("1.parquet", n) for n in range(40)), *(("2.parquet", n) for n in range(60))]


def test_a_function_is_pushed_through_the_resource_of_the_project(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    attributes = {
        "table": table,
        "records": f"{fetch_flights.__module__}.fetch_flights",
        "asset": {"key": "air/flights", "group_name": "air", "metadata": {"team": "ops"}},
        "retries": {"max_retries": 1, "delay": 0.1},
        "op": {"pool": "zerobus"},
    }
    with loaded(attributes) as definitions:
        everything = with_resource(definitions, zerobus)
        key = dg.AssetKey(["air", "flights"])
        spec = everything.resolve_assets_def(key).specs_by_key[key]
        result = run(everything, instance)
    assert spec.kinds == {"databricks", "zerobus"}
    assert spec.metadata["dagster/table_name"] == table
    assert spec.metadata["team"] == "ops"
    assert result.success
    assert server.read(table).num_rows == 100


def test_options_for_columns_are_those_of_the_core(
    server: LocalZerobus,
    table: str,
    zerobus: ZerobusResource,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "row_functions.py").write_text("def even(row):\n    return row if row['id'] % 2 == 0 else None\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    attributes = {
        "table": table,
        "records": f"{fetch_flights.__module__}.fetch_flights",
        "delivery_check": {"min_rows": 100},
        "options": {
            "transform": "row_functions:even",
            "transform_version": "first",
            "select": ["id", "carrier"],
            "rename": {"carrier": "operator"},
            "constants": {"CARRIER": "all"},
            "extra_columns": "drop",
        },
    }
    with loaded(attributes) as definitions:
        result = run(with_resource(definitions, zerobus), instance)
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert check.passed
    assert server.read(table).sort_by("id").to_pylist() == [
        {"id": number, "carrier": "all", "delay": None} for number in range(0, 100, 2)
    ]
    (node,) = [event for event in result.all_events if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION]
    assert node.materialization.metadata["dagster-zerobus/rows_filtered"].value == 50


def test_the_source_names_the_partition_of_the_run(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    attributes = {
        "table": table,
        "source": "{partition_key}.parquet",
        "asset": {"key": "flights", "partitions_def": {"type": "static", "partition_keys": ["jan", "feb"]}},
        "op": {"backfill_policy": {"type": "single_run"}},
    }
    files = {"jan.parquet": ROWS[:10], "feb.parquet": ROWS[10:30]}
    with loaded(attributes, files) as definitions:
        everything = with_resource(definitions, zerobus)
        assert run(everything, instance, partition_key="feb").success
        assert server.read(table).num_rows == 20
        tags = {"dagster/asset_partition_range_start": "jan", "dagster/asset_partition_range_end": "feb"}
        result = run(everything, instance, tags=tags)
    events = result.asset_materializations_for_node("flights")
    assert {event.partition: event.metadata["dagster-zerobus/rows_read"].value for event in events} == {
        "jan": 10,
        "feb": 20,
    }


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({}, "set one of source"),
        ({"source": "a.csv", "records": "a.b"}, "set one of source"),
        ({"records": "no.such.module"}, "records must be the name of a function"),
        ({"source": "{partition_key}.csv"}, "no partitions_def"),
        ({"source": "a.csv", "client_secret": "literal"}, "client_secret"),
        ({"source": "a.csv", "options": {"stream": 4}}, "no such ingest option: stream"),
        ({"source": ""}, "set one of source"),
        ({"source": "a.csv", "tables": [{"table": "main.default.t", "source": "a.csv"}]}, "set either tables"),
        ({"sql": {"query": "SELECT :partition_key"}}, "no partitions_def"),
        ({"source": "a.csv", "table": "default.t"}, "not a full table name; expected catalog.schema.table"),
        ({"source": "a.csv", "retries": {"max_retries": -1}}, "greater than or equal to 0"),
        ({"source": "a.csv", "delivery_check": {"min_rows": 2, "max_rows": 1}}, "min_rows 2 is more than max_rows 1"),
    ],
)
def test_mistakes_in_the_yaml_are_told_when_definitions_are_loaded(
    attributes: dict[str, Any], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception, match="flights") as caught, loaded({"table": "main.default.t", **attributes}):
        pass
    chain, error = [], caught.value
    while error is not None:
        chain.append(str(error))
        error = error.__cause__ or error.__context__  # type: ignore[assignment]  # the chain ends in None
    assert text in "\n".join(chain)


def database(folder: Path) -> str:
    """The URL of a database with 100 flights, 50 of each of two days."""
    path = folder / "flights.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE flights (id INTEGER, carrier TEXT, delay REAL, day TEXT)")
        rows = [(row["id"], row["carrier"], row["delay"], f"2026-01-0{1 + row['id'] % 2}") for row in ROWS]
        connection.executemany("INSERT INTO flights VALUES (?, ?, ?, ?)", rows)
    return f"sqlite:///{path}"


def test_the_rows_of_a_query_are_pushed_and_resumed_if_it_says_their_order(
    server: LocalZerobus,
    table: str,
    zerobus: ZerobusResource,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLIGHTS_DB", database(tmp_path))
    attributes = {
        "table": table,
        "sql": {
            "query": "SELECT id, carrier, delay FROM flights WHERE day = :partition_key ORDER BY id",
            "url_env": "FLIGHTS_DB",
            "order_by": "id",
        },
        "asset": {
            "key": "flights",
            "partitions_def": {"type": "static", "partition_keys": ["2026-01-01", "2026-01-02"]},
        },
    }
    with loaded(attributes) as definitions:
        result = run(with_resource(definitions, zerobus), instance, partition_key="2026-01-02")
    (event,) = result.asset_materializations_for_node("flights")
    assert event.metadata["dagster-zerobus/receipt"].value["source_fingerprint"]
    assert sorted(server.read(table)["id"].to_pylist()) == [row["id"] for row in ROWS if row["id"] % 2]


@pytest.mark.parametrize("level", ["resource", "component", "component of several tables", "table"])
def test_a_source_version_in_the_options_names_the_rows_of_an_ordered_query(
    table: str,
    zerobus_with: Callable[..., ZerobusResource],
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    level: str,
) -> None:
    monkeypatch.setenv("FLIGHTS_DB", database(tmp_path))
    query = "SELECT id, carrier, delay FROM flights ORDER BY id"
    sql = {"query": query, "url_env": "FLIGHTS_DB", "order_by": "id"}
    options = {name: {"options": {"source_version": "mine"}} if name == level else {} for name in ("resource", "table")}
    one = {"table": table, "sql": sql, "asset": {"key": "flights"}, **options["table"]}
    attributes = {"tables": [one]} if level in {"table", "component of several tables"} else one
    if level.startswith("component"):
        attributes["options"] = {"source_version": "mine"}
    with loaded(attributes) as definitions:
        result = run(with_resource(definitions, zerobus_with(**options["resource"])), instance)
    (event,) = result.asset_materializations_for_node("flights")
    version = hashlib.blake2b(b"mine", digest_size=16).hexdigest()
    assert event.metadata["dagster-zerobus/receipt"].value["source_fingerprint"] == f"version:{version}"


def test_several_tables_of_one_component_have_keys_by_its_translation(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    other = f"{table}_other"
    server.create_table(f"CREATE TABLE {other} (id BIGINT, carrier STRING, delay DOUBLE)")
    attributes = {
        "tables": [
            {"table": table, "source": "a.parquet"},
            {"table": other, "records": f"{fetch_flights.__module__}.fetch_flights", "options": {"streams": 2}},
        ],
        "translation": {"key": "air/{{ table.split('.')[-1] }}", "group_name": "air"},
        "on_rematerialize": "refuse",
        "delivery_check": {"min_rows": 1, "name": "not_empty"},
    }
    with loaded(attributes, {"a.parquet": ROWS[:40]}) as definitions:
        everything = with_resource(definitions, zerobus)
        first, second = run(everything, instance), run(everything, instance)
    keys = {event.asset_key for event in first.get_asset_materialization_events()}
    assert keys == {dg.AssetKey(["air", name.rpartition(".")[2]]) for name in (table, other)}
    assert {check.check_name for check in first.get_asset_check_evaluations()} == {"not_empty"}
    assert not second.success
    assert (server.read(table).num_rows, server.read(other).num_rows) == (40, 100)


def test_a_launch_changes_the_options_of_a_component(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    attributes = {"table": table, "records": f"{fetch_flights.__module__}.fetch_flights", "asset": {"key": "flights"}}
    with loaded(attributes) as definitions:
        launch = {"ops": {"flights": {"config": {"options": {"record_format": "json"}}}}}
        result = run(with_resource(definitions, zerobus), instance, run_config=launch)
    (event,) = result.asset_materializations_for_node("flights")
    assert event.metadata["dagster-zerobus/receipt"].value["record_format"] == "json"


def test_the_scaffolded_yaml_loads_and_holds_names_of_variables_only() -> None:
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(
            component_cls=ZerobusIngestComponent,
            defs_path="flights",
            scaffold_params={"table": "main.default.flights", "source": "data/*.parquet"},
        )
        text = (folder / "defs.yaml").read_text()
        with sandbox.load_component_and_build_defs(defs_path=folder) as (component, _):
            assert isinstance(component, ZerobusIngestComponent)
            assert component.get_asset_spec().key == dg.AssetKey(["main", "default", "flights"])
    assert "client_secret_env: DATABRICKS_CLIENT_SECRET" in text


def test_a_subclass_changes_the_records_on_their_way(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    class Upper(ZerobusIngestComponent):
        def execute(
            self, context: dg.AssetExecutionContext, zerobus: ZerobusResource, records: Any
        ) -> Iterator[dg.MaterializeResult[Any]]:
            yield from super().execute(context, zerobus, [{**row, "carrier": "XX"} for row in records])

    component = Upper.from_attributes_dict(
        attributes={"table": table, "records": f"{fetch_flights.__module__}.fetch_flights"}
    )
    definitions = component.build_defs(dg.ComponentTree.for_test().load_context)
    result = with_resource(definitions, zerobus).resolve_implicit_global_asset_job_def().execute_in_process()
    assert result.success
    assert set(server.read(table)["carrier"].to_pylist()) == {"XX"}
