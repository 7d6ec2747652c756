"""The Dagster examples and the code of the guide, as they are in the repository, against the local service."""

import re
import runpy
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from zerobus_core.workspace import ClientCredentials
from zerobus_dagster import ZerobusIngestComponent
from zerobus_local import LocalZerobus

EXAMPLES = Path(__file__).parents[2] / "example_dags"


@pytest.fixture(autouse=True)
def environment(server: LocalZerobus, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = server.workspace.credentials
    assert isinstance(credentials, ClientCredentials)
    monkeypatch.setenv("ZEROBUS_SERVER_ENDPOINT", server.workspace.endpoint)
    monkeypatch.setenv("DATABRICKS_HOST", server.workspace.workspace_url)
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", credentials.client_id)
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", credentials.client_secret)


def create_table(server: LocalZerobus, sql: str) -> None:
    """Examples share names of tables, and the order of tests is not fixed."""
    server.create_table(sql.replace("CREATE TABLE", "CREATE OR REPLACE TABLE", 1))


def run(example: dict[str, Any], **options: Any) -> dg.ExecuteInProcessResult:
    definitions: dg.Definitions = example["defs"]
    return definitions.resolve_implicit_global_asset_job_def().execute_in_process(**options)


def test_the_weather_of_new_york_becomes_a_table_and_passes_its_check(server: LocalZerobus) -> None:
    example = runpy.run_path(str(EXAMPLES / "dagster_weather.py"))
    create_table(server, example["CREATE_TABLE"])
    result = run(example)
    assert server.read("main.default.weather").num_rows == 26_115
    (check,) = result.get_asset_check_evaluations()
    assert check.passed


def test_three_months_of_flights_are_one_run_with_the_figures_of_each_month(server: LocalZerobus) -> None:
    example = runpy.run_path(str(EXAMPLES / "dagster_flights_by_month.py"))
    create_table(server, example["CREATE_TABLE"])
    tags = {
        "dagster/asset_partition_range_start": "2013-01-01",
        "dagster/asset_partition_range_end": "2013-03-01",
    }
    result = run(example, tags=tags)
    acked = {
        event.partition: event.metadata["dagster-zerobus/rows_acked"].value
        for event in result.asset_materializations_for_node("flights")
    }
    assert acked == {"2013-01-01": 27_004, "2013-02-01": 24_951, "2013-03-01": 28_834}
    assert server.read("main.default.flights_by_month").num_rows == 27_004 + 24_951 + 28_834


def test_the_pages_of_an_api_are_delivered_by_an_async_asset(server: LocalZerobus) -> None:
    example = runpy.run_path(str(EXAMPLES / "dagster_async.py"))
    create_table(server, example["CREATE_TABLE"])
    assert run(example).success
    assert sorted(server.read("main.default.readings")["id"].to_pylist()) == list(range(1_000))


# Dagster's client of pipes uses what Dagster has deprecated, and what is in preview.
@pytest.mark.filterwarnings("ignore")
def test_the_command_line_delivers_in_a_process_of_its_own(server: LocalZerobus) -> None:
    example = runpy.run_path(str(EXAMPLES / "dagster_pipes.py"))
    create_table(server, example["CREATE_TABLE"])
    assert run(example).success
    assert server.read("main.default.airlines").num_rows == 16


def test_the_handoff_delivers_each_file_once(
    server: LocalZerobus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANDOFF_FOLDER", str(tmp_path))
    (tmp_path / "landing").mkdir()
    example = runpy.run_path(str(EXAMPLES / "dagster_handoff.py"))
    create_table(server, f"CREATE TABLE {example['TABLE']} (sensor BIGINT)")
    for number in range(2):
        (tmp_path / "landing" / f"{number}.jsonl").write_text(f'{{"sensor": {number}}}\n')
        assert run(example).success
    assert sorted(server.read(example["TABLE"]).column("sensor").to_pylist()) == [0, 1]


def blocks(language: str) -> list[str]:
    """The code blocks of the guide, in order."""
    guide = (EXAMPLES.parent / "docs" / "dagster.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", guide, flags=re.MULTILINE | re.DOTALL)


def test_the_python_of_the_guide_runs_and_fills_its_tables(server: LocalZerobus) -> None:
    for table in ("orders", "daily_orders", "hourly_orders", "returns", "readings", "clicks"):
        server.create_table(f"CREATE OR REPLACE TABLE main.default.{table} (id BIGINT, amount DOUBLE)")
    namespace: dict[str, Any] = {}
    results, managers = [], {}
    for block in blocks("python"):
        namespace.pop("defs", None)
        exec(block, namespace)  # our own guide
        if "defs" in namespace:
            results.append(run(namespace))
            managers.update(namespace["defs"].resources)
    hourly = namespace["hourly_orders"]
    results.append(dg.materialize([hourly], resources=managers, partition_key="2026-01-01"))
    receipts = [
        event.materialization.metadata["dagster-zerobus/receipt"].value
        for result in results
        for event in result.get_asset_materialization_events()
    ]
    assert [receipt["rows_acked"] for receipt in receipts] == [1_000, 2, 24]
    assert all(receipt["source_fingerprint"] for receipt in receipts), "a retry of each sends only missing rows"
    assert isinstance(namespace["check"], dg.AssetChecksDefinition)
    assert server.read("main.default.orders").num_rows == 1_000
    assert server.read("main.default.daily_orders").num_rows == 2
    more = [namespace[name] for name in ("returns", "readings", "clicks")]
    assert dg.materialize(more, resources=managers).success
    counts = [server.read(f"main.default.{name}").num_rows for name in ("returns", "readings", "clicks")]
    assert counts == [1, 100, 10]


def test_the_yaml_of_the_guide_is_what_the_component_takes() -> None:
    (document,) = blocks("yaml")
    plain = yaml.safe_load(document)
    component = ZerobusIngestComponent.from_attributes_dict(attributes=plain["attributes"])
    assert plain["type"] == "zerobus_dagster.ZerobusIngestComponent"
    assert component.table == "main.default.flights"
    assert component.get_asset_spec().partitions_def is not None


def test_the_example_of_shards_fills_a_table_with_one_materialization(
    server: LocalZerobus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for number in range(10):
        lines = "".join(f'{{"sensor": {number * 20 + row}, "celsius": 20.5}}\n' for row in range(20))
        (tmp_path / f"{number}.jsonl").write_text(lines)
    monkeypatch.setenv("READINGS_URI", str(tmp_path))
    example = runpy.run_path(str(EXAMPLES / "dagster_fan_out.py"))
    create_table(server, f"CREATE TABLE {example['TABLE']} (sensor BIGINT NOT NULL, celsius DOUBLE)")
    result = run(example)
    (event,) = result.asset_materializations_for_node("readings")
    assert event.metadata["dagster-zerobus/rows_acked"].value == 200
    assert event.metadata["dagster-zerobus/shards"].value == 8
    assert server.read(example["TABLE"]).num_rows == 200
